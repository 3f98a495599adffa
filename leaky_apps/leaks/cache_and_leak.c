/*
 * cache_and_leak.c - a map server: its tiles are a cache and large, its log lines leak and are
 * small.
 *
 * usage: cache_and_leak [--rate R] [--terms N] [--wait] [--lifetime S] [--stay]
 *
 * A list of what is outstanding has the cache on top, by far, for hours. It is full after its first
 * round. The largest number is not the leak.
 *
 * Try: ./cache_and_leak --rate 100
 */
#include "leaky.h"

#ifndef TILE_BYTES
#define TILE_BYTES 65536
#endif
#ifndef TILES
#define TILES 50
#endif
#ifndef LINE_BYTES
#define LINE_BYTES 160
#endif

static char *tiles[TILES];

static const char *get_tile(uint64_t number)
{
	char **tile = &tiles[number % TILES];

	if (!*tile) {
		*tile = malloc(TILE_BYTES);
		if (!*tile)
			leaky_fail("malloc");
		memset(*tile, '#', TILE_BYTES);
	}
	return *tile;
}

LEAKY_SITE static char *describe_request(uint64_t n, const char *tile)
{
	char *line = malloc(LINE_BYTES);

	if (!line)
		leaky_fail("malloc");
	snprintf(line, LINE_BYTES, "request %" PRIu64 ": %.8s", n, tile);
	return line;
}

static void serve_tile(uint64_t n)
{
	puts(describe_request(n, get_tile(n)));
}

int main(int argc, char **argv)
{
	struct leaky_options options = leaky_start(argc, argv);

	leaky_run(&options, serve_tile);
	for (unsigned number = 0; number < TILES; number++)
		free(tiles[number]);
	return 0;
}
