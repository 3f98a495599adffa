/*
 * hash_overwrite.c - keeps the newest price of each share; the price before it is overwritten.
 *
 * usage: hash_overwrite [--rate R] [--terms N] [--wait] [--lifetime S] [--stay]
 *
 * The table does not grow: there are as many shares as ever. A value that is replaced has nobody
 * who points at it any more.
 *
 * Try: ./hash_overwrite --rate 100
 */
#include "leaky.h"

#ifndef QUOTE_BYTES
#define QUOTE_BYTES 400
#endif
#ifndef SHARES
#define SHARES 12
#endif
#define BUCKETS 8

struct entry {
	struct entry *next;
	uint64_t share;
	char *quote;
};

static struct entry *buckets[BUCKETS];

static struct entry *find_or_add(uint64_t share)
{
	struct entry **link = &buckets[share % BUCKETS];

	while (*link && (*link)->share != share)
		link = &(*link)->next;
	if (!*link) {
		*link = calloc(1, sizeof(**link));
		if (!*link)
			leaky_fail("calloc");
		(*link)->share = share;
	}
	return *link;
}

LEAKY_SITE static char *write_quote(uint64_t n)
{
	char *quote = malloc(QUOTE_BYTES);

	if (!quote)
		leaky_fail("malloc");
	snprintf(quote, QUOTE_BYTES, "%" PRIu64 ".%02" PRIu64, n / 100, n % 100);
	return quote;
}

LEAKY_SITE static void put(uint64_t share, char *quote)
{
	find_or_add(share)->quote = quote;
}

static void take_quote(uint64_t n)
{
	put(n % SHARES, write_quote(n));
	printf("share %" PRIu64 ": %s\n", n % SHARES, find_or_add(n % SHARES)->quote);
}

int main(int argc, char **argv)
{
	struct leaky_options options = leaky_start(argc, argv);

	leaky_run(&options, take_quote);
	return 0;
}
