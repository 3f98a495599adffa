/*
 * contended.c - 8 threads at one call site: 1,000,000 pairs of malloc and free in all, and 1,000
 * blocks of 64 bytes leaked.
 */
#include <pthread.h>

#include "leaky.h"

#define THREADS 8

LEAKY_SITE static void *allocate(void)
{
	void *block = malloc(64); /* leaks */

	if (!block)
		leaky_fail("malloc");
	return block;
}

static void *work(void *argument)
{
	for (int i = 0; i < 1000000 / THREADS; i++) {
		free(allocate());
		if (i % 1000 == 0)
			allocate();
	}
	return argument;
}

int main(int argc, char **argv)
{
	struct leaky_options options = leaky_start(argc, argv);
	pthread_t threads[THREADS];

	leaky_wait_for_release(&options);
	for (int i = 0; i < THREADS; i++)
		if ((errno = pthread_create(&threads[i], NULL, work, NULL)))
			leaky_fail("pthread_create");
	for (int i = 0; i < THREADS; i++)
		if ((errno = pthread_join(threads[i], NULL)))
			leaky_fail("pthread_join");
	return 0;
}
