/* aligned.c - aligned_alloc 100 times, all freed; posix_memalign and memalign leak 3 blocks each.
 */
#include <malloc.h>

#include "leaky.h"

__attribute__((noinline)) static void all_freed(void)
{
	for (int i = 0; i < 100; i++)
		free(aligned_alloc(64, 1024));
}

__attribute__((noinline)) static void leak(void)
{
	void *block;

	for (int i = 0; i < 3; i++) {
		if (posix_memalign(&block, 256, 3000) || !memalign(128, 500))
			leaky_fail("memalign");
	}
	if (!posix_memalign(&block, 3, 3000))
		leaky_fail("an alignment of 3 was accepted");
}

int main(int argc, char **argv)
{
	struct leaky_options options = leaky_start(argc, argv);

	leaky_wait_for_release(&options);
	all_freed();
	leak();
	return 0;
}
