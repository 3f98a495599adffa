/*
 * fragmentation.c - imports photographs, keeps a small index of each, and drops the pixels.
 *
 * usage: fragmentation [--rate R] [--terms N] [--wait] [--lifetime S] [--stay]
 *
 * Pixels and index entries lie side by side in the heap. When the pixels go they leave holes, with
 * an entry between any two: malloc can fill the holes, but give none of them back.
 *
 * Try: ./fragmentation --rate 50     after two seconds little is in use, and RES stays
 */
#include "leaky.h"

#ifndef PHOTOGRAPHS
#define PHOTOGRAPHS 100
#endif
#ifndef PIXEL_BYTES
#define PIXEL_BYTES 40000
#endif
#define ENTRY_BYTES 48

static char *pixels[PHOTOGRAPHS], *entries[PHOTOGRAPHS];

LEAKY_SITE static char *take_pixels(uint64_t n)
{
	char *taken = malloc(PIXEL_BYTES);

	if (!taken)
		leaky_fail("malloc");
	memset(taken, (int)(n % 256), PIXEL_BYTES);
	return taken;
}

LEAKY_SITE static char *make_entry(uint64_t n)
{
	char *entry = malloc(ENTRY_BYTES);

	if (!entry)
		leaky_fail("malloc");
	snprintf(entry, ENTRY_BYTES, "photograph %" PRIu64, n);
	return entry;
}

static void drop_all_pixels(void)
{
	for (unsigned n = 0; n < PHOTOGRAPHS; n++) {
		free(pixels[n]);
		pixels[n] = NULL;
	}
	puts("all are imported");
}

static void import_or_look(uint64_t n)
{
	if (n < PHOTOGRAPHS) {
		pixels[n] = take_pixels(n);
		entries[n] = make_entry(n);
	}
	if (n == PHOTOGRAPHS - 1)
		drop_all_pixels();
	printf("looking at %s\n", entries[n % PHOTOGRAPHS]);
}

int main(int argc, char **argv)
{
	struct leaky_options options = leaky_start(argc, argv);

	leaky_run(&options, import_or_look);
	for (unsigned n = 0; n < PHOTOGRAPHS; n++) {
		free(pixels[n]);
		free(entries[n]);
	}
	return 0;
}
