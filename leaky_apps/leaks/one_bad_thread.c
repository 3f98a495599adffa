/*
 * one_bad_thread.c - four threads do the same work with the same code; one of them forgets.
 *
 * usage: one_bad_thread [--rate R] [--terms N] [--wait] [--lifetime S] [--stay]
 *
 * All four allocate at one line. The thread for the archive gets each record to keep, and does not
 * know that it has to free it.
 *
 * Try: ./one_bad_thread --rate 200     a quarter of the blocks stays
 */
#include "workers.h"

#ifndef RECORD_BYTES
#define RECORD_BYTES 1200
#endif
#ifndef THREADS
#define THREADS 4
#endif

static unsigned archived;

LEAKY_SITE static char *write_record(unsigned worker, uint64_t n)
{
	char *record = malloc(RECORD_BYTES);

	if (!record)
		leaky_fail("malloc");
	snprintf(record, RECORD_BYTES, "thread %u: record %" PRIu64, worker, n);
	return record;
}

LEAKY_SITE static void archive(const char *record)
{
	archived += *record == 't';
}

static void handle_record(unsigned worker, uint64_t n)
{
	char *record = write_record(worker, n);

	puts(record);
	if (worker == THREADS - 1)
		archive(record);
	else
		free(record);
}

static void hand_out(uint64_t n)
{
	give_work((unsigned)(n % THREADS), n);
}

int main(int argc, char **argv)
{
	struct leaky_options options = leaky_start(argc, argv);

	start_workers(THREADS, handle_record);
	leaky_run(&options, hand_out);
	end_workers();
	printf("%u records in the archive\n", archived);
	return 0;
}
