/*
 * one_in_many.c - unpacks parcels; of a hundred blocks from one line, ninety-nine come back.
 *
 * usage: one_in_many [--rate R] [--terms N] [--wait] [--lifetime S] [--stay]
 *
 * The allocation that leaks is also the busiest one, and almost all of it is freed: churn, to who
 * looks at the share. Parcels without an address are set aside, and nobody asks for them again.
 *
 * Try: ./one_in_many --rate 500
 */
#include "leaky.h"

#ifndef PARCEL_BYTES
#define PARCEL_BYTES 1000
#endif
#ifndef LOST_EVERY
#define LOST_EVERY 100
#endif

struct parcel {
	uint64_t number;
	char address[PARCEL_BYTES - 8];
};

static unsigned set_aside;

LEAKY_SITE static struct parcel *unpack(uint64_t n)
{
	struct parcel *parcel = malloc(sizeof(*parcel));

	if (!parcel)
		leaky_fail("malloc");
	parcel->number = n;
	parcel->address[0] = n % LOST_EVERY == LOST_EVERY - 1 ? 0 : 'A';
	return parcel;
}

LEAKY_SITE static void deliver(struct parcel *parcel)
{
	if (!parcel->address[0]) {
		set_aside++;
		return;
	}
	free(parcel);
}

static void handle_parcel(uint64_t n)
{
	deliver(unpack(n));
	if (n % 50 == 49)
		printf("%" PRIu64 " parcels, %u of them set aside\n", n + 1, set_aside);
}

int main(int argc, char **argv)
{
	struct leaky_options options = leaky_start(argc, argv);

	leaky_run(&options, handle_parcel);
	printf("%u parcels are set aside\n", set_aside);
	return 0;
}
