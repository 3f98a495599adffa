/*
 * arena_hold.c - imports a shipment of photographs, and then shows its list of them.
 *
 * usage: arena_hold [--rate R] [--terms N] [--wait] [--lifetime S] [--stay]
 *
 * Try: ./arena_hold --rate 100 > /dev/null, and watch RES in top: it comes, and it doesn't go
 */
#include "leaky.h"

#define PHOTOGRAPHS 300
#define PIXEL_BYTES 40000
#define ENTRY_BYTES 96

static char *pixels[PHOTOGRAPHS], *entries[PHOTOGRAPHS];

LEAKY_SITE static char *take_pixels(uint64_t n)
{
	char *taken = malloc(PIXEL_BYTES);

	if (!taken)
		leaky_fail("malloc");
	memset(taken, (int)(n % 200), PIXEL_BYTES);
	return taken;
}

/* An entry of the list is made from the pixels, and stays when these are gone. */
LEAKY_SITE static char *make_entry(uint64_t n)
{
	char *entry = malloc(ENTRY_BYTES);

	if (!entry)
		leaky_fail("malloc");
	snprintf(entry, ENTRY_BYTES, "photograph %" PRIu64 ", brightness %d", n, pixels[n][0]);
	return entry;
}

static void drop_all_pixels(void)
{
	for (unsigned n = 0; n < PHOTOGRAPHS; n++) {
		free(pixels[n]);
		pixels[n] = NULL;
	}
}

static void import_or_show(uint64_t n)
{
	if (n < PHOTOGRAPHS) {
		pixels[n] = take_pixels(n);
		entries[n] = make_entry(n);
	}
	if (n == PHOTOGRAPHS - 1)
		drop_all_pixels();
	printf("%s %s\n", n < PHOTOGRAPHS ? "importing" : "showing", entries[n % PHOTOGRAPHS]);
}

int main(int argc, char **argv)
{
	struct leaky_options options = leaky_start(argc, argv);

	leaky_run(&options, import_or_show);
	return 0;
}
