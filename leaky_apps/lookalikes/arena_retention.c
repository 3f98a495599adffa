/*
 * arena_retention.c - loads a large document, closes it, and goes on with small ones.
 *
 * usage: arena_retention [--rate R] [--terms N] [--wait] [--lifetime S] [--stay]
 *
 * The heap can only be cut at its end, and the last block of the large document's time is one that
 * is still needed. All below it is free for malloc, and still resident: RES stays high though next
 * to nothing is in use. That is retention, not a leak.
 *
 * Try: ./arena_retention --rate 50, and see RES rise for a second, and stay
 */
#include "leaky.h"

#ifndef PARAGRAPHS
#define PARAGRAPHS 40 /* a term loads so many */
#endif
#ifndef LOADING_TERMS
#define LOADING_TERMS 50
#endif
#ifndef PARAGRAPH_BYTES
#define PARAGRAPH_BYTES 4000
#endif

static char *document[PARAGRAPHS * LOADING_TERMS];
static char *recent; /* the name of the document, for the menu */

LEAKY_SITE static char *load_paragraph(uint64_t n)
{
	char *text = malloc(PARAGRAPH_BYTES);

	if (!text)
		leaky_fail("malloc");
	memset(text, 'a' + (int)(n % 26), PARAGRAPH_BYTES);
	return text;
}

static void load_part(uint64_t part)
{
	for (uint64_t n = part * PARAGRAPHS; n < (part + 1) * PARAGRAPHS; n++)
		document[n] = load_paragraph(n);
	printf("loaded up to paragraph %" PRIu64 "\n", (part + 1) * PARAGRAPHS);
}

static void close_document(void)
{
	recent = strdup("the large one");
	if (!recent)
		leaky_fail("strdup");
	for (unsigned n = 0; n < PARAGRAPHS * LOADING_TERMS; n++) {
		free(document[n]);
		document[n] = NULL;
	}
	printf("closed %s\n", recent);
}

static void edit(uint64_t n)
{
	char *paragraph;

	if (n < LOADING_TERMS) {
		load_part(n);
		return;
	}
	if (n == LOADING_TERMS)
		close_document();
	paragraph = load_paragraph(n);
	printf("a paragraph of %.5s...\n", paragraph);
	free(paragraph);
}

int main(int argc, char **argv)
{
	struct leaky_options options = leaky_start(argc, argv);

	leaky_run(&options, edit);
	for (unsigned n = 0; n < PARAGRAPHS * LOADING_TERMS; n++)
		free(document[n]);
	free(recent);
	return 0;
}
