/*
 * load_tide.c - a server whose visitors come in the morning and leave in the evening.
 *
 * usage: load_tide [--rate R] [--terms N] [--wait] [--lifetime S] [--stay]
 *
 * While more come than go it grows, without a single free: a need that rises. Later each of them
 * logs out, and all that was allocated is freed.
 *
 * Try: ./load_tide --rate 50     a day has four seconds
 */
#include "leaky.h"

#ifndef HALF_DAY
#define HALF_DAY 100 /* terms: so many come, and then as many go */
#endif
#ifndef VISITOR_BYTES
#define VISITOR_BYTES 1600
#endif

static char *visitors[HALF_DAY];
static unsigned count;

LEAKY_SITE static char *welcome(uint64_t n)
{
	char *visitor = malloc(VISITOR_BYTES);

	if (!visitor)
		leaky_fail("malloc");
	snprintf(visitor, VISITOR_BYTES, "visitor %" PRIu64, n);
	return visitor;
}

static void serve(uint64_t n)
{
	if (n / HALF_DAY % 2 == 0)
		visitors[count++] = welcome(n);
	else
		free(visitors[--count]);
	printf("%s: %u visitors\n", n / HALF_DAY % 2 ? "evening" : "morning", count);
}

int main(int argc, char **argv)
{
	struct leaky_options options = leaky_start(argc, argv);

	leaky_run(&options, serve);
	while (count)
		free(visitors[--count]);
	return 0;
}
