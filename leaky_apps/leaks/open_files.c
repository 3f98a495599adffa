/*
 * open_files.c - looks how its own memory changes; where nothing has changed, it forgets to close.
 *
 * usage: open_files [--rate R] [--terms N] [--wait] [--lifetime S] [--stay]
 *
 * What is lost is an entry in the table of open files, and the kernel's memory behind it. The heap
 * and RES do not move. It ends when the table is full: ulimit -n says how many entries it has.
 *
 * Try: ./open_files --rate 10 & ls /proc/$!/fd | wc -l
 */
#include <fcntl.h>

#include "leaky.h"

#ifndef CHANGE_EVERY
#define CHANGE_EVERY 4 /* the size that is read counts as changed so often */
#endif

/* Returns the pages in memory, or 0 where there is nothing new. */
LEAKY_SITE static long read_size(uint64_t n)
{
	char text[128];
	int file = open("/proc/self/statm", O_RDONLY | O_CLOEXEC);
	ssize_t got;
	long pages;

	if (file < 0)
		leaky_fail("open");
	got = read(file, text, sizeof(text) - 1);
	if (got < 0)
		leaky_fail("read");
	text[got] = 0;
	if (n % CHANGE_EVERY)
		return 0;
	if (sscanf(text, "%*d %ld", &pages) != 1)
		leaky_fail("statm");
	close(file);
	return pages;
}

static void report(uint64_t n)
{
	long pages = read_size(n);

	if (pages)
		printf("look %" PRIu64 ": %ld pages in memory\n", n, pages);
	else
		printf("look %" PRIu64 ": nothing new\n", n);
}

int main(int argc, char **argv)
{
	struct leaky_options options = leaky_start(argc, argv);

	leaky_run(&options, report);
	return 0;
}
