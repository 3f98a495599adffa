/* hostile: fills files that have no name; expects: "MiB of memory" */
#define _GNU_SOURCE
#include <sys/mman.h>
#include <unistd.h>

static char chunk[1 << 20];

int main(void)
{
	for (;;) {
		int file = memfd_create("hog", 0);

		if (file < 0)
			pause();
		for (int mib = 0; mib < 15; mib++)
			if (write(file, chunk, sizeof(chunk)) < 0)
				pause();
	}
}
