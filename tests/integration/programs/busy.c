/*
 * busy.c - 8 threads that allocate, fill, grow, add up and free blocks, for --terms rounds each or
 * until SIGTERM. A round comes to the same sum whichever thread computes it and whenever. At the
 * end it prints how many rounds there were in all, and their sums added up modulo 2^64: one byte
 * of one block that somebody else has touched, and the two no longer fit together.
 */
#include <pthread.h>

#include "leaky.h"

#define THREADS 8
#define BLOCKS 64
#define MAPPED_WORDS (32 * 1024) /* this one malloc maps, and realloc moves by mremap */

struct result {
	uint64_t rounds;
	uint64_t sum;
};

static uint64_t terms;
static volatile sig_atomic_t is_over;

static void end(int signal_number)
{
	(void)signal_number;
	is_over = 1;
}

static void fill(uint64_t *words, size_t from, size_t to, uint64_t seed)
{
	for (size_t i = from; i < to; i++)
		words[i] = (seed + i) * 0x9E3779B97F4A7C15ULL;
}

static uint64_t add_up(const uint64_t *words, size_t length)
{
	uint64_t sum = 0;

	for (size_t i = 0; i < length; i++)
		sum = (sum ^ words[i]) * 0x100000001B3ULL;
	return sum;
}

static uint64_t compute_round(void)
{
	uint64_t *blocks[BLOCKS], sum = 0;
	size_t lengths[BLOCKS];

	for (int i = 0; i < BLOCKS; i++) {
		lengths[i] = i ? 1 + (i * 37) % 200 : MAPPED_WORDS;
		blocks[i] = malloc(lengths[i] * sizeof(uint64_t));
		if (!blocks[i])
			leaky_fail("malloc");
		fill(blocks[i], 0, lengths[i], i);
	}
	for (int i = 0; i < BLOCKS; i++) {
		uint64_t *grown = realloc(blocks[i], 2 * lengths[i] * sizeof(uint64_t));
		if (!grown)
			leaky_fail("realloc");
		fill(grown, lengths[i], 2 * lengths[i], i);
		blocks[i] = grown;
	}
	for (int i = 0; i < BLOCKS; i++) {
		sum += add_up(blocks[i], 2 * lengths[i]);
		free(blocks[i]);
	}
	return sum;
}

static void *work(void *argument)
{
	struct result *result = argument;

	while (!is_over && (!terms || result->rounds < terms)) {
		result->sum += compute_round();
		result->rounds++;
	}
	return NULL;
}

int main(int argc, char **argv)
{
	struct leaky_options options = leaky_start(argc, argv);
	static struct result results[THREADS];
	struct result all = { 0 };
	pthread_t threads[THREADS];

	terms = options.terms;
	if (signal(SIGTERM, end) == SIG_ERR)
		leaky_fail("signal");
	leaky_wait_for_release(&options);
	for (int i = 0; i < THREADS; i++)
		if ((errno = pthread_create(&threads[i], NULL, work, &results[i])))
			leaky_fail("pthread_create");
	for (int i = 0; i < THREADS; i++) {
		if ((errno = pthread_join(threads[i], NULL)))
			leaky_fail("pthread_join");
		all.rounds += results[i].rounds;
		all.sum += results[i].sum;
	}
	printf("%llu rounds, sum %016llx\n", (unsigned long long)all.rounds,
		(unsigned long long)all.sum);
	return 0;
}
