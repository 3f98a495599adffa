/*
 * deferred_free.c - replaces its routes while others may still read them: the old ones wait.
 *
 * usage: deferred_free [--rate R] [--terms N] [--wait] [--lifetime S] [--stay]
 *
 * A route that was replaced is put on a list, and the list is freed when no reader can be left. For
 * a while what has been given up grows, and nobody seems to free it.
 *
 * Try: ./deferred_free --rate 50     every second the waste is collected
 */
#include "leaky.h"

#ifndef ROUTE_BYTES
#define ROUTE_BYTES 1008 /* the route has 16 more */
#endif
#ifndef GRACE_TERMS
#define GRACE_TERMS 50
#endif

struct route {
	struct route *next_waste;
	uint64_t number;
	char hops[ROUTE_BYTES];
};

static struct route *current, *waste;

LEAKY_SITE static struct route *find_route(uint64_t n)
{
	struct route *route = malloc(sizeof(*route));

	if (!route)
		leaky_fail("malloc");
	route->number = n;
	memset(route->hops, '>', sizeof(route->hops));
	return route;
}

static unsigned collect_waste(void)
{
	unsigned count = 0;

	while (waste) {
		struct route *route = waste;

		waste = route->next_waste;
		free(route);
		count++;
	}
	return count;
}

static void replace_route(uint64_t n)
{
	if (current) {
		current->next_waste = waste;
		waste = current;
	}
	current = find_route(n);
	if (n % GRACE_TERMS == GRACE_TERMS - 1)
		printf("route %" PRIu64 "; %u old ones are freed\n", current->number,
			collect_waste());
}

int main(int argc, char **argv)
{
	struct leaky_options options = leaky_start(argc, argv);

	leaky_run(&options, replace_route);
	collect_waste();
	free(current);
	puts("no route is left");
	return 0;
}
