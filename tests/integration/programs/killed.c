/*
 * killed.c - three threads allocate and free as fast as they can; under that load the first one
 * leaks 20,000 blocks of 32 bytes and kills the process with SIGKILL.
 */
#include <pthread.h>

#include "leaky.h"

#define THREADS 3

static pthread_barrier_t started;

LEAKY_SITE static void leak(void)
{
	for (int i = 0; i < 20000; i++)
		if (!malloc(32)) /* leaks */
			leaky_fail("malloc");
}

LEAKY_SITE static void *churn(void *argument)
{
	pthread_barrier_wait(&started);
	for (;;)
		free(malloc(64));
	return argument;
}

int main(int argc, char **argv)
{
	struct leaky_options options = leaky_start(argc, argv);
	pthread_t thread;

	leaky_wait_for_release(&options);
	if ((errno = pthread_barrier_init(&started, NULL, THREADS + 1)))
		leaky_fail("pthread_barrier_init");
	for (int i = 0; i < THREADS; i++)
		if ((errno = pthread_create(&thread, NULL, churn, NULL)))
			leaky_fail("pthread_create");
	pthread_barrier_wait(&started);
	leak();
	kill(getpid(), SIGKILL);
	return 1;
}
