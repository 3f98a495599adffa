/*
 * early_disconnect.c - answers clients; who hangs up before the answer leaves his buffer behind.
 *
 * usage: early_disconnect [--rate R] [--terms N] [--wait] [--lifetime S] [--stay]
 *
 * A connection goes through states. Its buffer is freed when the answer has been sent, and a client
 * that has gone is never answered. The connection itself is freed on every path.
 *
 * Try: ./early_disconnect --rate 100     one client in three is impatient
 */
#include "leaky.h"

#ifndef BUFFER_BYTES
#define BUFFER_BYTES 2500
#endif
#ifndef IMPATIENT_EVERY
#define IMPATIENT_EVERY 3
#endif

enum state { READING, ANSWERING, CLOSED };

struct connection {
	uint64_t client;
	enum state state;
	char *buffer;
};

LEAKY_SITE static void read_request(struct connection *connection)
{
	connection->buffer = malloc(BUFFER_BYTES);
	if (!connection->buffer)
		leaky_fail("malloc");
	snprintf(connection->buffer, BUFFER_BYTES, "answer to %" PRIu64, connection->client);
	connection->state = ANSWERING;
}

LEAKY_SITE static void send_answer(struct connection *connection)
{
	puts(connection->buffer);
	free(connection->buffer);
	connection->state = CLOSED;
}

static int has_hung_up(const struct connection *connection)
{
	return connection->client % IMPATIENT_EVERY == IMPATIENT_EVERY - 1;
}

static void serve(uint64_t n)
{
	struct connection *connection = malloc(sizeof(*connection));

	if (!connection)
		leaky_fail("malloc");
	*connection = (struct connection) { .client = n, .state = READING };
	while (connection->state != CLOSED) {
		if (connection->state == READING)
			read_request(connection);
		else if (has_hung_up(connection))
			connection->state = CLOSED;
		else
			send_answer(connection);
	}
	free(connection);
}

int main(int argc, char **argv)
{
	struct leaky_options options = leaky_start(argc, argv);

	leaky_run(&options, serve);
	return 0;
}
