/*
 * fib_leak.c - computes Fibonacci numbers in a thread, and loses a block with each.
 *
 * usage: fib_leak [--rate R] [--terms N] [--wait] [--lifetime S]
 *
 * Try: ./fib_leak --rate 100      and watch RES in top: more with every term
 * Try: ./fib_leak --terms 92      ends with 93th, the last number that fits in 64 bits
 *
 * The terms are unsigned: from the 94th on they are right modulo 2 to the 64th, and defined.
 */
#include <inttypes.h>
#include <pthread.h>

#include "leaky.h"

#define NUMBERS 1024

/* Room for many numbers, though one is needed: large enough to be seen. */
LEAKY_SITE static uint64_t *fibonacci(const uint64_t *n0, const uint64_t *n1)
{
	uint64_t *v = calloc(NUMBERS, sizeof(*v));

	if (!v)
		leaky_fail("calloc");
	*v = *n0 + *n1;
	return v;
}

static void *child(void *argument)
{
	const struct leaky_options *options = argument;
	struct leaky_pace pace = leaky_pace(options);
	uint64_t n0 = 0, n1 = 1;

	for (uint64_t n = 2; !options->terms || n < options->terms + 2; n++) {
		uint64_t *v = fibonacci(&n0, &n1);

		n0 = n1;
		n1 = *v;
		printf("%" PRIu64 "th => %" PRIu64 "\n", n, *v);
		leaky_sleep(&pace);
	}
	return NULL;
}

int main(int argc, char **argv)
{
	struct leaky_options options = leaky_start(argc, argv);
	pthread_t thread;

	leaky_wait_for_release(&options);
	if ((errno = pthread_create(&thread, NULL, child, &options)))
		leaky_fail("pthread_create");
	if ((errno = pthread_join(thread, NULL)))
		leaky_fail("pthread_join");
	return 0;
}
