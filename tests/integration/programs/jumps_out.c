/*
 * jumps_out.c - to be run with wrapper.c preloaded: jumps out of 3 calls of malloc, from the
 * handler of the signal that they raise, and leaks 600 bytes by the same call; then leaks 10 blocks
 * of 500 bytes from deeper down.
 */
#include <setjmp.h>

#include "leaky.h"

static sigjmp_buf out;

static void jump(int signal_number)
{
	(void)signal_number;
	siglongjmp(out, 1);
}

LEAKY_SITE static void leak(int depth)
{
	volatile char room[256];

	room[0] = 0;
	if (depth)
		leak(depth - 1);
	else if (!malloc(500))
		leaky_fail("malloc");
	room[1] = room[0];
}

int main(int argc, char **argv)
{
	struct leaky_options options = leaky_start(argc, argv);

	if (signal(SIGUSR2, jump) == SIG_ERR)
		leaky_fail("signal");
	leaky_wait_for_release(&options);
	for (volatile int i = 0; i < 4; i++) {
		if (!sigsetjmp(out, 1) && !malloc(i < 3 ? 4242 : 600))
			leaky_fail("malloc");
	}
	for (int i = 0; i < 5; i++) {
		leak(0);
		leak(20);
	}
	return 0;
}
