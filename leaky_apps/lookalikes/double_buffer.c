/*
 * double_buffer.c - shows a film: the next frame is drawn while this one is on the screen.
 *
 * usage: double_buffer [--rate R] [--terms N] [--wait] [--lifetime S] [--stay]
 *
 * Each frame is a new block, and it is always the frame before that is freed: a block lives for one
 * term longer than the code suggests that made it.
 *
 * Try: ./double_buffer --rate 50
 */
#include "leaky.h"

#ifndef FRAME_BYTES
#define FRAME_BYTES 30000
#endif

static char *shown, *next;

LEAKY_SITE static char *draw_frame(uint64_t n)
{
	char *frame = malloc(FRAME_BYTES);

	if (!frame)
		leaky_fail("malloc");
	memset(frame, (int)(n % 256), FRAME_BYTES);
	return frame;
}

static void show(uint64_t n)
{
	free(shown);
	shown = next;
	next = draw_frame(n);
	printf("frame %" PRIu64 " is drawn, %s is on the screen\n", n, shown ? "another" : "none");
}

int main(int argc, char **argv)
{
	struct leaky_options options = leaky_start(argc, argv);

	leaky_run(&options, show);
	free(shown);
	free(next);
	return 0;
}
