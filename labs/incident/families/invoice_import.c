/*
 * incident.c - an office: scans the day's invoices in the morning, and looks them up all day.
 *
 * usage: incident [--rate R] [--terms N] [--wait] [--lifetime S] [--stay]
 *
 * A term is an invoice that is scanned, or one that is looked up.
 */
#include "leaky.h"

/* How it is run: with --rate SERVICE_RATE, in a container of CONTAINER_MIB MiB without swap. */
#define SERVICE_RATE 5
#define CONTAINER_MIB 64

#define INVOICES 160
#define DAY_TERMS 240
#define SCAN_BYTES 80000
#define ENTRY_BYTES 200
#define ANSWER_BYTES 5000

static char *scans[INVOICES], *entries[INVOICES];

LEAKY_SITE static char *scan_invoice(uint64_t n)
{
	char *scan = malloc(SCAN_BYTES);

	if (!scan)
		leaky_fail("malloc");
	memset(scan, (int)('a' + n * 7 % 26), SCAN_BYTES);
	return scan;
}

LEAKY_SITE static char *make_entry(uint64_t n, const char *scan)
{
	char *entry = malloc(ENTRY_BYTES);

	if (!entry)
		leaky_fail("malloc");
	snprintf(entry, ENTRY_BYTES, "invoice %" PRIu64 ", %.10s", n, scan + SCAN_BYTES / 2);
	return entry;
}

LEAKY_SITE static void end_day(void)
{
	for (unsigned number = 0; number < INVOICES; number++) {
		free(entries[number]);
		entries[number] = NULL;
	}
}

/* All are read: the entries are enough from now on. */
LEAKY_SITE static void drop_scans(void)
{
	for (unsigned number = 0; number < INVOICES; number++) {
		free(scans[number]);
		scans[number] = NULL;
	}
}

LEAKY_SITE static char *write_answer(const char *entry)
{
	char *answer = malloc(ANSWER_BYTES);

	if (!answer)
		leaky_fail("malloc");
	memset(answer, ' ', ANSWER_BYTES);
	snprintf(answer, ANSWER_BYTES, "about %s", entry);
	return answer;
}

static void work(uint64_t n)
{
	uint64_t moment = n % DAY_TERMS;
	char *answer;

	if (moment == 0)
		end_day();
	if (moment < INVOICES) {
		scans[moment] = scan_invoice(n);
		entries[moment] = make_entry(n, scans[moment]);
	}
	if (moment == INVOICES - 1)
		drop_scans();
	answer = write_answer(entries[moment < INVOICES ? moment : n * 31 % INVOICES]);
	puts(answer);
	free(answer);
}

int main(int argc, char **argv)
{
	struct leaky_options options = leaky_start(argc, argv);

	leaky_run(&options, work);
	return 0;
}
