/*
 * getline_result.c - reads the words of a text, a line each; getline's line is never freed.
 *
 * usage: getline_result [--rate R] [--terms N] [--wait] [--lifetime S] [--stay]
 *
 * getline allocates the line where it is given none. It is the C library that calls malloc here,
 * and the program that has to call free.
 *
 * Try: ./getline_result --rate 100, and look with ./lab trace whom it names
 */
#include "leaky.h"

static char text[] =
	"the heap grows\nthe stack comes back\na page is paid for when it is touched\n";
static FILE *stream;

/* Returns how many words there are in the next line. */
LEAKY_SITE static int count_words(void)
{
	char *line = NULL;
	size_t room = 0;
	int words = 1;

	if (getline(&line, &room, stream) < 0) {
		rewind(stream);
		if (getline(&line, &room, stream) < 0)
			leaky_fail("getline");
	}
	for (const char *letter = line; *letter; letter++)
		words += *letter == ' ';
	return words;
}

static void read_line(uint64_t n)
{
	printf("line %" PRIu64 ": %d words\n", n, count_words());
}

int main(int argc, char **argv)
{
	struct leaky_options options = leaky_start(argc, argv);

	stream = fmemopen(text, sizeof(text) - 1, "r");
	if (!stream)
		leaky_fail("fmemopen");
	leaky_run(&options, read_line);
	if (fclose(stream))
		leaky_fail("fclose");
	return 0;
}
