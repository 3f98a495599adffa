/*
 * error_path.c - makes thumbnails of the pictures that people send; where memory is short it
 * refuses a picture, and goes on with the next.
 *
 * usage: error_path [--rate R] [--terms N] [--wait] [--lifetime S] [--stay]
 *
 * Try: ./error_path --rate 50     for a year: as long as nothing fails, nothing leaks
 *
 * Built with labs/failing.c, it finds out what happens when memory is refused.
 */
#include "leaky.h"

#define SIDE 160 /* of a picture, in pixels of one byte */
#define SCALE 4
#define SMALL_SIDE (SIDE / SCALE)

struct job {
	uint64_t number;
	unsigned char *picture;
	unsigned char *thumbnail;
};

/* Returns a job with room for its picture and its thumbnail, or NULL where memory is short. */
LEAKY_SITE static struct job *begin_job(uint64_t number)
{
	struct job *job = malloc(sizeof(*job));

	if (!job)
		return NULL;
	job->number = number;
	job->picture = malloc(SIDE * SIDE);
	if (!job->picture) {
		free(job);
		return NULL;
	}
	job->thumbnail = malloc(SMALL_SIDE * SMALL_SIDE);
	if (!job->thumbnail) {
		free(job->picture);
		free(job);
		return NULL;
	}
	return job;
}

LEAKY_SITE static void end_job(struct job *job)
{
	free(job->thumbnail);
	free(job->picture);
	free(job);
}

static void receive_picture(struct job *job)
{
	for (int i = 0; i < SIDE * SIDE; i++)
		job->picture[i] = (unsigned char)(job->number * 31 + (uint64_t)i * 7);
}

/* Returns how bright the thumbnail is, all of its pixels added up. */
static unsigned shrink_picture(struct job *job)
{
	unsigned brightness = 0;

	for (int y = 0; y < SMALL_SIDE; y++) {
		for (int x = 0; x < SMALL_SIDE; x++) {
			unsigned char pixel = job->picture[y * SCALE * SIDE + x * SCALE];

			job->thumbnail[y * SMALL_SIDE + x] = pixel;
			brightness += pixel;
		}
	}
	return brightness;
}

static void serve(uint64_t n)
{
	struct job *job = begin_job(n);

	if (!job) {
		printf("picture %" PRIu64 ": refused, no memory\n", n);
		return;
	}
	receive_picture(job);
	printf("picture %" PRIu64 ": brightness %u\n", n, shrink_picture(job));
	end_job(job);
}

int main(int argc, char **argv)
{
	struct leaky_options options = leaky_start(argc, argv);

	leaky_run(&options, serve);
	return 0;
}
