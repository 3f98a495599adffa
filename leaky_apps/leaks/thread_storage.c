/*
 * thread_storage.c - each job has a thread with a buffer of its own, and no one destroys the
 * buffer.
 *
 * usage: thread_storage [--rate R] [--terms N] [--wait] [--lifetime S] [--stay]
 *
 * The threads are joined, as they should be. But the key of their buffers was made without a
 * destructor: when a thread ends, its pointer is forgotten with it.
 *
 * Try: ./thread_storage --rate 50
 */
#include <pthread.h>

#include "leaky.h"

#ifndef SCRATCH_BYTES
#define SCRATCH_BYTES 2048
#endif

static pthread_key_t scratch_key;

LEAKY_SITE static char *get_scratch(void)
{
	char *scratch = pthread_getspecific(scratch_key);

	if (scratch)
		return scratch;
	scratch = malloc(SCRATCH_BYTES);
	if (!scratch)
		leaky_fail("malloc");
	if ((errno = pthread_setspecific(scratch_key, scratch)))
		leaky_fail("pthread_setspecific");
	return scratch;
}

static void *do_job(void *argument)
{
	snprintf(get_scratch(), SCRATCH_BYTES, "job %" PRIu64, *(const uint64_t *)argument);
	puts(get_scratch());
	return NULL;
}

static void run_job(uint64_t n)
{
	pthread_t thread;

	if ((errno = pthread_create(&thread, NULL, do_job, &n)))
		leaky_fail("pthread_create");
	if ((errno = pthread_join(thread, NULL)))
		leaky_fail("pthread_join");
}

int main(int argc, char **argv)
{
	struct leaky_options options = leaky_start(argc, argv);

	if ((errno = pthread_key_create(&scratch_key, NULL)))
		leaky_fail("pthread_key_create");
	leaky_run(&options, run_job);
	return 0;
}
