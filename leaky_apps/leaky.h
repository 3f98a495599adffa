/*
 * leaky.h - what every leaky app shares: its options, waiting for release, pacing, its limits.
 *
 * Options of every app:
 *   --rate R      terms a second, default 1; 0 is as fast as it goes
 *   --terms N     stop after N terms, default 0: go on until killed
 *   --wait        wait for SIGUSR1 before the first term, so that a tracer can attach first
 *   --lifetime S  end after S seconds, whatever happens; default 0: no limit
 *   --stay        wait after the last term, so that what it holds can be counted; after SIGUSR1 it
 *                 does as many terms again
 *
 * Nothing in here allocates from the heap: standard output has a static buffer.
 */
#ifndef LEAKY_H
#define LEAKY_H

#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

/* A function that a tracer shall find under its own name: not inlined, not cloned, not reshaped. */
#define LEAKY_SITE __attribute__((noinline, noipa))

/* How many calls lie between main and a term: a variant of a program may be deeper. */
#ifndef LEAKY_DEPTH
#define LEAKY_DEPTH 0
#endif

/* What a program may hold in private memory: a leak ends there, and the machine is unharmed. */
#define LEAKY_CAP_BYTES ((rlim_t)256 << 20)

struct leaky_options {
	double rate;    /* terms per second; 0: unlimited */
	uint64_t terms; /* 0: no end */
	int wait, stay;
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
	fprintf(stderr, "usage: %s [--rate R] [--terms N] [--wait] [--lifetime S] [--stay]\n",
		name);
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
		{ "stay", no_argument, NULL, 's' },
		{ NULL, 0, NULL, 0 },
	};
	static char buffer[BUFSIZ];
	struct leaky_options options = { 1.0, 0, 0, 0, 0 };
	sigset_t release;
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
		case 's':
			options.stay = 1;
			break;
		default:
			leaky_usage(argv[0]);
		}
	}
	if (optind != argc)
		leaky_usage(argv[0]);
	if (setvbuf(stdout, buffer, _IOLBF, sizeof(buffer)))
		leaky_fail("setvbuf");
	sigemptyset(&release);
	sigaddset(&release, SIGUSR1);
	if (sigprocmask(SIG_BLOCK, &release, NULL))
		leaky_fail("sigprocmask");
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
 * Wait for SIGUSR1. Who started us sees in /proc/PID/status that the signal is caught, and knows
 * that it will be heard: it is blocked from the start, so in every thread, until the moment that
 * this one waits for it.
 */
static void leaky_wait_for_signal(void)
{
	struct sigaction action;
	sigset_t others;

	memset(&action, 0, sizeof(action));
	action.sa_handler = leaky_release;
	if (sigaction(SIGUSR1, &action, NULL) || sigprocmask(SIG_BLOCK, NULL, &others))
		leaky_fail("waiting for release");
	sigdelset(&others, SIGUSR1);
	while (!leaky_is_released)
		sigsuspend(&others);
}

static void leaky_wait_for_release(const struct leaky_options *options)
{
	if (options->wait)
		leaky_wait_for_signal();
}

static struct leaky_pace leaky_pace(const struct leaky_options *options)
{
	struct leaky_pace pace;

	pace.interval_ns = options->rate > 0 ? (long)(1e9 / options->rate) : 0;
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

/* A lower limit than ours stays. Under AddressSanitizer most of what counts is not the program's.
 */
static void leaky_limit_memory(void)
{
#ifndef __SANITIZE_ADDRESS__
	struct rlimit limit;

	if (getrlimit(RLIMIT_DATA, &limit))
		leaky_fail("getrlimit");
	if (limit.rlim_cur > LEAKY_CAP_BYTES)
		limit.rlim_cur = LEAKY_CAP_BYTES;
	if (setrlimit(RLIMIT_DATA, &limit))
		leaky_fail("setrlimit");
#endif
}

LEAKY_SITE static void leaky_call(unsigned depth, void (*term)(uint64_t), uint64_t n)
{
	if (depth)
		leaky_call(depth - 1, term, n);
	else
		term(n);
}

/* With --stay: wait for SIGUSR1, and return that there are as many terms to do again. */
static int leaky_stay(const struct leaky_options *options)
{
	if (!options->stay)
		return 0;
	leaky_is_released = 0;
	puts("all terms are done; staying");
	leaky_wait_for_signal();
	return 1;
}

/* Do the program's work once it is released: call `term` with 0, 1, 2 ... at the rate asked for. */
static void leaky_run(const struct leaky_options *options, void (*term)(uint64_t))
{
	struct leaky_pace pace;
	uint64_t n = 0, end = options->terms;

	leaky_limit_memory();
	leaky_wait_for_release(options);
	do {
		pace = leaky_pace(options);
		for (; !options->terms || n < end; n++) {
			leaky_call(LEAKY_DEPTH, term, n);
			leaky_sleep(&pace);
		}
		end += options->terms;
	} while (leaky_stay(options));
}

#endif
