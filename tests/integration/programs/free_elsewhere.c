/* free_elsewhere.c - one thread allocates 1,000 blocks, another frees them: nothing leaks. */
#include <pthread.h>

#include "leaky.h"

#define BLOCKS 1000

LEAKY_SITE static void *produce(void *blocks)
{
	for (int i = 0; i < BLOCKS; i++)
		((void **)blocks)[i] = malloc(100);
	return NULL;
}

LEAKY_SITE static void *consume(void *blocks)
{
	for (int i = 0; i < BLOCKS; i++)
		free(((void **)blocks)[i]);
	return NULL;
}

static void run(void *(*function)(void *), void *argument)
{
	pthread_t thread;

	if ((errno = pthread_create(&thread, NULL, function, argument)) ||
		(errno = pthread_join(thread, NULL)))
		leaky_fail("thread");
}

int main(int argc, char **argv)
{
	static void *blocks[BLOCKS];
	struct leaky_options options = leaky_start(argc, argv);

	leaky_wait_for_release(&options);
	run(produce, blocks);
	run(consume, blocks);
	return 0;
}
