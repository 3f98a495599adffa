/*
 * thread_stacks.c - sends each mail in a thread of its own, and never joins it.
 *
 * usage: thread_stacks [--rate R] [--terms N] [--wait] [--lifetime S] [--stay]
 *
 * A thread that has ended keeps its stack until somebody joins it: in case its result is asked for.
 * Little of a stack is ever touched, so RES hardly moves while VIRT runs away.
 *
 * Try: ./thread_stacks --rate 20, and watch VIRT and RES in top
 */
#include <pthread.h>

#include "leaky.h"

#ifndef STACK_KIB
#define STACK_KIB 64
#endif

static pthread_attr_t attributes;
static _Atomic uint64_t sent;

static void *send_mail(void *unused)
{
	sent++;
	return unused;
}

LEAKY_SITE static void start_sending(void)
{
	pthread_t thread;

	if ((errno = pthread_create(&thread, &attributes, send_mail, NULL)))
		leaky_fail("pthread_create");
}

static void take_mail(uint64_t n)
{
	start_sending();
	while (sent <= n) /* mails leave in order */
		usleep(50);
	printf("mail %" PRIu64 ": sent\n", n);
}

int main(int argc, char **argv)
{
	struct leaky_options options = leaky_start(argc, argv);

	if ((errno = pthread_attr_init(&attributes)))
		leaky_fail("pthread_attr_init");
	if ((errno = pthread_attr_setstacksize(&attributes, (size_t)STACK_KIB << 10)))
		leaky_fail("pthread_attr_setstacksize");
	leaky_run(&options, take_mail);
	return 0;
}
