/* big_malloc.c - leaks ten blocks of 1 MiB, each of which malloc maps for itself. */
#include "leaky.h"

LEAKY_SITE static void leak(void)
{
	for (int i = 0; i < 10; i++)
		if (!malloc(1 << 20)) /* leaks */
			leaky_fail("malloc");
}

int main(int argc, char **argv)
{
	struct leaky_options options = leaky_start(argc, argv);

	leaky_wait_for_release(&options);
	leak();
	return 0;
}
