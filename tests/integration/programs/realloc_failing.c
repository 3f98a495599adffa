/* realloc_failing.c - a realloc that fails: the block that it was given, 5,000 bytes, stays. */
#include "leaky.h"

LEAKY_SITE static void work(void)
{
	volatile size_t impossible = SIZE_MAX / 2;
	void *block = malloc(5000); /* leaks */

	if (realloc(block, impossible))
		leaky_fail("realloc succeeded");
}

int main(int argc, char **argv)
{
	struct leaky_options options = leaky_start(argc, argv);

	leaky_wait_for_release(&options);
	work();
	return 0;
}
