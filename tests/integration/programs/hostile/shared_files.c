/* hostile: fills /dev/shm; expects: "filled the room that it has for files" */
#include <fcntl.h>
#include <stdio.h>
#include <sys/mman.h>
#include <unistd.h>

static char chunk[1 << 20];

int main(void)
{
	for (int number = 0;; number++) {
		char name[32];
		int file;

		snprintf(name, sizeof(name), "/lab_hostile_%d", number);
		file = shm_open(name, O_CREAT | O_RDWR, 0600);
		for (int mib = 0; mib < 8; mib++)
			if (file < 0 || write(file, chunk, sizeof(chunk)) < 0)
				pause();
		close(file);
	}
}
