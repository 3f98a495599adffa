/* inlined.c - the leaking helper is inlined into its caller. */
#include "leaky.h"

__attribute__((always_inline)) static inline void helper(void)
{
	if (!malloc(4321)) /* leaks */
		leaky_fail("malloc");
}

__attribute__((noinline)) static void outer(void)
{
	helper();
	__asm__ volatile("");
}

int main(int argc, char **argv)
{
	struct leaky_options options = leaky_start(argc, argv);

	leaky_wait_for_release(&options);
	outer();
	return 0;
}
