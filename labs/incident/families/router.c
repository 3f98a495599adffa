/*
 * incident.c - a router: sends packets on by its table of routes, which it reads anew now and then.
 *
 * usage: incident [--rate R] [--terms N] [--wait] [--lifetime S] [--stay]
 *
 * A term is a packet.
 */
#include "leaky.h"

/* How it is run: with --rate SERVICE_RATE, in a container of CONTAINER_MIB MiB without swap. */
#define SERVICE_RATE 5
#define CONTAINER_MIB 64

#define ROUTES 360
#define RELOAD_EVERY 2
#define ROUTE_TEXT 112
#define FLOWS 72
#define FLOW_BYTES 18000

struct route {
	uint64_t network;
	uint64_t gateway;
	char comment[ROUTE_TEXT];
};

static struct route *routes;
static size_t route_count;
static uint64_t version;
static char *flows[FLOWS];

LEAKY_SITE static void add_route(size_t number)
{
	struct route *route = &routes[route_count++];

	route->network = number;
	route->gateway = (number * 13 + version) % 8;
	memset(route->comment, (int)('a' + number % 26), ROUTE_TEXT);
}

LEAKY_SITE static void read_routes(void)
{
	struct route *larger = realloc(routes, (route_count + ROUTES) * sizeof(*routes));

	if (!larger)
		leaky_fail("realloc");
	routes = larger;
	version++;
	for (size_t number = 0; number < ROUTES; number++)
		add_route(number);
}

/* Who was read last counts. */
LEAKY_SITE static const struct route *find_route(uint64_t network)
{
	for (size_t number = route_count; number-- > 0;)
		if (routes[number].network == network)
			return &routes[number];
	return NULL;
}

LEAKY_SITE static char *note_flow(uint64_t n, const struct route *route)
{
	char *flow = malloc(FLOW_BYTES);

	if (!flow)
		leaky_fail("malloc");
	memset(flow, ' ', FLOW_BYTES);
	snprintf(flow, FLOW_BYTES, "packet %" PRIu64 " for net %" PRIu64 " by gate %" PRIu64, n,
		route->network, route->gateway);
	return flow;
}

LEAKY_SITE static void keep_flow(uint64_t n, char *flow)
{
	free(flows[n % FLOWS]);
	flows[n % FLOWS] = flow;
}

static void send_on(uint64_t n)
{
	if (n % RELOAD_EVERY == 0)
		read_routes();
	keep_flow(n, note_flow(n, find_route(n * 7919 % ROUTES)));
	printf("%s, the last one kept: %.10s\n", flows[n % FLOWS],
		flows[(n + 1) % FLOWS] ? flows[(n + 1) % FLOWS] : "none yet");
}

int main(int argc, char **argv)
{
	struct leaky_options options = leaky_start(argc, argv);

	leaky_run(&options, send_on);
	return 0;
}
