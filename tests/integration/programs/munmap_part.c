/* munmap_part.c - maps 16 pages of 4 KiB and unmaps the first: 15 stay, 61,440 bytes. */
#include <sys/mman.h>

#include "leaky.h"

#define PAGE_BYTES 4096

LEAKY_SITE static void work(void)
{
	void *mapping = mmap(NULL, 16 * PAGE_BYTES, PROT_READ | PROT_WRITE, /* leaks */
		MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (mapping == MAP_FAILED || munmap(mapping, PAGE_BYTES))
		leaky_fail("mapping");
}

int main(int argc, char **argv)
{
	struct leaky_options options = leaky_start(argc, argv);

	leaky_wait_for_release(&options);
	work();
	return 0;
}
