/*
 * burst_leak.c - counts visits, and writes a report now and then; a report loses all its rows.
 *
 * usage: burst_leak [--rate R] [--terms N] [--wait] [--lifetime S] [--stay]
 *
 * Between two reports nothing grows. A curve of this program is a staircase.
 *
 * Try: ./burst_leak --rate 50     a report every two seconds: 64 rows of 200 bytes
 */
#include "leaky.h"

#ifndef ROW_BYTES
#define ROW_BYTES 200
#endif
#ifndef ROWS
#define ROWS 64
#endif
#ifndef REPORT_EVERY
#define REPORT_EVERY 100
#endif

static char *rows[ROWS];
static unsigned visits[ROWS];

LEAKY_SITE static char *format_row(unsigned row)
{
	char *text = malloc(ROW_BYTES);

	if (!text)
		leaky_fail("malloc");
	snprintf(text, ROW_BYTES, "page %u: %u visits", row, visits[row]);
	return text;
}

LEAKY_SITE static void write_report(uint64_t n)
{
	for (unsigned row = 0; row < ROWS; row++)
		rows[row] = format_row(row);
	printf("report after %" PRIu64 " visits; %s\n", n + 1, rows[0]);
	memset(rows, 0, sizeof(rows));
}

static void count_visit(uint64_t n)
{
	visits[n * 7 % ROWS]++;
	if (n % REPORT_EVERY == REPORT_EVERY - 1)
		write_report(n);
}

int main(int argc, char **argv)
{
	struct leaky_options options = leaky_start(argc, argv);

	leaky_run(&options, count_visit);
	puts("closed");
	return 0;
}
