/*
 * timer_leak.c - saves its work when a timer rings; each time it loses the snapshot that it wrote.
 *
 * usage: timer_leak [--rate R] [--terms N] [--wait] [--lifetime S] [--stay]
 *
 * The work itself is clean. What leaks runs beside it, when the timer's file becomes readable.
 *
 * Try: ./timer_leak --rate 50     one save for each five edits
 */
#include <poll.h>
#include <sys/timerfd.h>

#include "leaky.h"

#ifndef SNAPSHOT_BYTES
#define SNAPSHOT_BYTES 8000
#endif
#ifndef SAVE_EVERY
#define SAVE_EVERY 5 /* edits until the timer is set */
#endif

static int timer;
static char work[SNAPSHOT_BYTES];

static void set_timer(void)
{
	struct itimerspec soon = { .it_value.tv_nsec = 1 };

	if (timerfd_settime(timer, 0, &soon, NULL))
		leaky_fail("timerfd_settime");
}

LEAKY_SITE static char *copy_work(void)
{
	char *snapshot = malloc(sizeof(work));

	if (!snapshot)
		leaky_fail("malloc");
	memcpy(snapshot, work, sizeof(work));
	return snapshot;
}

LEAKY_SITE static void save_when_due(void)
{
	struct pollfd waiting = { .fd = timer, .events = POLLIN };
	uint64_t rings;

	if (poll(&waiting, 1, 1000) != 1 || read(timer, &rings, sizeof(rings)) != sizeof(rings))
		leaky_fail("waiting for the timer");
	printf("saved: %.20s...\n", copy_work());
}

static void edit(uint64_t n)
{
	work[n % (sizeof(work) - 1)] = (char)('a' + n % 26);
	if (n % SAVE_EVERY == SAVE_EVERY - 1) {
		set_timer();
		save_when_due();
	}
}

int main(int argc, char **argv)
{
	struct leaky_options options = leaky_start(argc, argv);

	timer = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC);
	if (timer < 0)
		leaky_fail("timerfd_create");
	leaky_run(&options, edit);
	close(timer);
	puts("done");
	return 0;
}
