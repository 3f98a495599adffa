/*
 * growing_vector.c - lists the stars that it sees; the list doubles its room when it is full.
 *
 * usage: growing_vector [--rate R] [--terms N] [--wait] [--lifetime S] [--stay]
 *
 * It grows in ever larger steps, ever more rarely, until the sky has no new star for it.
 *
 * Try: ./growing_vector --rate 50     the last step is after two seconds and a half
 */
#include "leaky.h"

#ifndef STARS
#define STARS 1000
#endif
#define STARS_A_TERM 8

struct star {
	double height, brightness;
};

static struct star *stars;
static size_t count, room;

LEAKY_SITE static void make_room(void)
{
	size_t wanted = room ? 2 * room : 8;
	struct star *larger = realloc(stars, wanted * sizeof(*stars));

	if (!larger)
		leaky_fail("realloc");
	stars = larger;
	room = wanted;
}

static void look_up(uint64_t n)
{
	for (unsigned seen = 0; seen < STARS_A_TERM && count < STARS; seen++) {
		if (count == room)
			make_room();
		stars[count++] = (struct star) { (double)(n % 90), (double)seen };
	}
	printf("look %" PRIu64 ": %zu stars, room for %zu\n", n, count, room);
}

int main(int argc, char **argv)
{
	struct leaky_options options = leaky_start(argc, argv);

	leaky_run(&options, look_up);
	free(stars);
	return 0;
}
