/*
 * reference_cycle.c - counts who uses a folder; a folder and its file use each other for ever.
 *
 * usage: reference_cycle [--rate R] [--terms N] [--wait] [--lifetime S] [--stay]
 *
 * Each node is freed when its count falls to zero. The folder holds its file, the file holds its
 * folder, and when the program lets go of both, both counts are still one. The two point at each
 * other, and nothing else points at them.
 *
 * Try: ./reference_cycle --rate 100
 */
#include "leaky.h"

#ifndef LABEL_BYTES
#define LABEL_BYTES 112 /* the node has 16 more */
#endif

struct node {
	uint64_t users;
	struct node *held;
	char label[LABEL_BYTES];
};

LEAKY_SITE static struct node *make_node(const char *label, uint64_t n)
{
	struct node *node = malloc(sizeof(*node));

	if (!node)
		leaky_fail("malloc");
	node->users = 1;
	node->held = NULL;
	snprintf(node->label, LABEL_BYTES, "%s %" PRIu64, label, n);
	return node;
}

static void hold(struct node *holder, struct node *held)
{
	holder->held = held;
	held->users++;
}

LEAKY_SITE static void let_go(struct node *node)
{
	if (--node->users)
		return;
	if (node->held)
		let_go(node->held);
	free(node);
}

static void visit_folder(uint64_t n)
{
	struct node *folder = make_node("folder", n);
	struct node *file = make_node("file", n);

	hold(folder, file);
	hold(file, folder);
	printf("%s has %s\n", folder->label, folder->held->label);
	let_go(file);
	let_go(folder);
}

int main(int argc, char **argv)
{
	struct leaky_options options = leaky_start(argc, argv);

	leaky_run(&options, visit_folder);
	return 0;
}
