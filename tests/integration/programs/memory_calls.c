/*
 * memory_calls.c - makes malloc and mmap ask the kernel for memory in ways that are known: the heap
 * by 132 KiB steps of the break, large blocks by mmap, and back again.
 */
#define _GNU_SOURCE
#include <malloc.h>
#include <sys/mman.h>

#include "leaky.h"

#define PAGE_BYTES 4096
#define BLOCK_BYTES 1000
#define BLOCKS 1000
#define LARGE_BYTES (1 << 20)

static void *blocks[BLOCKS];

LEAKY_SITE static void allocate_blocks(void)
{
	for (int i = 0; i < BLOCKS; i++)
		blocks[i] = malloc(BLOCK_BYTES);
}

LEAKY_SITE static void free_blocks(void)
{
	for (int i = 0; i < BLOCKS; i++)
		free(blocks[i]);
	malloc_trim(0);
}

LEAKY_SITE static void allocate_large(void)
{
	void *volatile large = malloc(LARGE_BYTES);

	free(large);
}

LEAKY_SITE static void map_nothing(void)
{
	if (mmap(NULL, 0, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0) != MAP_FAILED)
		leaky_fail("mapping nothing");
}

LEAKY_SITE static void remap(void)
{
	void *start = mmap(NULL, PAGE_BYTES, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	start = mremap(start, PAGE_BYTES, 3 * PAGE_BYTES, MREMAP_MAYMOVE);
	if (start == MAP_FAILED || munmap(start, 3 * PAGE_BYTES))
		leaky_fail("mapping");
}

int main(int argc, char **argv)
{
	struct leaky_options options = leaky_start(argc, argv);

	mallopt(M_TRIM_THRESHOLD, 64 << 20); /* by malloc_trim only */
	mallopt(M_MMAP_THRESHOLD, 128 << 10);
	leaky_wait_for_release(&options);
	allocate_blocks();
	free_blocks();
	allocate_large();
	map_nothing();
	remap();
	return 0;
}
