/* touches_forever.c - writes to the same pages and gives them back, until it is killed. */
#include <sys/mman.h>

#include "leaky.h"

#define BYTES (64 * 4096)

LEAKY_SITE static void touch(char *start)
{
	memset(start, 1, BYTES);
	if (madvise(start, BYTES, MADV_DONTNEED))
		leaky_fail("giving back");
}

int main(int argc, char **argv)
{
	struct leaky_options options = leaky_start(argc, argv);
	char *start = mmap(NULL, BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (start == MAP_FAILED)
		leaky_fail("mapping");
	leaky_wait_for_release(&options);
	for (;;)
		touch(start);
}
