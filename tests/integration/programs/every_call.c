/* every_call.c - four threads call each allocator function 100 times from each of its call sites.
 *
 * The threads exist before the release and live until the end, so that all calls in between come
 * from call_all() and call_operators().
 */
#include <malloc.h>
#include <pthread.h>
#include <stddef.h>

#include "leaky.h"

#define THREADS 4
#define ROUNDS 100

/* C++'s new, new[], delete, delete[] and the sized delete, if a library that is loaded has them. */
extern void *_Znwm(size_t) __attribute__((weak));
extern void *_Znam(size_t) __attribute__((weak));
extern void _ZdlPv(void *) __attribute__((weak));
extern void _ZdaPv(void *) __attribute__((weak));
extern void _ZdlPvm(void *, size_t) __attribute__((weak));

static pthread_barrier_t begin, end;

LEAKY_SITE void call_all(void)
{
	void *blocks[8];

	for (int i = 0; i < ROUNDS; i++) {
		blocks[0] = malloc(100);
		blocks[1] = realloc(NULL, 100);
		blocks[1] = realloc(blocks[1], 5000);
		blocks[2] = calloc(10, 10);
		blocks[3] = aligned_alloc(64, 128);
		blocks[4] = memalign(64, 100);
		if (posix_memalign(&blocks[5], 64, 100))
			leaky_fail("posix_memalign");
		blocks[6] = valloc(100);
		blocks[7] = reallocarray(NULL, 10, 10);
		free(NULL);
		free(blocks[0]);
		free(blocks[1]);
		free(blocks[2]);
		free(blocks[3]);
		free(blocks[4]);
		free(blocks[5]);
		free(blocks[6]);
		free(blocks[7]);
	}
}

LEAKY_SITE void call_operators(void)
{
	for (int i = 0; i < ROUNDS; i++) {
		void *one = _Znwm(100), *many = _Znam(200), *sized = _Znwm(300);

		_ZdlPv(one);
		_ZdaPv(many);
		_ZdlPvm(sized, 300);
	}
}

static void *run(void *unused)
{
	(void)unused;
	pthread_barrier_wait(&begin);
	call_all();
	if (_Znwm)
		call_operators();
	pthread_barrier_wait(&end);
	for (;;)
		pause();
}

int main(int argc, char **argv)
{
	struct leaky_options options = leaky_start(argc, argv);
	pthread_t thread;

	if (pthread_barrier_init(&begin, NULL, THREADS + 1) ||
		pthread_barrier_init(&end, NULL, THREADS + 1))
		leaky_fail("pthread_barrier_init");
	for (int i = 0; i < THREADS; i++) {
		if (pthread_create(&thread, NULL, run, NULL))
			leaky_fail("pthread_create");
	}
	leaky_wait_for_release(&options);
	pthread_barrier_wait(&begin);
	pthread_barrier_wait(&end);
	_exit(0);
}
