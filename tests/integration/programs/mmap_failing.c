/* mmap_failing.c - asks for a mapping of one exbibyte, which no kernel gives: nothing leaks. */
#include <sys/mman.h>

#include "leaky.h"

LEAKY_SITE static void work(void)
{
	if (mmap(NULL, 1UL << 60, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0) !=
		MAP_FAILED)
		leaky_fail("mmap gave an exbibyte");
}

int main(int argc, char **argv)
{
	struct leaky_options options = leaky_start(argc, argv);

	leaky_wait_for_release(&options);
	work();
	return 0;
}
