/* hostile: fills segments of System V that nobody maps; expects: "MiB of memory" */
#include <string.h>
#include <sys/shm.h>
#include <unistd.h>

int main(void)
{
	for (;;) {
		int id = shmget(IPC_PRIVATE, 64 << 20, 0600);
		char *segment = id < 0 ? (void *)-1 : shmat(id, NULL, 0);

		if (segment == (void *)-1)
			pause();
		memset(segment, 1, 64 << 20);
		shmdt(segment);
	}
}
