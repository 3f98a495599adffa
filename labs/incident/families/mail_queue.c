/*
 * incident.c - a mail relay: takes messages in, wraps their lines, and hands them on in order.
 *
 * usage: incident [--rate R] [--terms N] [--wait] [--lifetime S] [--stay]
 *
 * A term is a message that comes in.
 */
#include "leaky.h"

/* How it is run: with --rate SERVICE_RATE, in a container of CONTAINER_MIB MiB without swap. */
#define SERVICE_RATE 5
#define CONTAINER_MIB 64

#define BODY_BYTES 14000
#define LINE_LETTERS 72
#define MOST_WAITING 24
#define SENDER_BYTES 120

struct message {
	struct message *next;
	uint64_t number;
	char *sender;
	char *body;
	unsigned lines;
};

static struct message *oldest;
static struct message **newest = &oldest;
static unsigned waiting;
static uint64_t handed_on;

LEAKY_SITE static char *name_sender(uint64_t n)
{
	char *sender = malloc(SENDER_BYTES);

	if (!sender)
		leaky_fail("malloc");
	snprintf(sender, SENDER_BYTES, "user%" PRIu64 "@host%" PRIu64, n * 7919 % 5003, n % 31);
	return sender;
}

LEAKY_SITE static char *read_body(uint64_t n)
{
	char *text = malloc(BODY_BYTES);

	if (!text)
		leaky_fail("malloc");
	memset(text, (int)('a' + n % 26), BODY_BYTES - 1);
	text[BODY_BYTES - 1] = 0;
	snprintf(text, BODY_BYTES, "Dear user%" PRIu64 ", ", n * 31 % 997);
	text[strlen(text)] = ' ';
	return text;
}

LEAKY_SITE static char *wrap_lines(const char *text, unsigned *lines)
{
	char *wrapped = malloc(BODY_BYTES + BODY_BYTES / LINE_LETTERS + 1);
	char *end = wrapped;

	if (!wrapped)
		leaky_fail("malloc");
	*lines = 0;
	for (size_t place = 0; text[place]; place++) {
		*end++ = text[place];
		if (place % LINE_LETTERS == LINE_LETTERS - 1) {
			*end++ = '\n';
			++*lines;
		}
	}
	*end = 0;
	return wrapped;
}

LEAKY_SITE static void take_in(uint64_t n)
{
	struct message *message = malloc(sizeof(*message));

	if (!message)
		leaky_fail("malloc");
	message->next = NULL;
	message->number = n;
	message->sender = name_sender(n);
	message->body = wrap_lines(read_body(n), &message->lines);
	*newest = message;
	newest = &message->next;
	waiting++;
}

LEAKY_SITE static void hand_on(void)
{
	struct message *message = oldest;

	oldest = message->next;
	if (!oldest)
		newest = &oldest;
	waiting--;
	handed_on++;
	free(message->sender);
	free(message->body);
	free(message);
}

static void serve(uint64_t n)
{
	take_in(n);
	printf("message %" PRIu64 ": next is %s, %u lines, %.16s...; %u wait, %" PRIu64 " are on\n",
		n, oldest->sender, oldest->lines, oldest->body, waiting, handed_on);
	if (waiting == MOST_WAITING)
		hand_on();
}

int main(int argc, char **argv)
{
	struct leaky_options options = leaky_start(argc, argv);

	leaky_run(&options, serve);
	return 0;
}
