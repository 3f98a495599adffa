/*
 * connection_pool.c - asks its store for answers; it opens a connection more when all are busy.
 *
 * usage: connection_pool [--rate R] [--terms N] [--wait] [--lifetime S] [--stay]
 *
 * Open files grow, and none is closed: connections are kept for the next question. But there are
 * never more of them than questions at the same time.
 *
 * Try: ./connection_pool --rate 20 & ls -l /proc/$!/fd
 */
#include <sys/socket.h>

#include "leaky.h"

#ifndef MOST_AT_ONCE
#define MOST_AT_ONCE 12
#endif
#ifndef TERMS_A_STEP
#define TERMS_A_STEP 3 /* after so many terms one more is asked at the same time */
#endif

static int ours[MOST_AT_ONCE], theirs[MOST_AT_ONCE];
static unsigned count;

LEAKY_SITE static void open_connection(void)
{
	int pair[2];

	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair))
		leaky_fail("socketpair");
	ours[count] = pair[0];
	theirs[count++] = pair[1];
}

static void ask(unsigned connection)
{
	char answer;

	if (write(ours[connection], "?", 1) != 1 || read(theirs[connection], &answer, 1) != 1)
		leaky_fail("asking the store");
}

static void serve(uint64_t n)
{
	uint64_t wanted = 1 + n / TERMS_A_STEP;

	if (wanted > MOST_AT_ONCE)
		wanted = MOST_AT_ONCE;
	while (count < wanted)
		open_connection();
	for (unsigned connection = 0; connection < count; connection++)
		ask(connection);
	printf("term %" PRIu64 ": %u at once\n", n, count);
}

int main(int argc, char **argv)
{
	struct leaky_options options = leaky_start(argc, argv);

	leaky_run(&options, serve);
	while (count) {
		close(ours[--count]);
		close(theirs[count]);
	}
	return 0;
}
