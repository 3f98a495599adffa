/*
 * crowd.c - 4 threads keep 100,000 blocks each, and each frees those of another. Before and while
 * they are there, a block that has a mapping of its own is taken from below the allocator 100
 * times: the next one gets its address. Of these the last is live, twice.
 */
#include <pthread.h>
#include <sys/mman.h>

#include "leaky.h"

#define THREADS 4
#define BLOCKS 100000
#define MAPPED_BYTES (1 << 20)
#define TIMES 100

static void *blocks[THREADS][BLOCKS];

LEAKY_SITE static void *fill(void *row)
{
	for (int i = 0; i < BLOCKS; i++)
		if (!(((void **)row)[i] = malloc(16 + i % 100)))
			leaky_fail("malloc");
	return NULL;
}

static void *clear(void *row)
{
	for (int i = 0; i < BLOCKS; i++)
		free(((void **)row)[i]);
	return NULL;
}

static void run(void *(*function)(void *), int shift)
{
	pthread_t threads[THREADS];

	for (int i = 0; i < THREADS; i++)
		if ((errno = pthread_create(
			     &threads[i], NULL, function, blocks[(i + shift) % THREADS])))
			leaky_fail("pthread_create");
	for (int i = 0; i < THREADS; i++)
		if ((errno = pthread_join(threads[i], NULL)))
			leaky_fail("pthread_join");
}

LEAKY_SITE static void take_from_below(void)
{
	char *block = malloc(MAPPED_BYTES), *before;

	for (int i = 0; i < TIMES; i++) {
		/* What malloc returns lies 16 bytes into its mapping, which has room for these. */
		if (!block || munmap(block - 16, MAPPED_BYTES + 4096))
			leaky_fail("munmap");
		before = block;
		block = malloc(MAPPED_BYTES); /* leaks */
		if (block != before)
			leaky_fail("malloc");
	}
}

int main(int argc, char **argv)
{
	struct leaky_options options = leaky_start(argc, argv);

	leaky_wait_for_release(&options);
	take_from_below();
	run(fill, 0);
	take_from_below();
	run(clear, 1);
	return 0;
}
