/*
 * realloc_failing.c - collects messages; where the memory for a long one is refused, the part that
 * was there already is lost.
 *
 * usage: realloc_failing [--rate R] [--terms N] [--wait] [--lifetime S] [--stay]
 *
 * A message says its length first, and some senders lie. realloc then returns NULL and leaves the
 * old block as it is, but the program has overwritten the only pointer to it.
 *
 * Try: ./realloc_failing --rate 50     one message in five claims to have 64 TiB
 */
#include "leaky.h"

#ifndef FIRST_BYTES
#define FIRST_BYTES 1536 /* room for the header and a short message */
#endif
#ifndef LIE_EVERY
#define LIE_EVERY 5
#endif

struct message {
	char *text;
	size_t bytes;
};

static size_t read_length(uint64_t n)
{
	return n % LIE_EVERY == LIE_EVERY - 1 ? (size_t)64 << 40 : 2 * FIRST_BYTES;
}

LEAKY_SITE static void begin_message(struct message *message)
{
	message->text = malloc(FIRST_BYTES);
	if (!message->text)
		leaky_fail("malloc");
	message->bytes = FIRST_BYTES;
	memset(message->text, 'x', FIRST_BYTES);
}

/* Returns whether the message has its room. */
LEAKY_SITE static int make_room(struct message *message, size_t bytes)
{
	message->text = realloc(message->text, bytes);
	if (!message->text)
		return 0;
	message->bytes = bytes;
	return 1;
}

static void collect(uint64_t n)
{
	struct message message;

	begin_message(&message);
	if (make_room(&message, read_length(n)))
		printf("message %" PRIu64 ": %zu bytes\n", n, message.bytes);
	else
		printf("message %" PRIu64 ": refused, too long\n", n);
	free(message.text);
}

int main(int argc, char **argv)
{
	struct leaky_options options = leaky_start(argc, argv);

	leaky_run(&options, collect);
	return 0;
}
