/*
 * workers.h - threads that work for the main thread: it gives one of them a number, and waits until
 * that is done. So there is one order of all that happens, and still each block has its thread.
 */
#ifndef WORKERS_H
#define WORKERS_H

#include <pthread.h>

#include "leaky.h"

#define MOST_WORKERS 8

static struct {
	pthread_t threads[MOST_WORKERS];
	unsigned count;
	void (*work)(unsigned worker, uint64_t n);
	pthread_mutex_t lock;
	pthread_cond_t has_changed;
	unsigned called; /* who has work: its number and one; 0 is nobody */
	uint64_t n;
	int is_ending;
} workers = { .lock = PTHREAD_MUTEX_INITIALIZER, .has_changed = PTHREAD_COND_INITIALIZER };

static void *work_on(void *argument)
{
	unsigned worker = (unsigned)(size_t)argument;

	pthread_mutex_lock(&workers.lock);
	while (!workers.is_ending) {
		if (workers.called == worker + 1) {
			workers.work(worker, workers.n);
			workers.called = 0;
			pthread_cond_broadcast(&workers.has_changed);
		} else {
			pthread_cond_wait(&workers.has_changed, &workers.lock);
		}
	}
	pthread_mutex_unlock(&workers.lock);
	return NULL;
}

static void add_worker(void (*work)(unsigned worker, uint64_t n))
{
	if (workers.count == MOST_WORKERS)
		leaky_fail("too many threads");
	workers.work = work;
	errno = pthread_create(
		&workers.threads[workers.count], NULL, work_on, (void *)(size_t)workers.count);
	if (errno)
		leaky_fail("pthread_create");
	workers.count++;
}

static void start_workers(unsigned count, void (*work)(unsigned worker, uint64_t n))
{
	while (workers.count < count)
		add_worker(work);
}

/* Has a worker do its work with `n`, and returns once it is done. */
static void give_work(unsigned worker, uint64_t n)
{
	pthread_mutex_lock(&workers.lock);
	workers.n = n;
	workers.called = worker + 1;
	pthread_cond_broadcast(&workers.has_changed);
	while (workers.called)
		pthread_cond_wait(&workers.has_changed, &workers.lock);
	pthread_mutex_unlock(&workers.lock);
}

static void end_workers(void)
{
	pthread_mutex_lock(&workers.lock);
	workers.is_ending = 1;
	pthread_cond_broadcast(&workers.has_changed);
	pthread_mutex_unlock(&workers.lock);
	while (workers.count)
		if ((errno = pthread_join(workers.threads[--workers.count], NULL)))
			leaky_fail("pthread_join");
}

#endif
