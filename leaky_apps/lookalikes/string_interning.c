/*
 * string_interning.c - reads tags, and keeps one copy of each word that it has ever met.
 *
 * usage: string_interning [--rate R] [--terms N] [--wait] [--lifetime S] [--stay]
 *
 * Nothing is ever taken out of the table. But the tags are from a fixed vocabulary: it grows ever
 * more slowly, and stops when the last word has been met.
 *
 * Try: ./string_interning --rate 50
 */
#include "leaky.h"

#ifndef VOCABULARY
#define VOCABULARY 200
#endif
#ifndef TAG_BYTES
#define TAG_BYTES 96
#endif
#define TAGS_A_TERM 8
#define BUCKETS 64

struct word {
	struct word *next;
	char text[TAG_BYTES];
};

static struct word *buckets[BUCKETS];
static unsigned known;

LEAKY_SITE static struct word *add_word(const char *text, unsigned bucket)
{
	struct word *word = calloc(1, sizeof(*word));

	if (!word)
		leaky_fail("calloc");
	strcpy(word->text, text);
	word->next = buckets[bucket];
	buckets[bucket] = word;
	known++;
	return word;
}

static const char *intern(const char *text)
{
	unsigned bucket = 0;
	struct word *word;

	for (const char *letter = text; *letter; letter++)
		bucket = (bucket * 31 + (unsigned char)*letter) % BUCKETS;
	for (word = buckets[bucket]; word; word = word->next)
		if (!strcmp(word->text, text))
			return word->text;
	return add_word(text, bucket)->text;
}

static void read_tags(uint64_t n)
{
	static uint64_t seed = 1;
	char text[TAG_BYTES];

	for (unsigned tag = 0; tag < TAGS_A_TERM; tag++) {
		seed = seed * 6364136223846793005 + 1442695040888963407;
		snprintf(text, sizeof(text), "tag-%" PRIu64, (seed >> 33) % VOCABULARY);
		intern(text);
	}
	printf("article %" PRIu64 ": %u words are known\n", n, known);
}

int main(int argc, char **argv)
{
	struct leaky_options options = leaky_start(argc, argv);

	leaky_run(&options, read_tags);
	return 0;
}
