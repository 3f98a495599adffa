/*
 * session_registry.c - remembers who is logged in; who logs out is marked, and stays in the table.
 *
 * usage: session_registry [--rate R] [--terms N] [--wait] [--lifetime S] [--stay]
 *
 * Every session can be found, so none of them is lost: a container that nobody empties.
 *
 * Try: ./session_registry --rate 50     one is logged in, and the table has all that ever were
 */
#include "leaky.h"

#ifndef SESSION_BYTES
#define SESSION_BYTES 896 /* the node has 24 more */
#endif
#define BUCKETS 64

struct session {
	struct session *next;
	uint64_t user;
	uint64_t is_logged_in;
	char state[SESSION_BYTES];
};

static struct session *buckets[BUCKETS];

LEAKY_SITE static void log_in(uint64_t user)
{
	struct session *session = calloc(1, sizeof(*session));

	if (!session)
		leaky_fail("calloc");
	session->user = user;
	session->is_logged_in = 1;
	session->next = buckets[user % BUCKETS];
	buckets[user % BUCKETS] = session;
}

static struct session *find_session(uint64_t user)
{
	struct session *session = buckets[user % BUCKETS];

	while (session && session->user != user)
		session = session->next;
	return session;
}

LEAKY_SITE static void log_out(uint64_t user)
{
	struct session *session = find_session(user);

	if (session)
		session->is_logged_in = 0;
}

static void visit(uint64_t n)
{
	log_in(n);
	if (n)
		log_out(n - 1);
	printf("user %" PRIu64 " is in, %s\n", n, n ? "the one before is out" : "the first one");
}

int main(int argc, char **argv)
{
	struct leaky_options options = leaky_start(argc, argv);

	leaky_run(&options, visit);
	return 0;
}
