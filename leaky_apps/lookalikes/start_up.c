/*
 * start_up.c - loads its dictionary once, when it begins, and keeps it to its end.
 *
 * usage: start_up [--rate R] [--terms N] [--wait] [--lifetime S] [--stay]
 *
 * It never frees a word: the kernel takes all of it when the process ends. What is allocated once,
 * and needed as long as the program runs, is no leak.
 *
 * Try: ./start_up --rate 50
 */
#include "leaky.h"

#ifndef WORDS
#define WORDS 500
#endif
#ifndef WORD_BYTES
#define WORD_BYTES 64
#endif

static char **dictionary;

LEAKY_SITE static char *load_word(unsigned number)
{
	char *word = malloc(WORD_BYTES);

	if (!word)
		leaky_fail("malloc");
	snprintf(word, WORD_BYTES, "word%u", number);
	return word;
}

LEAKY_SITE static void load_dictionary(void)
{
	dictionary = calloc(WORDS, sizeof(*dictionary));
	if (!dictionary)
		leaky_fail("calloc");
	for (unsigned number = 0; number < WORDS; number++)
		dictionary[number] = load_word(number);
}

static void spell(uint64_t n)
{
	if (!dictionary)
		load_dictionary();
	printf("spelled: %s\n", dictionary[n * 7 % WORDS]);
}

int main(int argc, char **argv)
{
	struct leaky_options options = leaky_start(argc, argv);

	leaky_run(&options, spell);
	return 0;
}
