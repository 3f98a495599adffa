/*
 * actions.c - does one action for each line that it reads: the first fills a cache of 5,000 bytes,
 * each loses 40, and each frees 300 of its own. "keep" also keeps 999 bytes, "free" only frees
 * them.
 */
#include "leaky.h"

static void *cache, *kept;

LEAKY_SITE static void *fill_cache(void)
{
	void *block = malloc(5000);
	return block;
}

LEAKY_SITE static void *lose(void)
{
	void *block = malloc(40);
	return block;
}

static void act(const char *line)
{
	void *temporary = malloc(300);

	if (!cache)
		cache = fill_cache();
	if (!temporary || !cache || !lose())
		leaky_fail("malloc");
	if (!strcmp(line, "keep\n"))
		kept = malloc(999);
	free(temporary);
}

int main(int argc, char **argv)
{
	static char in[BUFSIZ];
	char line[16];

	leaky_start(argc, argv);
	if (setvbuf(stdin, in, _IOFBF, sizeof(in)))
		leaky_fail("setvbuf");
	while (fgets(line, sizeof(line), stdin)) {
		if (!strcmp(line, "free\n"))
			free(kept);
		else
			act(line);
		puts("done");
	}
	return 0;
}
