/*
 * wrapped.c - to be run with wrapper.c preloaded: leaks 10 blocks of 4,242 bytes, and in the
 * handler of the signal that each of them raises one of 77; 5 of 1,000 by calloc; and frees 20 of
 * 300 by malloc and 20 of 200 by calloc.
 */
#include "leaky.h"

static void keep(const void *block)
{
	if (!block)
		leaky_fail("malloc");
}

LEAKY_SITE static void leak_in_handler(int signal_number)
{
	(void)signal_number;
	keep(malloc(77));
	free(malloc(55));
}

LEAKY_SITE static void leak(void)
{
	for (int i = 0; i < 10; i++)
		keep(malloc(4242));
	for (int i = 0; i < 5; i++)
		keep(calloc(10, 100));
}

LEAKY_SITE static void free_all(void)
{
	for (int i = 0; i < 20; i++) {
		free(malloc(300));
		free(calloc(2, 100));
	}
}

int main(int argc, char **argv)
{
	struct leaky_options options = leaky_start(argc, argv);

	if (signal(SIGUSR2, leak_in_handler) == SIG_ERR)
		leaky_fail("signal");
	leaky_wait_for_release(&options);
	leak();
	free_all();
	return 0;
}
