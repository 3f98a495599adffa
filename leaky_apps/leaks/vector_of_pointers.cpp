/*
 * vector_of_pointers.cpp - collects orders in a vector; clearing it destroys the pointers only.
 *
 * usage: vector_of_pointers [--rate R] [--terms N] [--wait] [--lifetime S] [--stay]
 *
 * A vector owns its elements. Here these are pointers, and to destroy a pointer does nothing. With
 * std::unique_ptr as the element the same line would free the orders.
 *
 * Try: ./vector_of_pointers --rate 100
 */
#include <vector>

#include "leaky.h"

#ifndef NOTE_BYTES
#define NOTE_BYTES 248 /* the order has 8 more */
#endif
#ifndef BATCH
#define BATCH 10
#endif

struct Order {
	uint64_t number;
	char note[NOTE_BYTES];
};

static std::vector<Order *> orders;

LEAKY_SITE static void add_order(uint64_t number)
{
	Order *order = new Order;

	order->number = number;
	memset(order->note, '.', sizeof(order->note));
	orders.push_back(order);
}

LEAKY_SITE static void send_batch()
{
	printf("sent %zu orders, the last is %" PRIu64 "\n", orders.size(), orders.back()->number);
	orders.clear();
}

static void take_order(uint64_t n)
{
	add_order(n);
	if (n % BATCH == BATCH - 1)
		send_batch();
}

int main(int argc, char **argv)
{
	leaky_options options = leaky_start(argc, argv);

	leaky_run(&options, take_order);
	puts("the shop closes");
	return 0;
}
