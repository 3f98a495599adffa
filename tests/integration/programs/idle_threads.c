/*
 * idle_threads.c - two threads free all that they allocated and then idle, alive to the end. Each
 * keeps its stack, 8 MiB and a guard page, and its arena, of which malloc reserves 64 MiB: mapped,
 * but no leak.
 */
#include <pthread.h>

#include "leaky.h"

#define THREADS 2
#define STACK_BYTES (8UL << 20)

static pthread_barrier_t all_freed;

LEAKY_SITE static void work(void)
{
	void *blocks[100];

	for (int i = 0; i < 100; i++)
		blocks[i] = malloc(1000);
	for (int i = 0; i < 100; i++)
		free(blocks[i]);
}

static void *idle(void *argument)
{
	work();
	pthread_barrier_wait(&all_freed);
	for (;;)
		pause();
	return argument;
}

int main(int argc, char **argv)
{
	struct leaky_options options = leaky_start(argc, argv);
	pthread_attr_t attributes;
	pthread_t thread;

	leaky_wait_for_release(&options);
	if ((errno = pthread_barrier_init(&all_freed, NULL, THREADS + 1)) ||
		(errno = pthread_attr_init(&attributes)) ||
		(errno = pthread_attr_setstacksize(&attributes, STACK_BYTES)))
		leaky_fail("preparing the threads");
	for (int i = 0; i < THREADS; i++)
		if ((errno = pthread_create(&thread, &attributes, idle, NULL)))
			leaky_fail("pthread_create");
	pthread_barrier_wait(&all_freed);
	return 0;
}
