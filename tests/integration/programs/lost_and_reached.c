/*
 * lost_and_reached.c - blocks of which it is known whether anything still points at them.
 *
 * Each function below makes ten blocks of a size of its own; what becomes of them says its name.
 * No size comes so near to the end of its chunk that a pointer of malloc's to the next chunk, left
 * in a register, points into the block.
 *
 * Then the program stays where it is until it is killed, all threads at rest.
 *
 * usage: lost_and_reached [--wait]
 */
#define _GNU_SOURCE
#include "leaky.h"
#include <pthread.h>
#include <sys/mman.h>

#define BLOCKS 10
#define SITE LEAKY_SITE static
#define WIPED 100 /* frames of a descent that wipes what calls have left on the stack */

struct node {
	struct node *next;
	struct node *previous;
	void *member;
	char rest[72];
};

static struct node *volatile list, *volatile ring_of_nodes;
static void **volatile container, *volatile interior[BLOCKS], *volatile before[BLOCKS];
static void *volatile *volatile mapped, *volatile *volatile shared;
static void *volatile *volatile unmapped_root;
static __thread void *volatile of_thread[BLOCKS];
static pthread_barrier_t all_rest;

static void *take(size_t size)
{
	void *block = malloc(size);

	if (!block)
		leaky_fail("malloc");
	memset(block, 0, size);
	return block;
}

SITE void lost_overwritten(void)
{
	static void *volatile last;

	for (int i = 0; i < BLOCKS; i++)
		last = take(105);
	last = NULL;
}

SITE void reached_from_list(void)
{
	for (int i = 0; i < BLOCKS; i++) {
		struct node *node = take(sizeof(struct node));

		node->next = list;
		list = node;
	}
}

SITE void reached_from_ring(void)
{
	struct node *last = NULL;

	for (int i = 0; i < BLOCKS; i++) {
		struct node *node = take(sizeof(struct node) + 16);

		node->previous = last;
		if (last)
			last->next = node;
		else
			ring_of_nodes = node;
		last = node;
	}
	last->next = ring_of_nodes;
	ring_of_nodes->previous = last;
}

SITE void lost_cycle(void)
{
	struct node *first = NULL, *last = NULL;

	for (int i = 0; i < BLOCKS; i++) {
		struct node *node = take(sizeof(struct node) + 32);

		node->previous = last;
		if (last)
			last->next = node;
		else
			first = node;
		last = node;
	}
	last->next = first;
	first->previous = last;
}

SITE void reached_inside(void)
{
	for (int i = 0; i < BLOCKS; i++)
		interior[i] = (char *)take(201) + 8 + i;
}

SITE void lost_past_the_end(void)
{
	static char *volatile ends[BLOCKS];

	for (int i = 0; i < BLOCKS; i++)
		ends[i] = (char *)take(211 * 16) + 211 * 16;
}

SITE void lost_members(void)
{
	struct node *volatile nodes[BLOCKS];

	for (int i = 0; i < BLOCKS; i++) {
		nodes[i] = take(3000);
		nodes[i]->member = take(313);
		nodes[i]->rest[0] = 1;
	}
	for (int i = 0; i < BLOCKS; i++)
		free(nodes[i]);
}

/* Small ones wait in the tcache and in the fastbins. */
SITE void lost_members_of_small(void)
{
	void **volatile holders[BLOCKS];

	for (int i = 0; i < BLOCKS; i++) {
		holders[i] = take(40);
		holders[i][2] = take(409);
	}
	for (int i = 0; i < BLOCKS; i++)
		free(holders[i]);
}

SITE void reached_from_container(void)
{
	container = take(BLOCKS * sizeof(void *));
	for (int i = 0; i < BLOCKS; i++)
		container[i] = take(505);
}

SITE void reached_from_mapping(void)
{
	mapped = mmap(NULL, 1 << 20, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (mapped == MAP_FAILED)
		leaky_fail("mmap");
	for (int i = 0; i < BLOCKS; i++)
		mapped[1000 * i] = take(601);
}

SITE void reached_from_shared(void)
{
	shared = mmap(NULL, 1 << 20, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (shared == MAP_FAILED)
		leaky_fail("mmap");
	for (int i = 0; i < BLOCKS; i++)
		shared[2000 * i] = take(697);
}

SITE void lost_with_mapping(void)
{
	unmapped_root =
		mmap(NULL, 1 << 16, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (unmapped_root == MAP_FAILED)
		leaky_fail("mmap");
	for (int i = 0; i < BLOCKS; i++)
		unmapped_root[i] = take(809);
	munmap((void *)unmapped_root, 1 << 16);
	unmapped_root = NULL; /* else it might point at what comes there next */
}

SITE void lost_with_frame(void)
{
	void *volatile blocks[BLOCKS + 64];

	for (int i = 0; i < BLOCKS; i++)
		blocks[i] = take(905);
}

SITE void reached_from_before(void)
{
	for (int i = 0; i < BLOCKS; i++)
		*(void **)before[i] = take(1001);
}

SITE void lost_of_before(void)
{
	for (int i = 0; i < BLOCKS; i++) {
		void **older = before[i];

		older[1] = take(1097);
	}
}

SITE void reached_from_thread(void)
{
	for (int i = 0; i < BLOCKS; i++)
		of_thread[i] = take(1193);
}

SITE void lost_big(void)
{
	static void *volatile last;

	for (int i = 0; i < BLOCKS; i++)
		last = take(1 << 20);
	last = NULL;
}

SITE void rest(void)
{
	pthread_barrier_wait(&all_rest);
	for (;;)
		pause();
}

SITE void rest_with_stack(void)
{
	void *volatile blocks[BLOCKS];

	for (int i = 0; i < BLOCKS; i++)
		blocks[i] = take(1305);
	rest();
}

SITE void lost_in_thread(void)
{
	static __thread void *volatile last;

	for (int i = 0; i < BLOCKS; i++)
		last = take(1401);
	last = NULL;
}

SITE void wipe(int frames)
{
	volatile char left[512];

	memset((void *)left, 0, sizeof(left));
	if (frames)
		wipe(frames - 1);
}

SITE void lost_members_in_thread(void)
{
	void **volatile holders[BLOCKS];

	for (int i = 0; i < BLOCKS; i++) {
		holders[i] = take(40);
		holders[i][2] = take(1513);
	}
	for (int i = 0; i < BLOCKS; i++)
		free(holders[i]);
}

static void *work(void *unused)
{
	(void)unused;
	reached_from_thread();
	lost_in_thread();
	lost_members_in_thread();
	wipe(WIPED);
	rest_with_stack();
	return NULL;
}

int main(int argc, char **argv)
{
	struct leaky_options options = leaky_start(argc, argv);
	pthread_t thread;

	for (int i = 0; i < BLOCKS; i++)
		before[i] = take(64);
	leaky_wait_for_release(&options);
	pthread_barrier_init(&all_rest, NULL, 2);
	lost_overwritten();
	reached_from_list();
	reached_from_ring();
	lost_cycle();
	reached_inside();
	lost_past_the_end();
	lost_members();
	lost_members_of_small();
	reached_from_container();
	reached_from_mapping();
	reached_from_shared();
	lost_with_mapping();
	lost_with_frame();
	reached_from_before();
	lost_of_before();
	lost_big();
	for (int i = 0; i < BLOCKS; i++)
		((void **)before[i])[1] = NULL;
	if ((errno = pthread_create(&thread, NULL, work, NULL)))
		leaky_fail("pthread_create");
	wipe(WIPED);
	rest();
}
