/*
 * incident.c - a ticket shop: draws the plan of the hall for each order, and keeps the last
 * receipts.
 *
 * usage: incident [--rate R] [--terms N] [--wait] [--lifetime S] [--stay]
 *
 * A term is an order.
 */
#include "leaky.h"

/* How it is run: with --rate SERVICE_RATE, in a container of CONTAINER_MIB MiB without swap. */
#define SERVICE_RATE 5
#define CONTAINER_MIB 64

#define PLAN_BYTES 60000
#define REFUSED_EVERY 4
#define RECEIPTS 52
#define RECEIPT_BYTES 16000

struct order {
	uint64_t number;
	unsigned row, seat;
	char *plan;
};

static char *receipts[RECEIPTS];
static uint64_t sold, refused;

LEAKY_SITE static struct order *open_order(uint64_t n)
{
	struct order *order = malloc(sizeof(*order));

	if (!order)
		leaky_fail("malloc");
	order->number = n;
	order->row = (unsigned)(n * 31 % 40);
	order->seat = (unsigned)(n * 17 % 60);
	order->plan = NULL;
	return order;
}

LEAKY_SITE static char *draw_plan(const struct order *order)
{
	char *plan = malloc(PLAN_BYTES);

	if (!plan)
		leaky_fail("malloc");
	memset(plan, '.', PLAN_BYTES);
	plan[order->row * 60 + order->seat] = 'X';
	return plan;
}

/* The bank says no to one order of REFUSED_EVERY. */
static int is_paid(const struct order *order)
{
	return order->number % REFUSED_EVERY != 2;
}

LEAKY_SITE static char *write_receipt(const struct order *order)
{
	char *receipt = malloc(RECEIPT_BYTES);

	if (!receipt)
		leaky_fail("malloc");
	memset(receipt, ' ', RECEIPT_BYTES);
	snprintf(receipt, RECEIPT_BYTES, "order %" PRIu64 ": row %u, seat %u", order->number,
		order->row, order->seat);
	return receipt;
}

LEAKY_SITE static void keep_receipt(char *receipt)
{
	free(receipts[sold % RECEIPTS]);
	receipts[sold++ % RECEIPTS] = receipt;
}

LEAKY_SITE static void close_order(struct order *order)
{
	free(order->plan);
	free(order);
}

LEAKY_SITE static void sell(uint64_t n)
{
	struct order *order = open_order(n);
	char *plan = draw_plan(order);

	if (!is_paid(order)) {
		refused++;
		printf("order %" PRIu64 ": not paid, seat %u is free again\n", n, order->seat);
		close_order(order);
		return;
	}
	order->plan = plan;
	keep_receipt(write_receipt(order));
	printf("%s; plan %.*s; %" PRIu64 " sold, %" PRIu64 " refused\n",
		receipts[(sold - 1) % RECEIPTS], 8, plan + order->row * 60, sold, refused);
	close_order(order);
}

int main(int argc, char **argv)
{
	struct leaky_options options = leaky_start(argc, argv);

	leaky_run(&options, sell);
	return 0;
}
