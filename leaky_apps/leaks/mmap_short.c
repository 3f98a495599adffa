/*
 * mmap_short.c - prints pages through a window that it maps; it unmaps less than it has mapped.
 *
 * usage: mmap_short [--rate R] [--terms N] [--wait] [--lifetime S] [--stay]
 *
 * The window has a page of header in front. The unmapping counts the pages of the sheet only, so
 * the last page of each window stays mapped, and nobody knows its address any more.
 *
 * Try: ./mmap_short --rate 50, and count its lines: wc -l /proc/$(pidof mmap_short)/maps
 */
#include <sys/mman.h>

#include "leaky.h"

#ifndef SHEET_PAGES
#define SHEET_PAGES 4
#endif
#define HEADER_PAGES 1

static size_t page_bytes;

LEAKY_SITE static char *open_window(void)
{
	size_t bytes = (HEADER_PAGES + SHEET_PAGES) * page_bytes;
	char *window =
		mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (window == MAP_FAILED)
		leaky_fail("mmap");
	return window;
}

LEAKY_SITE static void close_window(char *window)
{
	if (munmap(window, SHEET_PAGES * page_bytes))
		leaky_fail("munmap");
}

static void print_sheet(uint64_t n)
{
	char *window = open_window();
	char *sheet = window + HEADER_PAGES * page_bytes;

	memset(sheet, '0' + (int)(n % 10), SHEET_PAGES * page_bytes);
	printf("sheet %" PRIu64 ": %zu bytes of %c\n", n, SHEET_PAGES * page_bytes, sheet[0]);
	close_window(window);
}

int main(int argc, char **argv)
{
	struct leaky_options options = leaky_start(argc, argv);

	page_bytes = (size_t)sysconf(_SC_PAGESIZE);
	leaky_run(&options, print_sheet);
	return 0;
}
