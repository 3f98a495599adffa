/*
 * leaky.h - what every leaky app shares: its options, waiting for release, pacing, a lifetime.
 *
 * Options of every app:
 *   --rate R      terms a second, default 1; 0 is as fast as it goes
 *   --terms N     stop after N terms, default 0: go on until killed
 *   --wait        wait for SIGUSR1 before the first term, so that a tracer can attach first
 *   --lifetime S  end after S seconds, whatever happens; default 0: no limit
 *
 * Nothing in here allocates from the heap: standard output has a static buffer.
 */
#ifndef LEAKY_H
#define LEAKY_H

#include <errno.h>
#include <getopt.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

/* A function that a tracer shall find under its own name: not inlined, not cloned, not reshaped. */
#define LEAKY_SITE __attribute__((noinline, noipa))

struct leaky_options {
	double rate;    /* terms per second; 0: unlimited */
	uint64_t terms; /* 0: no end */
	int wait;
	unsigned lifetime_s; /* 0: no limit */
};

struct leaky_pace {
	struct timespec next;
	long interval_ns;
};

static void leaky_fail(const char *what)
{
	fprintf(stderr, "%s: %s\n", what, strerror(errno));
	exit(2);
}

static void leaky_usage(const char *name)
{
	fprintf(stderr, "usage: %s [--rate R] [--terms N] [--wait] [--lifetime S]\n", name);
	exit(2);
}

/* Runs when the lifetime is over. A handler, because process 1 of a container ignores the default.
 */
static void leaky_expire(int signal_number)
{
	(void)signal_number;
	_exit(0);
}

static double leaky_number(const char *text, const char *name)
{
	char *end;
	double value = strtod(text, &end);

	if (end == text || *end || !(value >= 0 && value <= 1e15))
		leaky_usage(name);
	return value;
}

static struct leaky_options leaky_start(int argc, char **argv)
{
	static const struct option known[] = {
		{ "rate", required_argument, NULL, 'r' },
		{ "terms", required_argument, NULL, 't' },
		{ "wait", no_argument, NULL, 'w' },
		{ "lifetime", required_argument, NULL, 'l' },
		{ NULL, 0, NULL, 0 },
	};
	static char buffer[BUFSIZ];
	struct leaky_options options = { .rate = 1.0 };
	int choice;

	while ((choice = getopt_long(argc, argv, "", known, NULL)) != -1) {
		switch (choice) {
		case 'r':
			options.rate = leaky_number(optarg, argv[0]);
			break;
		case 't':
			options.terms = (uint64_t)leaky_number(optarg, argv[0]);
			break;
		case 'w':
			options.wait = 1;
			break;
		case 'l':
			options.lifetime_s = (unsigned)leaky_number(optarg, argv[0]);
			break;
		default:
			leaky_usage(argv[0]);
		}
	}
	if (optind != argc)
		leaky_usage(argv[0]);
	if (setvbuf(stdout, buffer, _IOLBF, sizeof(buffer)))
		leaky_fail("setvbuf");
	if (signal(SIGALRM, leaky_expire) == SIG_ERR)
		leaky_fail("signal");
	alarm(options.lifetime_s);
	return options;
}

static volatile sig_atomic_t leaky_is_released;

static void leaky_release(int signal_number)
{
	(void)signal_number;
	leaky_is_released = 1;
}

/*
 * Wait for SIGUSR1, if --wait was given. Who started us sees in /proc/PID/status that the signal
 * is caught, and knows that it will be heard: it is blocked until the moment that we wait for it.
 */
static void leaky_wait_for_release(const struct leaky_options *options)
{
	struct sigaction action = { .sa_handler = leaky_release };
	sigset_t set, previous;

	if (!options->wait)
		return;
	sigemptyset(&set);
	sigaddset(&set, SIGUSR1);
	if (sigprocmask(SIG_BLOCK, &set, &previous) || sigaction(SIGUSR1, &action, NULL))
		leaky_fail("waiting for release");
	while (!leaky_is_released)
		sigsuspend(&previous);
	if (sigprocmask(SIG_SETMASK, &previous, NULL))
		leaky_fail("sigprocmask");
}

static struct leaky_pace leaky_pace(const struct leaky_options *options)
{
	struct leaky_pace pace = { .interval_ns =
					   options->rate > 0 ? (long)(1e9 / options->rate) : 0 };

	if (clock_gettime(CLOCK_MONOTONIC, &pace.next))
		leaky_fail("clock_gettime");
	return pace;
}

/* Sleep until the next term is due. Deadlines, not delays: the rate holds however long a term
 * takes. */
static void leaky_sleep(struct leaky_pace *pace)
{
	if (!pace->interval_ns)
		return;
	pace->next.tv_nsec += pace->interval_ns % 1000000000;
	pace->next.tv_sec += pace->interval_ns / 1000000000 + pace->next.tv_nsec / 1000000000;
	pace->next.tv_nsec %= 1000000000;
	while (clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &pace->next, NULL) == EINTR)
		;
}

#endif
