/*
 * strdup_result.c - checks who logs in; it compares names in lower case, in copies that it loses.
 *
 * usage: strdup_result [--rate R] [--terms N] [--wait] [--lifetime S] [--stay]
 *
 * Try: ./strdup_result --rate 200     small blocks: the heap's own bookkeeping is as large again
 */
#include <ctype.h>

#include "leaky.h"

#ifndef NAME_LETTERS
#define NAME_LETTERS 31
#endif

static unsigned known;

/* Returns a copy that the caller has to free. */
LEAKY_SITE static char *to_lower(const char *name)
{
	char *copy = strdup(name);

	if (!copy)
		leaky_fail("strdup");
	for (char *letter = copy; *letter; letter++)
		*letter = (char)tolower((unsigned char)*letter);
	return copy;
}

LEAKY_SITE static int is_same_name(const char *one, const char *other)
{
	return !strcmp(to_lower(one), other);
}

static void log_in(uint64_t n)
{
	char name[NAME_LETTERS + 1], admin[NAME_LETTERS + 1];

	memset(name, "AB"[n % 2], NAME_LETTERS);
	memset(admin, 'a', NAME_LETTERS);
	name[NAME_LETTERS] = admin[NAME_LETTERS] = 0;
	known += (unsigned)is_same_name(name, admin);
	printf("login %" PRIu64 ": %s, the administrator %u times\n", n, name, known);
}

int main(int argc, char **argv)
{
	struct leaky_options options = leaky_start(argc, argv);

	leaky_run(&options, log_in);
	return 0;
}
