/*
 * incident.c - an image server: loads what is asked for, scales it, and keeps what was loaded.
 *
 * usage: incident [--rate R] [--terms N] [--wait] [--lifetime S] [--stay]
 *
 * A term is a request.
 */
#include "leaky.h"

/* How it is run: with --rate SERVICE_RATE, in a container of CONTAINER_MIB MiB without swap. */
#define SERVICE_RATE 5
#define CONTAINER_MIB 64

#define IMAGE_BYTES 56000
#define IMAGES 900
#define KEPT 150
#define SCALED_BYTES 9000

struct image {
	uint64_t number;
	uint64_t asked_at;
	char pixels[IMAGE_BYTES];
};

static struct image *kept[KEPT];
static unsigned kept_count;
static uint64_t found;

LEAKY_SITE static struct image *load_image(uint64_t number)
{
	struct image *image = malloc(sizeof(*image));

	if (!image)
		leaky_fail("malloc");
	image->number = number;
	memset(image->pixels, (int)('a' + number % 26), IMAGE_BYTES);
	snprintf(image->pixels, IMAGE_BYTES, "P5 %" PRIu64 " ", number);
	return image;
}

/* The place of the image that nobody has asked for for the longest time. */
LEAKY_SITE static unsigned find_oldest(void)
{
	unsigned oldest = 0;

	for (unsigned place = 1; place < KEPT; place++)
		if (kept[place]->asked_at < kept[oldest]->asked_at)
			oldest = place;
	return oldest;
}

LEAKY_SITE static unsigned make_room(void)
{
	unsigned place;

	if (kept_count < KEPT)
		return kept_count++;
	place = find_oldest();
	free(kept[place]);
	return place;
}

LEAKY_SITE static struct image *get_image(uint64_t number)
{
	unsigned place;

	for (place = 0; place < kept_count; place++) {
		if (kept[place]->number == number) {
			found++;
			return kept[place];
		}
	}
	place = make_room();
	kept[place] = load_image(number);
	return kept[place];
}

LEAKY_SITE static char *scale_image(const struct image *image)
{
	char *scaled = malloc(SCALED_BYTES);

	if (!scaled)
		leaky_fail("malloc");
	memcpy(scaled, image->pixels + (IMAGE_BYTES - SCALED_BYTES) / 2, SCALED_BYTES);
	return scaled;
}

static void answer(uint64_t n)
{
	struct image *image = get_image(n * n * 31 % 9973 * (n % 7 + 1) % IMAGES);
	char *scaled = scale_image(image);

	image->asked_at = n;
	printf("request %" PRIu64 ": image %" PRIu64 ", %.10s...; %" PRIu64 " were there\n", n,
		image->number, scaled, found);
	free(scaled);
}

int main(int argc, char **argv)
{
	struct leaky_options options = leaky_start(argc, argv);

	leaky_run(&options, answer);
	return 0;
}
