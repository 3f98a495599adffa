/*
 * wrapped_malloc.c - asks for all its memory through a function of its own, as many programs do.
 *
 * usage: wrapped_malloc [--rate R] [--terms N] [--wait] [--lifetime S] [--stay]
 *
 * Each call stack begins with xmalloc. Who leaks is one level up: the headers are kept, and the
 * bodies and answers are freed.
 *
 * Try: ./wrapped_malloc --rate 100, and read the second line of the stack in ./lab trace
 */
#include "leaky.h"

#ifndef HEADER_BYTES
#define HEADER_BYTES 768
#endif
#ifndef BODY_BYTES
#define BODY_BYTES 3000
#endif

LEAKY_SITE static void *xmalloc(size_t bytes)
{
	void *block = malloc(bytes);

	if (!block)
		leaky_fail("malloc");
	return block;
}

LEAKY_SITE static char *read_header(uint64_t n)
{
	char *header = xmalloc(HEADER_BYTES);

	snprintf(header, HEADER_BYTES, "Content-Length: %" PRIu64, n % 1000);
	return header;
}

LEAKY_SITE static char *read_body(const char *header)
{
	char *body = xmalloc(BODY_BYTES);

	snprintf(body, BODY_BYTES, "%s", strchr(header, ' ') + 1);
	return body;
}

static void answer(uint64_t n)
{
	char *header = read_header(n);
	char *body = read_body(header);

	printf("request %" PRIu64 ": %s bytes\n", n, body);
	free(body);
}

int main(int argc, char **argv)
{
	struct leaky_options options = leaky_start(argc, argv);

	leaky_run(&options, answer);
	return 0;
}
