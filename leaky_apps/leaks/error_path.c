/*
 * error_path.c - answers requests; the buffer of one that is malformed is never given back.
 *
 * usage: error_path [--rate R] [--terms N] [--wait] [--lifetime S] [--stay]
 *
 * Try: ./error_path --rate 50     one request in eight is refused, and costs 4,096 bytes for good
 */
#include "leaky.h"

#ifndef BUFFER_BYTES
#define BUFFER_BYTES 4096
#endif
#ifndef BAD_EVERY
#define BAD_EVERY 8 /* one request in so many is malformed */
#endif

static void receive(char *request, uint64_t n)
{
	const char *verb = n % BAD_EVERY == BAD_EVERY - 1 ? "GTE" : "GET";

	snprintf(request, BUFFER_BYTES, "%s /items/%" PRIu64, verb, n);
}

/* Returns the status that the client is told. */
LEAKY_SITE static int handle_request(uint64_t n)
{
	char *request = malloc(BUFFER_BYTES);
	int status;

	if (!request)
		leaky_fail("malloc");
	receive(request, n);
	if (strncmp(request, "GET ", 4))
		return 400;
	status = strncmp(request + 4, "/items/", 7) ? 404 : 200;
	free(request);
	return status;
}

static void serve(uint64_t n)
{
	printf("request %" PRIu64 ": status %d\n", n, handle_request(n));
}

int main(int argc, char **argv)
{
	struct leaky_options options = leaky_start(argc, argv);

	leaky_run(&options, serve);
	return 0;
}
