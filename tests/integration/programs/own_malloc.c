/* own_malloc.c - defines malloc and free itself, and leaks 10 blocks of 100 bytes. */
#include "leaky.h"

#define ARENA_BYTES 65536

static _Alignas(16) char arena[ARENA_BYTES];
static size_t used;

void *malloc(size_t size)
{
	void *block = arena + used;

	used += (size + 15) & ~(size_t)15;
	return used <= ARENA_BYTES ? block : NULL;
}

void free(void *block)
{
	(void)block;
}

int main(int argc, char **argv)
{
	struct leaky_options options = leaky_start(argc, argv);

	leaky_wait_for_release(&options);
	for (int i = 0; i < 10; i++)
		if (!malloc(100))
			leaky_fail("malloc");
	return 0;
}
