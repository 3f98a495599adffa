/*
 * hidden_caller.c - leaks 10 blocks of 4,321 bytes. To be built without frame pointers: the callers
 * keep so much over their calls that the frame pointer's register holds numbers, not frames.
 */
#include "leaky.h"

LEAKY_SITE static uint64_t leak(uint64_t a, uint64_t b)
{
	if (!malloc(4321)) /* leaks */
		leaky_fail("malloc");
	return a ^ b;
}

LEAKY_SITE static uint64_t middle(uint64_t a, uint64_t b, uint64_t c, uint64_t d, uint64_t e)
{
	uint64_t first = leak(a, b), second = leak(c, d);

	return first * a + second * b + c * d + e;
}

LEAKY_SITE static uint64_t outer(uint64_t a, uint64_t b, uint64_t c, uint64_t d)
{
	uint64_t e = a * 3, f = b * 5, sum = 0;

	for (int i = 0; i < 5; i++)
		sum += middle(a + i, b, c, d, e) * f + e;
	return sum + a + b + c + d;
}

int main(int argc, char **argv)
{
	struct leaky_options options = leaky_start(argc, argv);

	leaky_wait_for_release(&options);
	printf("%d\n", (int)outer(argc, 2, 3, 4));
	return 0;
}
