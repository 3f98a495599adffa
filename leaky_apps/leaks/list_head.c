/*
 * list_head.c - queues orders and sends them off in batches; it empties the queue by forgetting it.
 *
 * usage: list_head [--rate R] [--terms N] [--wait] [--lifetime S] [--stay]
 *
 * Setting the head to NULL makes a list look empty. Its nodes are where they were: the first has
 * nothing that points to it, and each of the others is pointed at by one that is lost.
 *
 * Try: ./list_head --rate 100     each ten orders, ten nodes are lost at once
 */
#include "leaky.h"

#ifndef NOTE_BYTES
#define NOTE_BYTES 240 /* the node has 16 more */
#endif
#ifndef BATCH
#define BATCH 10
#endif

struct order {
	struct order *next;
	uint64_t number;
	char note[NOTE_BYTES];
};

static struct order *queue;

LEAKY_SITE static void add_order(uint64_t n)
{
	struct order *order = malloc(sizeof(*order));

	if (!order)
		leaky_fail("malloc");
	order->number = n;
	memset(order->note, '.', sizeof(order->note));
	order->next = queue;
	queue = order;
}

LEAKY_SITE static void send_batch(void)
{
	unsigned count = 0;

	for (const struct order *order = queue; order; order = order->next)
		count++;
	printf("sent %u orders, the last is %" PRIu64 "\n", count, queue->number);
	queue = NULL;
}

static void take_order(uint64_t n)
{
	add_order(n);
	if (n % BATCH == BATCH - 1)
		send_batch();
}

int main(int argc, char **argv)
{
	struct leaky_options options = leaky_start(argc, argv);

	leaky_run(&options, take_order);
	puts("the shop closes");
	return 0;
}
