/*
 * incident.c - a spell checker: looks each line's words up in a large dictionary.
 *
 * usage: incident [--rate R] [--terms N] [--wait] [--lifetime S] [--stay]
 *
 * A term is a line of text.
 */
#include "leaky.h"

/* How it is run: with --rate SERVICE_RATE, in a container of CONTAINER_MIB MiB without swap. */
#define SERVICE_RATE 5
#define CONTAINER_MIB 64

#define CHAPTERS 210
#define CHAPTER_BYTES 56000
#define LINE_BYTES 7000
#define WORD_BYTES 10
#define COMMON 12

struct chapter {
	uint64_t number;
	char words[CHAPTER_BYTES];
};

static struct chapter *dictionary[CHAPTERS];
static uint64_t mistakes;

LEAKY_SITE static struct chapter *read_chapter(uint64_t number)
{
	struct chapter *chapter = malloc(sizeof(*chapter));

	if (!chapter)
		leaky_fail("malloc");
	chapter->number = number;
	memset(chapter->words, (int)('a' + number % 26), CHAPTER_BYTES);
	return chapter;
}

LEAKY_SITE static const struct chapter *open_chapter(uint64_t number)
{
	if (!dictionary[number])
		dictionary[number] = read_chapter(number);
	return dictionary[number];
}

LEAKY_SITE static char *read_line(uint64_t n)
{
	char *line = malloc(LINE_BYTES);

	if (!line)
		leaky_fail("malloc");
	for (size_t word = 0; word < LINE_BYTES; word += WORD_BYTES)
		memset(line + word, (int)('a' + n * (word + 3) % 26), WORD_BYTES);
	return line;
}

LEAKY_SITE static unsigned compare(const char *line, const struct chapter *chapter)
{
	unsigned differences = 0;

	for (size_t word = 0; word < LINE_BYTES; word += WORD_BYTES)
		differences += line[word] != chapter->words[word * 8 % CHAPTER_BYTES];
	return differences;
}

/* Half of the lines have common words only; in the others there is a rare one. */
static uint64_t find_chapter(uint64_t n)
{
	return n % 2 ? n * 11 % COMMON : n * 37 / 2 % CHAPTERS;
}

static void check(uint64_t n)
{
	char *line = read_line(n);
	const struct chapter *chapter = open_chapter(find_chapter(n));
	unsigned differences = compare(line, chapter);

	mistakes += differences % 3;
	printf("line %" PRIu64 ", %.8s...: chapter %" PRIu64 ", %u; %" PRIu64 " mistakes\n", n,
		line, chapter->number, differences, mistakes);
	free(line);
}

int main(int argc, char **argv)
{
	struct leaky_options options = leaky_start(argc, argv);

	leaky_run(&options, check);
	return 0;
}
