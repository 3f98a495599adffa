/*
 * kept_by_kernel.c - blocks whose addresses only the kernel keeps: epoll's data, and a timer's.
 *
 * usage: kept_by_kernel [--wait]
 */
#define _GNU_SOURCE
#include "leaky.h"
#include <sys/epoll.h>
#include <sys/eventfd.h>

#define BLOCKS 10

LEAKY_SITE static void reached_from_epoll(void)
{
	int epoll = epoll_create1(0);

	for (int i = 0; i < BLOCKS; i++) {
		struct epoll_event event = { .events = EPOLLIN, .data.ptr = malloc(1001) };

		if (epoll_ctl(epoll, EPOLL_CTL_ADD, eventfd(0, 0), &event))
			leaky_fail("epoll_ctl");
	}
}

LEAKY_SITE static void reached_from_timer(void)
{
	struct sigevent event = { .sigev_notify = SIGEV_SIGNAL, .sigev_signo = SIGALRM };
	timer_t timer;

	event.sigev_value.sival_ptr = malloc(1097);
	if (timer_create(CLOCK_MONOTONIC, &event, &timer))
		leaky_fail("timer_create");
}

LEAKY_SITE static void wipe(int frames)
{
	volatile char left[512];

	memset((void *)left, 0, sizeof(left));
	if (frames)
		wipe(frames - 1);
}

int main(int argc, char **argv)
{
	struct leaky_options options = leaky_start(argc, argv);

	leaky_wait_for_release(&options);
	reached_from_epoll();
	reached_from_timer();
	wipe(100);
	for (;;)
		pause();
}
