/*
 * plugin_leak.c - a spelling checker whose dictionary is a plug-in, which loses its suggestions.
 *
 * usage: plugin_leak [--rate R] [--terms N] [--wait] [--lifetime S] [--stay]
 *
 * This file is compiled twice: as the program, and (with PLUGIN) as a shared library that lies
 * beside it and is loaded while it runs. The program's own code frees all that it allocates.
 *
 * Try: ./plugin_leak --rate 100, and look whose code the call stack begins with
 */
#define _GNU_SOURCE
#include <dlfcn.h>

#include "leaky.h"

#ifndef SUGGESTION_BYTES
#define SUGGESTION_BYTES 700
#endif
#ifndef WRONG_EVERY
#define WRONG_EVERY 4 /* one word in so many is spelled wrong */
#endif

#ifdef PLUGIN

LEAKY_SITE static char *suggest(const char *word)
{
	char *suggestion = malloc(SUGGESTION_BYTES);

	if (!suggestion)
		leaky_fail("malloc");
	snprintf(suggestion, SUGGESTION_BYTES, "%s, without the x", word);
	return suggestion;
}

/* Returns whether the word is right. */
LEAKY_SITE int check_word(const char *word)
{
	if (!strchr(word, 'x'))
		return 1;
	puts(suggest(word));
	return 0;
}

#else

static int (*check_word)(const char *word);

static void load_plugin(void)
{
	char path[4096];
	ssize_t length = readlink("/proc/self/exe", path, sizeof(path) - sizeof(".so"));
	void *plugin;

	if (length < 0)
		leaky_fail("readlink");
	strcpy(path + length, ".so");
	plugin = dlopen(path, RTLD_NOW);
	if (plugin)
		check_word = (int (*)(const char *))dlsym(plugin, "check_word");
	if (!check_word) {
		fprintf(stderr, "%s\n", dlerror());
		exit(2);
	}
}

static void read_word(uint64_t n)
{
	char *word;

	if (!check_word)
		load_plugin();
	if (asprintf(&word, "word%" PRIu64 "%s", n, n % WRONG_EVERY ? "" : "x") < 0)
		leaky_fail("asprintf");
	printf("word %" PRIu64 ": %s\n", n, check_word(word) ? "right" : "wrong");
	free(word);
}

int main(int argc, char **argv)
{
	struct leaky_options options = leaky_start(argc, argv);

	leaky_run(&options, read_word);
	return 0;
}

#endif
