/* plain_leak.c - leaks 1,000 blocks of 1,000 bytes, and ends at once. */
#include "leaky.h"

LEAKY_SITE static void leak(void)
{
	for (int i = 0; i < 1000; i++)
		if (!malloc(1000)) /* leaks */
			leaky_fail("malloc");
}

int main(int argc, char **argv)
{
	struct leaky_options options = leaky_start(argc, argv);

	leaky_wait_for_release(&options);
	leak();
	return 0;
}
