/*
 * cache_not_leak.c - computes the way between two towns, and keeps each answer for the next asker.
 *
 * usage: cache_not_leak [--rate R] [--terms N] [--wait] [--lifetime S] [--stay]
 *
 * Try: ./cache_not_leak --rate 100 > /dev/null, and watch RES in top
 */
#include "leaky.h"

#define TOWNS 40
#define SLOTS 500
#define WAY_BYTES 2000

/* A way by all its towns; the longest has room for all of them. */
struct way {
	unsigned from, to;
	uint64_t minutes;
	char text[WAY_BYTES];
};

static struct way *kept[SLOTS];
static uint64_t hits;

LEAKY_SITE static struct way *compute_way(unsigned from, unsigned to)
{
	struct way *way = calloc(1, sizeof(*way));

	if (!way)
		leaky_fail("calloc");
	way->from = from;
	way->to = to;
	for (unsigned town = from; town != to; town = (town + 1) % TOWNS) {
		size_t length = strlen(way->text);

		way->minutes += 10 + town * 7 % 13;
		snprintf(way->text + length, sizeof(way->text) - length, "%u, ", town);
	}
	return way;
}

static const struct way *find_way(unsigned from, unsigned to)
{
	struct way **slot = &kept[(from * TOWNS + to) % SLOTS];

	if (*slot && (*slot)->from == from && (*slot)->to == to) {
		hits++;
		return *slot;
	}
	free(*slot);
	*slot = compute_way(from, to);
	return *slot;
}

static void answer(uint64_t n)
{
	static uint64_t seed = 1;
	const struct way *way;

	seed = seed * 6364136223846793005 + 1442695040888963407;
	way = find_way((seed >> 33) % TOWNS, (seed >> 43) % TOWNS);
	printf("%" PRIu64 ": from %u to %u in %" PRIu64 " minutes, by %.20s... (%" PRIu64
	       " were known)\n",
		n, way->from, way->to, way->minutes, way->text, hits);
}

int main(int argc, char **argv)
{
	struct leaky_options options = leaky_start(argc, argv);

	leaky_run(&options, answer);
	return 0;
}
