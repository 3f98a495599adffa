/*
 * realloc_grow.c - gathers the lines of a log into batches, to be sent one at a time. A batch for
 * which there is not room enough is refused.
 *
 * usage: realloc_grow [--rate R] [--terms N] [--wait] [--lifetime S] [--stay]
 *
 * Try: ./realloc_grow --rate 50     every batch is freed, as long as each has had its room
 *
 * Built with labs/failing.c, it finds out what happens when realloc returns NULL.
 */
#include "leaky.h"

#define FIRST_BYTES 3072
#define MOST_LINES 420
#define FEWEST_LINES 20
#define LINE_BYTES 80

struct batch {
	char *text;
	size_t used;
	size_t size;
};

/* Returns whether the batch has room for so many more bytes. */
LEAKY_SITE static int make_room(struct batch *batch, size_t bytes)
{
	size_t size = batch->size;

	while (size < batch->used + bytes)
		size *= 2;
	if (size == batch->size)
		return 1;
	batch->text = realloc(batch->text, size);
	if (!batch->text)
		return 0;
	batch->size = size;
	return 1;
}

/* Returns whether the line is in the batch. */
LEAKY_SITE static int add_line(struct batch *batch, uint64_t n, unsigned number)
{
	char line[LINE_BYTES];
	int length = snprintf(line, sizeof(line), "%" PRIu64 ".%u: door %u was opened and closed\n",
		n, number, number * 7 % 90);

	if (!make_room(batch, (size_t)length + 1))
		return 0;
	memcpy(batch->text + batch->used, line, (size_t)length + 1);
	batch->used += (size_t)length;
	return 1;
}

static unsigned add_up(const struct batch *batch)
{
	unsigned sum = 0;

	for (size_t i = 0; i < batch->used; i++)
		sum += (unsigned char)batch->text[i];
	return sum;
}

LEAKY_SITE static void gather(uint64_t n)
{
	struct batch batch = { malloc(FIRST_BYTES), 0, FIRST_BYTES };
	unsigned lines = FEWEST_LINES, number = 0;

	if (!batch.text)
		leaky_fail("malloc");
	lines += (unsigned)(n * 37 % (MOST_LINES - FEWEST_LINES));
	while (number < lines && add_line(&batch, n, number))
		number++;
	if (number == lines)
		printf("batch %" PRIu64 ": %zu bytes, sum %u\n", n, batch.used, add_up(&batch));
	else
		printf("batch %" PRIu64 ": refused at line %u\n", n, number);
	free(batch.text);
}

int main(int argc, char **argv)
{
	struct leaky_options options = leaky_start(argc, argv);

	leaky_run(&options, gather);
	return 0;
}
