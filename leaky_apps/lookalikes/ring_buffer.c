/*
 * ring_buffer.c - keeps the last messages of a machine, for the day on which something breaks.
 *
 * usage: ring_buffer [--rate R] [--terms N] [--wait] [--lifetime S] [--stay]
 *
 * The ring fills slowly. When it is full each message takes the place of the oldest one, which is
 * freed first.
 *
 * Try: ./ring_buffer --rate 50     full after three seconds
 */
#include "leaky.h"

#ifndef SLOTS
#define SLOTS 150
#endif
#ifndef MESSAGE_BYTES
#define MESSAGE_BYTES 800
#endif

static char *ring[SLOTS];

LEAKY_SITE static char *copy_message(uint64_t n)
{
	char *message = malloc(MESSAGE_BYTES);

	if (!message)
		leaky_fail("malloc");
	snprintf(message, MESSAGE_BYTES, "message %" PRIu64 ": all is well", n);
	return message;
}

static void keep_message(uint64_t n)
{
	char **slot = &ring[n % SLOTS];

	free(*slot);
	*slot = copy_message(n);
	puts(*slot);
}

int main(int argc, char **argv)
{
	struct leaky_options options = leaky_start(argc, argv);

	leaky_run(&options, keep_message);
	for (unsigned slot = 0; slot < SLOTS; slot++)
		free(ring[slot]);
	return 0;
}
