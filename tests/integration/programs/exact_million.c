/* exact_million.c - leaks exactly 1,000,000 bytes in 10,000 blocks of 100, beside freed ones. */
#include "leaky.h"

LEAKY_SITE static void work(void)
{
	for (int i = 0; i < 10000; i++) {
		if (!malloc(100)) /* leaks */
			leaky_fail("malloc");
		free(malloc(200));
	}
}

int main(int argc, char **argv)
{
	struct leaky_options options = leaky_start(argc, argv);

	leaky_wait_for_release(&options);
	work();
	return 0;
}
