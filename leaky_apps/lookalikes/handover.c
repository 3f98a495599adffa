/*
 * handover.c - one thread reads orders, another one handles them, and frees what it was handed.
 *
 * usage: handover [--rate R] [--terms N] [--wait] [--lifetime S] [--stay]
 *
 * Who looks at the reading thread alone sees malloc and never a free.
 *
 * Try: ./handover --rate 100
 */
#include "workers.h"

#ifndef ORDER_BYTES
#define ORDER_BYTES 900
#endif

#define READER 0
#define HANDLER 1
#define THREADS 2

static char *handed_over;

LEAKY_SITE static char *read_order(uint64_t n)
{
	char *order = malloc(ORDER_BYTES);

	if (!order)
		leaky_fail("malloc");
	snprintf(order, ORDER_BYTES, "order %" PRIu64, n);
	return order;
}

LEAKY_SITE static void handle_order(char *order)
{
	puts(order);
	free(order);
}

static void work(unsigned worker, uint64_t n)
{
	if (worker == READER)
		handed_over = read_order(n);
	else
		handle_order(handed_over);
}

static void pass_on(uint64_t n)
{
	give_work(READER, n);
	give_work(HANDLER, n);
}

int main(int argc, char **argv)
{
	struct leaky_options options = leaky_start(argc, argv);

	start_workers(THREADS, work);
	leaky_run(&options, pass_on);
	end_workers();
	return 0;
}
