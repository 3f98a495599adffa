/*
 * realloc_growing.c - a block grows by realloc from 50 KiB to 3,200 KiB, past the size from which
 * malloc maps a block for itself and moves it by mremap; then it is freed: nothing leaks.
 */
#include "leaky.h"

LEAKY_SITE static void work(void)
{
	void *block = NULL;

	for (size_t size = 50 << 10; size <= 3200 << 10; size *= 2) {
		block = realloc(block, size);
		if (!block)
			leaky_fail("realloc");
	}
	free(block);
}

int main(int argc, char **argv)
{
	struct leaky_options options = leaky_start(argc, argv);

	leaky_wait_for_release(&options);
	work();
	return 0;
}
