/*
 * thread_pool.c - has its letters written by threads; it starts another one while there are too
 * few.
 *
 * usage: thread_pool [--rate R] [--terms N] [--wait] [--lifetime S] [--stay]
 *
 * Each thread brings a stack of 8 MiB and, with its first malloc, an arena of 64 MiB: VIRT leaps.
 * Hardly any of it is touched, and there are as many threads as are wanted, and no more.
 *
 * Try: ./thread_pool --rate 20, and watch VIRT and RES in top
 */
#include "workers.h"

#ifndef THREADS
#define THREADS 4
#endif
#ifndef TERMS_A_STEP
#define TERMS_A_STEP 10
#endif
#ifndef LETTER_BYTES
#define LETTER_BYTES 700
#endif

LEAKY_SITE static char *write_letter(uint64_t n)
{
	char *letter = malloc(LETTER_BYTES);

	if (!letter)
		leaky_fail("malloc");
	snprintf(letter, LETTER_BYTES, "letter %" PRIu64, n);
	return letter;
}

static void work(unsigned worker, uint64_t n)
{
	char *letter = write_letter(n);

	printf("thread %u: %s\n", worker, letter);
	free(letter);
}

static void hand_out(uint64_t n)
{
	if (workers.count < THREADS && n % TERMS_A_STEP == 0)
		add_worker(work);
	give_work((unsigned)(n % workers.count), n);
}

int main(int argc, char **argv)
{
	struct leaky_options options = leaky_start(argc, argv);

	leaky_run(&options, hand_out);
	end_workers();
	return 0;
}
