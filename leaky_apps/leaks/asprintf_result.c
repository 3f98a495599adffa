/*
 * asprintf_result.c - writes a log; a line that is filtered out is formatted first, and lost.
 *
 * usage: asprintf_result [--rate R] [--terms N] [--wait] [--lifetime S] [--stay]
 *
 * Try: ./asprintf_result --rate 100     three lines in four are below the level that is shown
 */
#define _GNU_SOURCE
#include "leaky.h"

#ifndef LINE_LETTERS
#define LINE_LETTERS 95
#endif
#ifndef SHOWN_EVERY
#define SHOWN_EVERY 4 /* one line in so many is an error, the others are only for debugging */
#endif

LEAKY_SITE static char *format_line(const char *level, uint64_t n)
{
	char *line;

	if (asprintf(&line, "%-6s%0*" PRIu64, level, LINE_LETTERS - 6, n) < 0)
		leaky_fail("asprintf");
	return line;
}

LEAKY_SITE static void write_log(uint64_t n)
{
	int is_error = n % SHOWN_EVERY == 0;
	char *line = format_line(is_error ? "error" : "debug", n);

	if (!is_error)
		return;
	puts(line);
	free(line);
}

int main(int argc, char **argv)
{
	struct leaky_options options = leaky_start(argc, argv);

	leaky_run(&options, write_log);
	return 0;
}
