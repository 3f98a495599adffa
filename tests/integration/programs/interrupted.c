/*
 * interrupted.c - to be run with masking.c preloaded: makes pairs of malloc and free, and has a
 * signal come soon, 3,000 times; the handler leaks 24 bytes each time, and makes a pair too.
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
	leaks++;
	leak_in_handler();
}

LEAKY_SITE static void make_pair(void)
{
	free(malloc(300));
}

int main(int argc, char **argv)
{
	struct leaky_options options = leaky_start(argc, argv);

	leaky_wait_for_release(&options);
	if (signal(SIGALRM, on_alarm) == SIG_ERR)
		leaky_fail("signal");
	for (int soon = 0; soon < LEAKS; soon++) {
		struct itimerval once = { { 0, 0 }, { 0, 10 + soon % 40 } };

		if (setitimer(ITIMER_REAL, &once, NULL))
			leaky_fail("setitimer");
		while (leaks == soon)
			make_pair();
	}
	return 0;
}
