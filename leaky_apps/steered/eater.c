/*
 * eater.c - takes memory at a set rate, as a server does whose need grows, and keeps it.
 *
 * usage: eater [--lifetime S]
 *
 *   grow RATE       take so many MiB a second from now on, every page written; 0 pauses
 *   touch PERCENT   write again to each page of the oldest PERCENT of what was taken
 *   release         stop, and free all of it
 *   info            how much it has, and whether malloc has refused more
 *
 * Try: ./eater                          in one terminal, and type: grow 8
 * Try: vmstat 1                         in another: free falls by 8 MiB a second
 * Try: systemd-run --user --scope -p MemoryMax=64M -p MemorySwapMax=0 ./eater
 *                                       and type: grow 8. It is killed after 8 seconds
 *
 * Nothing is lost: every block is remembered until it is freed. It is a need that grows.
 */
#define _GNU_SOURCE /* RUSAGE_THREAD */
#include <malloc.h>
#include <pthread.h>

#include "touching.h"

#define BLOCK_BYTES ((size_t)256 << 10)
#define BLOCKS_PER_MIB 4
#define MOST_BLOCKS 4096
#define MOST_MIB_PER_S 1024
/* More than malloc adds to a block, so that a mapping is of BLOCK_BYTES. */
#define MALLOC_BYTES 32

static struct {
	pthread_mutex_t lock;
	pthread_cond_t is_changed;
	char *blocks[MOST_BLOCKS];
	size_t count;
	uint64_t rate; /* MiB a second */
	int is_started, is_refused;
} eaten = { .lock = PTHREAD_MUTEX_INITIALIZER };

static void lock(void)
{
	if (pthread_mutex_lock(&eaten.lock))
		leaky_fail("pthread_mutex_lock");
}

static void unlock(void)
{
	if (pthread_mutex_unlock(&eaten.lock))
		leaky_fail("pthread_mutex_unlock");
}

/* Takes one block and writes to its pages; under the lock. */
LEAKY_SITE static void eat(void)
{
	char *block = eaten.count < MOST_BLOCKS ? malloc(BLOCK_BYTES - MALLOC_BYTES) : NULL;

	if (!block) {
		eaten.is_refused = 1;
		eaten.rate = 0;
		return;
	}
	eaten.blocks[eaten.count] = block;
	write_pages(block, BLOCK_BYTES / page_bytes());
	__atomic_store_n(&eaten.count, eaten.count + 1, __ATOMIC_RELEASE);
}

static void add_ns(struct timespec *time, uint64_t ns)
{
	time->tv_nsec += (long)(ns % 1000000000);
	time->tv_sec += (time_t)(ns / 1000000000) + time->tv_nsec / 1000000000;
	time->tv_nsec %= 1000000000;
}

static void read_clock(struct timespec *now)
{
	if (clock_gettime(CLOCK_MONOTONIC, now))
		leaky_fail("clock_gettime");
}

/* Deadlines, not delays: the rate holds however long a block takes. A new rate begins at once. */
static void *eat_at_the_rate(void *nothing)
{
	struct timespec next;
	uint64_t rate = 0;

	(void)nothing;
	lock();
	for (;;) {
		if (!eaten.rate) {
			rate = 0;
			pthread_cond_wait(&eaten.is_changed, &eaten.lock);
			continue;
		}
		if (rate != eaten.rate)
			read_clock(&next);
		rate = eaten.rate;
		add_ns(&next, 1000000000 / (rate * BLOCKS_PER_MIB));
		while (rate == eaten.rate &&
			pthread_cond_timedwait(&eaten.is_changed, &eaten.lock, &next) != ETIMEDOUT)
			;
		if (rate == eaten.rate)
			eat();
	}
	return NULL;
}

static void start_eating(void)
{
	pthread_condattr_t attributes;
	pthread_t thread;

	if (pthread_condattr_init(&attributes) ||
		pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC) ||
		pthread_cond_init(&eaten.is_changed, &attributes) ||
		pthread_create(&thread, NULL, eat_at_the_rate, NULL))
		leaky_fail("starting a thread");
	eaten.is_started = 1;
}

static void grow(const struct value *given)
{
	if (!eaten.is_started)
		start_eating();
	lock();
	eaten.rate = given[0].number;
	eaten.is_refused = 0;
	if (pthread_cond_signal(&eaten.is_changed))
		leaky_fail("pthread_cond_signal");
	unlock();
	answer("rate", given[0].number);
}

/* Without the lock: the blocks before the count stay, and it may take long to get them back. */
static void touch(const struct value *given)
{
	size_t count = __atomic_load_n(&eaten.count, __ATOMIC_ACQUIRE) * given[0].number / 100;
	struct timespec begin, end;
	struct rusage before, after;

	if (getrusage(RUSAGE_THREAD, &before))
		leaky_fail("getrusage");
	read_clock(&begin);
	for (size_t n = 0; n < count; n++)
		write_pages(eaten.blocks[n], BLOCK_BYTES / page_bytes());
	read_clock(&end);
	if (getrusage(RUSAGE_THREAD, &after))
		leaky_fail("getrusage");
	answer("pages", count * (BLOCK_BYTES / page_bytes()));
	answer("minor_faults", (uint64_t)(after.ru_minflt - before.ru_minflt));
	answer("major_faults", (uint64_t)(after.ru_majflt - before.ru_majflt));
	answer("microseconds", (uint64_t)((end.tv_sec - begin.tv_sec) * 1000000 +
					  (end.tv_nsec - begin.tv_nsec) / 1000));
}

static void release(const struct value *given)
{
	(void)given;
	lock();
	answer("bytes", eaten.count * BLOCK_BYTES);
	eaten.rate = 0;
	while (eaten.count)
		free(eaten.blocks[--eaten.count]);
	unlock();
}

static void info(const struct value *given)
{
	(void)given;
	answer("bytes", __atomic_load_n(&eaten.count, __ATOMIC_ACQUIRE) * BLOCK_BYTES);
	lock();
	answer("rate", eaten.rate);
	answer("is_refused", (uint64_t)eaten.is_refused);
	unlock();
}

static const struct command table[] = {
	{ "grow", grow, { NUMBER("RATE", 0, MOST_MIB_PER_S) } },
	{ "touch", touch, { NUMBER("PERCENT", 0, 100) } },
	{ "release", release, { { 0 } } },
	{ "info", info, { { 0 } } },
	{ 0 },
};

/* The threshold is fixed, or it would rise with the first release: each block is a mapping. */
int main(int argc, char **argv)
{
	start_commands(argc, argv);
	if (!mallopt(M_MMAP_THRESHOLD, BLOCK_BYTES / 2))
		leaky_fail("mallopt");
	serve_commands(argv[0], table);
	return 0;
}
