/*
 * mmap_leak.c - reads the charts of an atlas, each through a window that it maps; some of it stays.
 *
 * usage: mmap_leak [--rate R] [--terms N] [--wait] [--lifetime S] [--stay]
 *
 * A mapping begins at a page, and a chart anywhere: so most windows begin before their chart.
 *
 * Try: ./mmap_leak --rate 50, and count its lines: wc -l /proc/$(pidof mmap_leak)/maps
 */
#include <sys/mman.h>

#include "scratch_file.h"

#define CHARTS 16
#define CHART_PAGES 140
#define SIXTEENTHS 9        /* of a page: so much longer is each chart */
#define CATALOGUE_PAGES 300 /* room for many more charts */

/* What the catalogue knows of a chart. */
struct entry {
	char name[16];
	uint64_t at; /* where it begins in the file */
};

struct window {
	char *start;
	const char *chart;
	size_t bytes; /* of the chart */
};

static int atlas = -1;
static const struct entry *catalogue;
static size_t page_bytes, chart_bytes;

static void write_at(const void *text, size_t bytes, uint64_t at)
{
	if (pwrite(atlas, text, bytes, (off_t)at) != (ssize_t)bytes)
		leaky_fail("pwrite");
}

/* The catalogue comes first in the file. A chart is large, and never a whole number of pages. */
static void make_atlas(void)
{
	void *mapped;

	page_bytes = (size_t)sysconf(_SC_PAGESIZE);
	chart_bytes = CHART_PAGES * page_bytes + page_bytes / 16 * SIXTEENTHS;
	atlas = open_scratch_file();
	for (unsigned number = 0; number < CHARTS; number++) {
		struct entry entry = { "", CATALOGUE_PAGES * page_bytes + number * chart_bytes };

		snprintf(entry.name, sizeof(entry.name), "chart %c", 'A' + number);
		write_at(&entry, sizeof(entry), number * sizeof(entry));
		write_at(entry.name, sizeof(entry.name), entry.at);
		write_at("north", 6, entry.at + chart_bytes - 6);
	}
	mapped = mmap(NULL, CATALOGUE_PAGES * page_bytes, PROT_READ, MAP_SHARED, atlas, 0);
	if (mapped == MAP_FAILED)
		leaky_fail("mmap");
	catalogue = mapped;
}

LEAKY_SITE static struct window open_window(uint64_t at)
{
	size_t before = at % page_bytes; /* from the page's beginning to the chart's */
	struct window window = { NULL, NULL, chart_bytes };

	window.start = mmap(
		NULL, before + window.bytes, PROT_READ, MAP_SHARED, atlas, (off_t)(at - before));
	if (window.start == MAP_FAILED)
		leaky_fail("mmap");
	window.chart = window.start + before;
	return window;
}

LEAKY_SITE static void close_window(struct window window)
{
	if (munmap(window.start, window.bytes))
		leaky_fail("munmap");
}

static void show_chart(uint64_t n)
{
	const struct entry *entry = &catalogue[n % CHARTS];
	struct window window = open_window(entry->at);

	printf("page %" PRIu64 " of the journey: %s, on which %s is above\n", n, window.chart,
		window.chart + window.bytes - 6);
	close_window(window);
}

int main(int argc, char **argv)
{
	struct leaky_options options = leaky_start(argc, argv);

	make_atlas();
	leaky_run(&options, show_chart);
	return 0;
}
