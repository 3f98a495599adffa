/*
 * incident.c - a maker of thumbnails: scales each picture in a thread, and keeps the last ones.
 *
 * usage: incident [--rate R] [--terms N] [--wait] [--lifetime S] [--stay]
 *
 * A term is a picture.
 */
#include <pthread.h>
#include <semaphore.h>

#include "leaky.h"

/* How it is run: with --rate SERVICE_RATE, in a container of CONTAINER_MIB MiB without swap. */
#define SERVICE_RATE 5
#define CONTAINER_MIB 64

#define STACK_KIB 64
#define ROWS_KIB 32
#define THUMBNAILS 62
#define THUMBNAIL_BYTES 24000

struct picture {
	uint64_t number;
	unsigned brightness;
	sem_t is_scaled;
};

static pthread_attr_t attributes;
static char *thumbnails[THUMBNAILS];

/* Reads the picture row by row, into a part of its stack. */
static void *scale(void *argument)
{
	struct picture *picture = argument;
	volatile unsigned char rows[ROWS_KIB << 10];
	unsigned sum = 0;

	for (size_t place = 0; place < sizeof(rows); place += 64)
		rows[place] = (unsigned char)(picture->number * place % 251);
	for (size_t place = 0; place < sizeof(rows); place += 64)
		sum += rows[place];
	picture->brightness = sum % 256;
	if (sem_post(&picture->is_scaled))
		leaky_fail("sem_post");
	return NULL;
}

LEAKY_SITE static void have_scaled(struct picture *picture)
{
	pthread_t thread;

	if ((errno = pthread_create(&thread, &attributes, scale, picture)))
		leaky_fail("pthread_create");
	while (sem_wait(&picture->is_scaled))
		if (errno != EINTR)
			leaky_fail("sem_wait");
}

LEAKY_SITE static char *draw_thumbnail(const struct picture *picture)
{
	char *thumbnail = malloc(THUMBNAIL_BYTES);

	if (!thumbnail)
		leaky_fail("malloc");
	memset(thumbnail, (int)('a' + picture->brightness % 26), THUMBNAIL_BYTES - 1);
	thumbnail[THUMBNAIL_BYTES - 1] = 0;
	return thumbnail;
}

LEAKY_SITE static void keep_thumbnail(uint64_t n, char *thumbnail)
{
	free(thumbnails[n % THUMBNAILS]);
	thumbnails[n % THUMBNAILS] = thumbnail;
}

static void take_picture(uint64_t n)
{
	struct picture picture = { .number = n };

	if (sem_init(&picture.is_scaled, 0, 0))
		leaky_fail("sem_init");
	have_scaled(&picture);
	keep_thumbnail(n, draw_thumbnail(&picture));
	printf("picture %" PRIu64 ": brightness %u, %.8s\n", n, picture.brightness,
		thumbnails[n % THUMBNAILS]);
	if (sem_destroy(&picture.is_scaled))
		leaky_fail("sem_destroy");
}

int main(int argc, char **argv)
{
	struct leaky_options options = leaky_start(argc, argv);

	if ((errno = pthread_attr_init(&attributes)))
		leaky_fail("pthread_attr_init");
	if ((errno = pthread_attr_setstacksize(&attributes, (size_t)STACK_KIB << 10)))
		leaky_fail("pthread_attr_setstacksize");
	leaky_run(&options, take_picture);
	return 0;
}
