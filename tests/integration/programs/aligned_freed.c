/* aligned_freed.c - 100 times aligned_alloc(64, 1024), all freed: nothing leaks. */
#include "leaky.h"

LEAKY_SITE static void work(void)
{
	for (int i = 0; i < 100; i++)
		free(aligned_alloc(64, 1024));
}

int main(int argc, char **argv)
{
	struct leaky_options options = leaky_start(argc, argv);

	leaky_wait_for_release(&options);
	work();
	return 0;
}
