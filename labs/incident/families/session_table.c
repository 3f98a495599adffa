/*
 * incident.c - a web shop's door: opens a session for each visitor, and ends it when he leaves.
 *
 * usage: incident [--rate R] [--terms N] [--wait] [--lifetime S] [--stay]
 *
 * A term is a visitor who comes in.
 */
#include "leaky.h"

/* How it is run: with --rate SERVICE_RATE, in a container of CONTAINER_MIB MiB without swap. */
#define SERVICE_RATE 5
#define CONTAINER_MIB 64

#define STATE_BYTES 12000
#define BASKET_BYTES 20000
#define VISIT_TERMS 42
#define BUCKETS 64

struct session {
	struct session *next;
	uint64_t visitor;
	uint64_t is_open;
	char *basket;
	char state[STATE_BYTES];
};

static struct session *buckets[BUCKETS];
static unsigned open_sessions;

LEAKY_SITE static char *take_basket(uint64_t visitor)
{
	char *basket = malloc(BASKET_BYTES);

	if (!basket)
		leaky_fail("malloc");
	memset(basket, (int)('a' + visitor % 26), BASKET_BYTES);
	return basket;
}

LEAKY_SITE static void open_session(uint64_t visitor)
{
	struct session **place = &buckets[visitor % BUCKETS];
	struct session *session = malloc(sizeof(*session));

	if (!session)
		leaky_fail("malloc");
	memset(session->state, (int)('A' + visitor % 26), STATE_BYTES);
	session->visitor = visitor;
	session->is_open = 1;
	session->basket = take_basket(visitor);
	session->next = NULL;
	while (*place)
		place = &(*place)->next;
	*place = session;
	open_sessions++;
}

LEAKY_SITE static struct session *find_session(uint64_t visitor)
{
	struct session *session = buckets[visitor % BUCKETS];

	while (session && session->visitor != visitor)
		session = session->next;
	return session && session->is_open ? session : NULL;
}

LEAKY_SITE static void end_session(uint64_t visitor)
{
	struct session *session = find_session(visitor);

	if (!session)
		return;
	free(session->basket);
	session->basket = NULL;
	session->is_open = 0;
	open_sessions--;
}

LEAKY_SITE static char *make_page(const struct session *session)
{
	char *page = malloc(BASKET_BYTES + STATE_BYTES);

	if (!page)
		leaky_fail("malloc");
	memcpy(page, session->basket, BASKET_BYTES);
	memcpy(page + BASKET_BYTES, session->state, STATE_BYTES);
	return page;
}

static void serve(uint64_t n)
{
	const struct session *guest;
	char *page;

	open_session(n);
	guest = find_session(n > VISIT_TERMS / 2 ? n - VISIT_TERMS / 2 : n);
	page = make_page(guest);
	printf("visitor %" PRIu64 " sees %.6s, %.6s; %u are in\n", guest->visitor, page,
		page + BASKET_BYTES, open_sessions);
	free(page);
	if (n >= VISIT_TERMS)
		end_session(n - VISIT_TERMS);
}

int main(int argc, char **argv)
{
	struct leaky_options options = leaky_start(argc, argv);

	leaky_run(&options, serve);
	return 0;
}
