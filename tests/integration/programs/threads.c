/*
 * threads.c - 8 threads at one call site: 100,000 pairs of malloc and free each, and 125 blocks
 * leaked each, 1,000 in all; then blocks that one thread allocates and another frees.
 */
#include <pthread.h>

#include "leaky.h"

#define THREADS 8

__attribute__((noinline)) static void *allocate(void)
{
	void *block = malloc(64);

	if (!block)
		leaky_fail("malloc");
	return block;
}

static void *work(void *argument)
{
	for (int i = 0; i < 100000; i++)
		free(allocate());
	for (int i = 0; i < 125; i++)
		allocate();
	return argument;
}

static void *produce(void *blocks)
{
	for (int i = 0; i < 1000; i++)
		((void **)blocks)[i] = malloc(100);
	return NULL;
}

static void *consume(void *blocks)
{
	for (int i = 0; i < 1000; i++)
		free(((void **)blocks)[i]);
	return NULL;
}

static void join(pthread_t thread)
{
	if ((errno = pthread_join(thread, NULL)))
		leaky_fail("pthread_join");
}

static pthread_t start(void *(*function)(void *), void *argument)
{
	pthread_t thread;

	if ((errno = pthread_create(&thread, NULL, function, argument)))
		leaky_fail("pthread_create");
	return thread;
}

int main(int argc, char **argv)
{
	static void *blocks[1000];
	struct leaky_options options = leaky_start(argc, argv);
	pthread_t threads[THREADS];

	leaky_wait_for_release(&options);
	for (int i = 0; i < THREADS; i++)
		threads[i] = start(work, NULL);
	for (int i = 0; i < THREADS; i++)
		join(threads[i]);
	join(start(produce, blocks));
	join(start(consume, blocks));
	return 0;
}
