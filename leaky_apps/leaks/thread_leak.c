/*
 * thread_leak.c - two threads scale pictures; each picture's scaled copy is lost in its thread.
 *
 * usage: thread_leak [--rate R] [--terms N] [--wait] [--lifetime S] [--stay]
 *
 * A thread allocates from an arena of its own: what grows is not [heap], but anonymous memory.
 *
 * Try: ./thread_leak --rate 100, and look for the arenas in /proc/PID/maps: 64 MiB, mostly ---p
 */
#include "workers.h"

#ifndef PICTURE_BYTES
#define PICTURE_BYTES 6000
#endif

#ifndef THREADS
#define THREADS 2
#endif

LEAKY_SITE static unsigned char *scale(unsigned char shade)
{
	unsigned char *scaled = malloc(PICTURE_BYTES);

	if (!scaled)
		leaky_fail("malloc");
	memset(scaled, shade, PICTURE_BYTES);
	return scaled;
}

static void scale_picture(unsigned worker, uint64_t n)
{
	unsigned char *scaled = scale((unsigned char)(n % 256));

	printf("thread %u: picture %" PRIu64 ", shade %u\n", worker, n, scaled[PICTURE_BYTES / 2]);
}

static void hand_out(uint64_t n)
{
	give_work((unsigned)(n % THREADS), n);
}

int main(int argc, char **argv)
{
	struct leaky_options options = leaky_start(argc, argv);

	start_workers(THREADS, scale_picture);
	leaky_run(&options, hand_out);
	end_workers();
	return 0;
}
