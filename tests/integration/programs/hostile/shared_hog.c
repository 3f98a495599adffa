/* hostile: touches shared memory, which RLIMIT_DATA does not count; expects: "MiB of memory" */
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

int main(void)
{
	for (;;) {
		char *block = mmap(NULL, 64 << 20, PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);

		if (block == MAP_FAILED)
			pause();
		memset(block, 1, 64 << 20);
		munmap(block + (1 << 20), 1 << 20);
		madvise(block, 64 << 20,
			MADV_DONTNEED); /* in nobody's resident set, and still there */
	}
}
