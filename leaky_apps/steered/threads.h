/*
 * threads.h - threads that do one thing, stay, and end when they are told.
 */
#ifndef THREADS_H
#define THREADS_H

#include <pthread.h>

#include "commands.h"

#define MOST_THREADS 64

static struct {
	pthread_t handles[MOST_THREADS];
	size_t count;
	pthread_mutex_t lock;
	pthread_cond_t has_changed;
	void (*work)(void); /* for the newest thread; NULL once it is done */
	int are_ending;
} threads = { .lock = PTHREAD_MUTEX_INITIALIZER, .has_changed = PTHREAD_COND_INITIALIZER };

static void *stay(void *number)
{
	pthread_mutex_lock(&threads.lock);
	while (!threads.are_ending) {
		if (threads.work && (size_t)number == threads.count) {
			threads.work();
			threads.work = NULL;
			pthread_cond_broadcast(&threads.has_changed);
		} else {
			pthread_cond_wait(&threads.has_changed, &threads.lock);
		}
	}
	pthread_mutex_unlock(&threads.lock);
	return NULL;
}

/* Has the newest thread do some work, and returns once it is done. */
static void run_in_thread(void (*work)(void))
{
	pthread_mutex_lock(&threads.lock);
	threads.work = work;
	pthread_cond_broadcast(&threads.has_changed);
	while (threads.work)
		pthread_cond_wait(&threads.has_changed, &threads.lock);
	pthread_mutex_unlock(&threads.lock);
}

/*
 * Starts a thread that does `work` and then stays; returns once the work is done. `stack_bytes` 0
 * is the default. Returns whether it worked; else the command is refused.
 *
 * It costs the heap something: glibc takes the thread's table of thread-local storage from it.
 */
LEAKY_SITE static int start_thread(void (*work)(void), size_t stack_bytes)
{
	pthread_attr_t attributes;
	int error;

	if (threads.count == MOST_THREADS) {
		refuse("there are %d threads already", MOST_THREADS);
		return 0;
	}
	if ((errno = pthread_attr_init(&attributes)) ||
		(stack_bytes && (errno = pthread_attr_setstacksize(&attributes, stack_bytes))))
		leaky_fail("preparing a thread");
	error = pthread_create(
		&threads.handles[threads.count], &attributes, stay, (void *)(threads.count + 1));
	pthread_attr_destroy(&attributes);
	if (error) {
		refuse("pthread_create: %s", strerror(error));
		return 0;
	}
	threads.count++;
	run_in_thread(work);
	return 1;
}

/* Lets all threads end, waits for them, and returns how many there were. */
static size_t end_all_threads(void)
{
	size_t count = threads.count;

	pthread_mutex_lock(&threads.lock);
	threads.are_ending = 1;
	pthread_cond_broadcast(&threads.has_changed);
	pthread_mutex_unlock(&threads.lock);
	while (threads.count)
		if ((errno = pthread_join(threads.handles[--threads.count], NULL)))
			leaky_fail("pthread_join");
	threads.are_ending = 0;
	return count;
}

static void answer_threads_ended(const struct value *given)
{
	(void)given;
	answer("threads", end_all_threads());
}

#endif
