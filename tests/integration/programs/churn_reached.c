/*
 * churn_reached.c - threads that make, move and free blocks all the time, and never lose one.
 *
 * usage: churn_reached [--wait]
 */
#define _GNU_SOURCE
#include "leaky.h"
#include <pthread.h>

#define SLOTS 4096
#define THREADS 3

static void **volatile table[THREADS][SLOTS];

LEAKY_SITE static void **make(uint64_t dice)
{
	void **block = malloc(16 + dice % 700);

	if (!block)
		leaky_fail("malloc");
	block[0] = malloc(8 + dice % 90);
	block[1] = NULL;
	return block;
}

static void *work(void *argument)
{
	void **volatile *slots = argument;
	uint64_t dice = (uintptr_t)argument | 1;

	for (;;) {
		dice = dice * 6364136223846793005ULL + 1442695040888963407ULL;
		void **volatile *slot = &slots[(dice >> 33) % SLOTS];
		void **old = *slot;

		if (old && (dice >> 20) % 4 == 0) {
			void **moved = realloc(old, 16 + (dice >> 40) % 2000);

			if (moved)
				*slot = moved;
			continue;
		}
		if (old) {
			*slot = NULL;
			free(old[0]);
			free(old);
		} else {
			*slot = make(dice >> 30);
		}
	}
	return NULL;
}

int main(int argc, char **argv)
{
	struct leaky_options options = leaky_start(argc, argv);
	pthread_t thread;

	leaky_wait_for_release(&options);
	for (int i = 0; i < THREADS; i++)
		if ((errno = pthread_create(&thread, NULL, work, (void *)table[i])))
			leaky_fail("pthread_create");
	for (;;)
		pause();
}
