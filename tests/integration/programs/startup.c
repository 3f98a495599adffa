/*
 * startup.c - leaks 1,000 blocks of 100 bytes before main's first line: 400 before any library is
 * initialised (.preinit_array), and 600 in a constructor. main only waits.
 */
#include "leaky.h"

LEAKY_SITE static void leak(int blocks)
{
	for (int i = 0; i < blocks; i++)
		if (!malloc(100)) /* leaks */
			leaky_fail("malloc");
}

static void leak_first(void)
{
	leak(400);
}

__attribute__((section(".preinit_array"), used)) static void (*const first)(void) = leak_first;

__attribute__((constructor)) static void leak_in_constructor(void)
{
	leak(600);
}

int main(int argc, char **argv)
{
	struct leaky_options options = leaky_start(argc, argv);

	leaky_wait_for_release(&options);
	return 0;
}
