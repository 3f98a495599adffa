/*
 * early_thread.c - a thread that is there before the program waits for its release: says whether
 * the signal would have been taken by it.
 */
#include <pthread.h>

#include "leaky.h"

static void *ask(void *argument)
{
	sigset_t mine;

	if ((errno = pthread_sigmask(SIG_BLOCK, NULL, &mine)))
		leaky_fail("pthread_sigmask");
	puts(sigismember(&mine, SIGUSR1) ? "left to the first thread" : "taken");
	return argument;
}

int main(int argc, char **argv)
{
	pthread_t thread;

	leaky_start(argc, argv);
	if ((errno = pthread_create(&thread, NULL, ask, NULL)) ||
		(errno = pthread_join(thread, NULL)))
		leaky_fail("a thread");
	return 0;
}
