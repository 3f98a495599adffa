/*
 * string_builder.c - builds a page by joining pieces; every page but the last state of it is lost.
 *
 * usage: string_builder [--rate R] [--terms N] [--wait] [--lifetime S] [--stay]
 *
 * Joining two strings makes a third one. The caller frees the page when it is printed, and not the
 * shorter ones that it was made from.
 *
 * Try: ./string_builder --rate 50     a page of four pieces loses three blocks, each one larger
 */
#include "leaky.h"

#ifndef PIECE_LETTERS
#define PIECE_LETTERS 100
#endif
#define PIECES 4

LEAKY_SITE static char *join(const char *start, const char *end)
{
	char *joined = malloc(strlen(start) + strlen(end) + 1);

	if (!joined)
		leaky_fail("malloc");
	return strcat(strcpy(joined, start), end);
}

LEAKY_SITE static char *build_page(const char *piece)
{
	char *page = join("", piece);

	for (int count = 1; count < PIECES; count++)
		page = join(page, piece);
	return page;
}

static void print_page(uint64_t n)
{
	char piece[PIECE_LETTERS + 1];
	char *page;

	memset(piece, 'a' + (int)(n % 26), PIECE_LETTERS);
	piece[PIECE_LETTERS] = 0;
	page = build_page(piece);
	printf("page %" PRIu64 ": %zu letters\n", n, strlen(page));
	free(page);
}

int main(int argc, char **argv)
{
	struct leaky_options options = leaky_start(argc, argv);

	leaky_run(&options, print_page);
	return 0;
}
