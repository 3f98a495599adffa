/* million_live.c - leaks 1,500,000 blocks of 16 bytes. */
#include "leaky.h"

LEAKY_SITE static void leak(void)
{
	for (int i = 0; i < 1500000; i++)
		if (!malloc(16)) /* leaks */
			leaky_fail("malloc");
}

int main(int argc, char **argv)
{
	struct leaky_options options = leaky_start(argc, argv);

	leaky_wait_for_release(&options);
	leak();
	return 0;
}
