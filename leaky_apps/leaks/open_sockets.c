/*
 * open_sockets.c - serves clients on a local socket; one that hangs up unheard keeps its
 * connection.
 *
 * usage: open_sockets [--rate R] [--terms N] [--wait] [--lifetime S] [--stay]
 *
 * The client has closed its end long ago; the server's end stays open, without a peer.
 *
 * Try: ./open_sockets --rate 10 & ls -l /proc/$!/fd
 */
#define _GNU_SOURCE
#include <sys/socket.h>
#include <sys/un.h>

#include "leaky.h"

#ifndef SILENT_EVERY
#define SILENT_EVERY 2 /* one client in so many says nothing */
#endif

static int listener;
static struct sockaddr_un address = { .sun_family = AF_UNIX };
static socklen_t address_bytes = sizeof(address.sun_family); /* no name: the kernel finds one */

static void listen_for_clients(void)
{
	listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (listener < 0 || bind(listener, (struct sockaddr *)&address, address_bytes))
		leaky_fail("bind");
	address_bytes = sizeof(address);
	if (getsockname(listener, (struct sockaddr *)&address, &address_bytes) ||
		listen(listener, 8))
		leaky_fail("listen");
}

/* A client comes, says something or not, and leaves. */
static void visit(uint64_t n)
{
	int client = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	if (client < 0 || connect(client, (struct sockaddr *)&address, address_bytes))
		leaky_fail("connect");
	if (n % SILENT_EVERY && write(client, "hello", 5) != 5)
		leaky_fail("write");
	close(client);
}

/* Returns how many bytes the client said. */
LEAKY_SITE static ssize_t serve_client(void)
{
	char text[64];
	int connection = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
	ssize_t got;

	if (connection < 0)
		leaky_fail("accept4");
	got = read(connection, text, sizeof(text));
	if (got <= 0)
		return got;
	close(connection);
	return got;
}

static void serve(uint64_t n)
{
	visit(n);
	printf("client %" PRIu64 ": said %zd bytes\n", n, serve_client());
}

int main(int argc, char **argv)
{
	struct leaky_options options = leaky_start(argc, argv);

	listen_for_clients();
	leaky_run(&options, serve);
	close(listener);
	return 0;
}
