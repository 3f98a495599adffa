/*
 * thread_churn.c - threads that start threads and end, without a pause.
 *
 * usage: thread_churn [--wait]
 */
#define _GNU_SOURCE
#include "leaky.h"
#include <pthread.h>

static void *work(void *unused)
{
	pthread_t next;

	while ((errno = pthread_create(&next, NULL, work, NULL)))
		if (errno != EAGAIN)
			leaky_fail("pthread_create");
	pthread_detach(next);
	return unused;
}

int main(int argc, char **argv)
{
	struct leaky_options options = leaky_start(argc, argv);
	void *volatile block;

	leaky_wait_for_release(&options);
	block = malloc(1000);
	for (int i = 0; i < 4; i++)
		work(NULL);
	for (;;)
		pause();
	free(block);
}
