/*
 * sawtooth.c - collects records for a batch, writes the batch, and frees all of them at once.
 *
 * usage: sawtooth [--rate R] [--terms N] [--wait] [--lifetime S] [--stay]
 *
 * Its curve climbs for a while and falls to where it began. Who looks for less than one tooth sees
 * a leak.
 *
 * Try: ./sawtooth --rate 50     a tooth is sixty records, a little over a second
 */
#include "leaky.h"

#ifndef BATCH
#define BATCH 60
#endif
#ifndef RECORD_BYTES
#define RECORD_BYTES 2000
#endif

static char *batch[BATCH];
static unsigned count;

LEAKY_SITE static char *make_record(uint64_t n)
{
	char *record = malloc(RECORD_BYTES);

	if (!record)
		leaky_fail("malloc");
	snprintf(record, RECORD_BYTES, "record %" PRIu64, n);
	return record;
}

LEAKY_SITE static void write_batch(void)
{
	if (count)
		printf("%u records, from %s\n", count, batch[0]);
	while (count)
		free(batch[--count]);
}

static void collect(uint64_t n)
{
	batch[count++] = make_record(n);
	if (count == BATCH)
		write_batch();
}

int main(int argc, char **argv)
{
	struct leaky_options options = leaky_start(argc, argv);

	leaky_run(&options, collect);
	write_batch();
	puts("all is written");
	return 0;
}
