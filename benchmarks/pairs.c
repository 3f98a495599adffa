/*
 * pairs.c - malloc and free in a tight loop, and blocks held live, on command: what overhead.py
 * traces. One process, measured under several tracers in turn, times itself.
 *
 * usage: pairs [--wait] [--lifetime S]      (--rate and --terms mean nothing here)
 *
 * Commands on standard input, one a line, each answered by one line:
 *
 *   run PAIRS THREADS   every thread calls malloc and free PAIRS times: "run WALL CPU"
 *   hold BLOCKS         allocate BLOCKS from 1,024 call stacks and keep them: "hold"
 *   drop                free them again: "drop"
 *
 * WALL is the time from the first thread's first call to the last one's last, CPU the processor
 * time of all threads together, both in nanoseconds.
 *
 * Try: printf 'run 1000000 1\n' | ./pairs
 */
#include "leaky.h"
#include <inttypes.h>
#include <pthread.h>

#define BLOCK_BYTES 24   /* the smallest chunk of glibc's: the pair costs as little as it can */
#define PAIR_CALLERS 7   /* with the loop, the thread's two functions and itself: 11 addresses */
#define STACK_CHOICES 10 /* two ways each: 1,024 stacks */
#define MAX_THREADS 64

struct worker {
	pthread_t thread;
	uint64_t pairs;
	uint64_t start_ns;
	uint64_t end_ns;
	uint64_t cpu_ns;
};

struct held {
	struct held *next;
};

typedef void *allocate_along(unsigned path, int choices);

static pthread_barrier_t all_are_ready;
static struct held *held_blocks;

static uint64_t read_ns(clockid_t clock)
{
	struct timespec now;

	if (clock_gettime(clock, &now))
		leaky_fail("clock_gettime");
	return now.tv_sec * 1000000000ULL + now.tv_nsec;
}

LEAKY_SITE static void make_pairs(uint64_t pairs)
{
	for (uint64_t n = 0; n < pairs; n++) {
		volatile uint64_t *block = malloc(BLOCK_BYTES);

		if (!block)
			leaky_fail("malloc");
		*block = n;
		free((void *)block);
	}
}

LEAKY_SITE static void make_pairs_below(int callers, uint64_t pairs)
{
	if (callers)
		make_pairs_below(callers - 1, pairs);
	else
		make_pairs(pairs);
}

static void *work(void *argument)
{
	struct worker *worker = argument;

	pthread_barrier_wait(&all_are_ready);
	worker->start_ns = read_ns(CLOCK_MONOTONIC);
	worker->cpu_ns = read_ns(CLOCK_THREAD_CPUTIME_ID);
	make_pairs_below(PAIR_CALLERS, worker->pairs);
	worker->cpu_ns = read_ns(CLOCK_THREAD_CPUTIME_ID) - worker->cpu_ns;
	worker->end_ns = read_ns(CLOCK_MONOTONIC);
	return NULL;
}

static void run(uint64_t pairs, unsigned threads)
{
	static struct worker workers[MAX_THREADS];
	uint64_t start_ns = UINT64_MAX, end_ns = 0, cpu_ns = 0;

	if ((errno = pthread_barrier_init(&all_are_ready, NULL, threads)))
		leaky_fail("pthread_barrier_init");
	for (unsigned i = 0; i < threads; i++) {
		workers[i].pairs = pairs;
		if ((errno = pthread_create(&workers[i].thread, NULL, work, &workers[i])))
			leaky_fail("pthread_create");
	}
	for (unsigned i = 0; i < threads; i++) {
		if ((errno = pthread_join(workers[i].thread, NULL)))
			leaky_fail("pthread_join");
		if (workers[i].start_ns < start_ns)
			start_ns = workers[i].start_ns;
		if (workers[i].end_ns > end_ns)
			end_ns = workers[i].end_ns;
		cpu_ns += workers[i].cpu_ns;
	}
	pthread_barrier_destroy(&all_are_ready);
	printf("run %" PRIu64 " %" PRIu64 "\n", end_ns - start_ns, cpu_ns);
}

static allocate_along left, right;

/* Two functions that choose between each other, bit by bit: a call stack of its own per path. */
LEAKY_SITE static void *left(unsigned path, int choices)
{
	if (!choices)
		return malloc(BLOCK_BYTES);
	return (path & 1 ? right : left)(path >> 1, choices - 1);
}

LEAKY_SITE static void *right(unsigned path, int choices)
{
	if (!choices)
		return malloc(BLOCK_BYTES);
	return (path & 1 ? right : left)(path >> 1, choices - 1);
}

static void hold(uint64_t blocks)
{
	for (uint64_t n = 0; n < blocks; n++) {
		struct held *block = left(n % (1 << STACK_CHOICES), STACK_CHOICES);

		if (!block)
			leaky_fail("malloc");
		block->next = held_blocks;
		held_blocks = block;
	}
}

static void drop(void)
{
	while (held_blocks) {
		struct held *next = held_blocks->next;

		free(held_blocks);
		held_blocks = next;
	}
}

static void obey(const char *command)
{
	uint64_t count;
	unsigned threads;

	if (sscanf(command, "run %" SCNu64 " %u", &count, &threads) == 2 && threads > 0 &&
		threads <= MAX_THREADS) {
		run(count, threads);
	} else if (sscanf(command, "hold %" SCNu64, &count) == 1) {
		hold(count);
		puts("hold");
	} else if (!strcmp(command, "drop\n")) {
		drop();
		puts("drop");
	} else {
		fprintf(stderr, "pairs: no such command: %s", command);
		exit(2);
	}
}

int main(int argc, char **argv)
{
	static char buffer[BUFSIZ];
	struct leaky_options options = leaky_start(argc, argv);
	char command[128];

	if (setvbuf(stdin, buffer, _IOLBF, sizeof(buffer))) /* nothing but the pairs is allocated */
		leaky_fail("setvbuf");
	leaky_wait_for_release(&options);
	while (fgets(command, sizeof(command), stdin))
		obey(command);
	return 0;
}
