/*
 * realloc_cases.c - realloc in its four shapes: of NULL, growing past the mmap threshold, failing,
 * and of size 0. Only the block whose realloc failed stays: 5,000 bytes.
 */
#include "leaky.h"

__attribute__((noinline)) static void of_null(void)
{
	for (int i = 0; i < 100; i++)
		free(realloc(NULL, 100));
}

__attribute__((noinline)) static void growing(void)
{
	void *block = NULL;

	for (size_t size = 1000; size < 4 << 20; size *= 2)
		block = realloc(block, size);
	free(block);
}

__attribute__((noinline)) static void failing(void)
{
	volatile size_t impossible = SIZE_MAX / 2;
	void *block = malloc(5000);

	if (realloc(block, impossible))
		leaky_fail("realloc succeeded");
}

__attribute__((noinline)) static void to_zero(void)
{
	void *block = malloc(777);

	block = realloc(block, 0);
}

int main(int argc, char **argv)
{
	struct leaky_options options = leaky_start(argc, argv);

	leaky_wait_for_release(&options);
	of_null();
	growing();
	failing();
	to_zero();
	return 0;
}
