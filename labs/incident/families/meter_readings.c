/*
 * incident.c - a waterworks: collects readings of its meters, and writes a report now and then.
 *
 * usage: incident [--rate R] [--terms N] [--wait] [--lifetime S] [--stay]
 *
 * A term is a reading.
 */
#include "leaky.h"

/* How it is run: with --rate SERVICE_RATE, in a container of CONTAINER_MIB MiB without swap. */
#define SERVICE_RATE 5
#define CONTAINER_MIB 64

#define READING_BYTES 90000
#define REPORT_EVERY 120
#define REPORT_BYTES 30000
#define REPORTS 3

struct reading {
	struct reading *next;
	uint64_t number;
	char curve[READING_BYTES];
};

static struct reading *readings;
static char *reports[REPORTS];
static uint64_t report_count;

LEAKY_SITE static void add_reading(uint64_t n)
{
	struct reading *reading = malloc(sizeof(*reading));

	if (!reading)
		leaky_fail("malloc");
	reading->number = n;
	memset(reading->curve, (int)('a' + n * 7 % 26), READING_BYTES);
	reading->next = readings;
	readings = reading;
}

LEAKY_SITE static uint64_t add_up(void)
{
	uint64_t sum = 0;

	for (const struct reading *reading = readings; reading; reading = reading->next)
		sum += (uint64_t)reading->curve[reading->number % READING_BYTES];
	return sum;
}

LEAKY_SITE static void drop_readings(void)
{
	while (readings) {
		struct reading *next = readings->next;

		free(readings);
		readings = next;
	}
}

/* Its page is there from the first reading on: only the sum comes at the end. */
LEAKY_SITE static void begin_report(void)
{
	char *report = malloc(REPORT_BYTES);

	if (!report)
		leaky_fail("malloc");
	memset(report, ' ', REPORT_BYTES);
	free(reports[report_count % REPORTS]);
	reports[report_count++ % REPORTS] = report;
}

static void end_report(void)
{
	snprintf(reports[(report_count - 1) % REPORTS], REPORT_BYTES,
		"report %" PRIu64 ": %" PRIu64, report_count, add_up());
	drop_readings();
}

static void take_reading(uint64_t n)
{
	if (n % REPORT_EVERY == 0)
		begin_report();
	add_reading(n);
	if (n % REPORT_EVERY == REPORT_EVERY - 1)
		end_report();
	printf("reading %" PRIu64 "; page %" PRIu64 ": %.24s\n", n, report_count,
		reports[(report_count - 1) % REPORTS]);
}

int main(int argc, char **argv)
{
	struct leaky_options options = leaky_start(argc, argv);

	leaky_run(&options, take_reading);
	return 0;
}
