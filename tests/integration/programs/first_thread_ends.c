/*
 * first_thread_ends.c - a thread leaks 500 blocks, the first thread ends, the other leaks 500 more,
 * and a second later the process ends.
 */
#include <pthread.h>

#include "leaky.h"

static void *work(void *argument)
{
	for (int i = 0; i < 500; i++)
		if (!malloc(10))
			leaky_fail("malloc");
	usleep(800000);
	for (int i = 0; i < 500; i++)
		if (!malloc(10))
			leaky_fail("malloc");
	sleep(1);
	exit(0);
	return argument;
}

int main(int argc, char **argv)
{
	struct leaky_options options = leaky_start(argc, argv);
	pthread_t thread;

	leaky_wait_for_release(&options);
	if ((errno = pthread_create(&thread, NULL, work, NULL)))
		leaky_fail("pthread_create");
	usleep(300000);
	pthread_exit(NULL);
}
