/*
 * warm_up.c - draws maps; it computes a table for each scale when that is first asked for.
 *
 * usage: warm_up [--rate R] [--terms N] [--wait] [--lifetime S] [--stay]
 *
 * In its first seconds it grows with every map. Then it has all tables, and needs no more.
 *
 * Try: ./warm_up --rate 50
 */
#include "leaky.h"

#ifndef SCALES
#define SCALES 80
#endif
#ifndef ENTRIES
#define ENTRIES 512
#endif

static double *tables[SCALES];

LEAKY_SITE static double *compute_table(unsigned scale)
{
	double *table = malloc(ENTRIES * sizeof(*table));

	if (!table)
		leaky_fail("malloc");
	for (unsigned entry = 0; entry < ENTRIES; entry++)
		table[entry] = (double)entry / (scale + 1);
	return table;
}

static void draw_map(uint64_t n)
{
	unsigned scale = (unsigned)(n % SCALES);

	if (!tables[scale])
		tables[scale] = compute_table(scale);
	printf("map %" PRIu64 " at scale %u: %.3f\n", n, scale, tables[scale][n % ENTRIES]);
}

int main(int argc, char **argv)
{
	struct leaky_options options = leaky_start(argc, argv);

	leaky_run(&options, draw_map);
	for (unsigned scale = 0; scale < SCALES; scale++)
		free(tables[scale]);
	return 0;
}
