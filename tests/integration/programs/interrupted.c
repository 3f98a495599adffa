/*
 * interrupted.c - to be run with masking.c preloaded: makes pairs of malloc and free while signals
 * come 20,000 times a second; the handler leaks 24 bytes, 3,000 times in all, and makes a pair too.
 */
#include <sys/time.h>

#include "leaky.h"

#define LEAKS 3000

static volatile sig_atomic_t leaks;

LEAKY_SITE static void leak_in_handler(void)
{
	if (!malloc(24))
		leaky_fail("malloc");
	free(malloc(100));
}

static void on_alarm(int signal_number)
{
	(void)signal_number;
	if (leaks < LEAKS) {
		leaks++;
		leak_in_handler();
	}
}

LEAKY_SITE static void make_pair(void)
{
	free(malloc(300));
}

int main(int argc, char **argv)
{
	struct leaky_options options = leaky_start(argc, argv);
	struct itimerval often = { { 0, 50 }, { 0, 50 } };

	leaky_wait_for_release(&options);
	if (signal(SIGALRM, on_alarm) == SIG_ERR || setitimer(ITIMER_REAL, &often, NULL))
		leaky_fail("setitimer");
	while (leaks < LEAKS)
		make_pair();
	return 0;
}
