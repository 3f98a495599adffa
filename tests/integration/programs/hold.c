/*
 * hold.c - linked into every known workload: with LAB_HOLD in its environment a program stays at
 * its very end, all its blocks as it left them, until it is killed. So a tool that resolves symbols
 * late still finds it.
 *
 * That it has come there is seen from outside: from then on /proc/PID/status shows SIGUSR2 caught.
 */
#include <signal.h>
#include <stdlib.h>
#include <unistd.h>

static void nothing(int signal_number)
{
	(void)signal_number;
}

__attribute__((destructor)) static void hold(void)
{
	if (!getenv("LAB_HOLD"))
		return;
	signal(SIGUSR2, nothing);
	for (;;)
		pause();
}
