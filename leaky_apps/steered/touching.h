/*
 * touching.h - one access a page, and how many page faults it took.
 */
#ifndef TOUCHING_H
#define TOUCHING_H

#include <sys/resource.h>

#include "commands.h"

static size_t page_bytes(void)
{
	return (size_t)sysconf(_SC_PAGESIZE);
}

/* A plain write: adding to a byte would read it first, and that is a fault of its own. */
LEAKY_SITE static void write_pages(volatile char *first, size_t count)
{
	size_t step = page_bytes();

	for (size_t n = 0; n < count; n++)
		first[n * step] = 1;
}

LEAKY_SITE static void read_pages(volatile char *first, size_t count)
{
	size_t step = page_bytes();

	for (size_t n = 0; n < count; n++)
		(void)first[n * step];
}

/*
 * Runs an access over `count` pages, and answers with the page faults that it took: those of this
 * process, from getrusage.
 *
 * All is done once before with no page at all. That brings in what the doing itself needs (the
 * page of the code, the page of the stack, the dynamic linker's look-up of getrusage and sysconf),
 * so that it isn't counted; and so does the command loop not, which is outside.
 */
static void access_and_count(
	void (*access)(volatile char *, size_t), volatile char *first, size_t count)
{
	struct rusage before, after;

	for (int is_real = 0; is_real <= 1; is_real++) {
		if (getrusage(RUSAGE_SELF, &before))
			leaky_fail("getrusage");
		access(first, is_real ? count : 0);
		if (getrusage(RUSAGE_SELF, &after))
			leaky_fail("getrusage");
	}
	answer("pages", count);
	answer("minor_faults", (uint64_t)(after.ru_minflt - before.ru_minflt));
	answer("major_faults", (uint64_t)(after.ru_majflt - before.ru_majflt));
}

#endif
