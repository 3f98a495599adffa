/*
 * pages.c - who asks for which page, and the slow place where pages come from.
 *
 * One visitor in NEW_EVERY asks for a page that nobody has asked for before, and the others for one
 * that is in fashion. Fashion changes: now and then some pages are out, and others in. What is
 * asked for, and what the pages say, follows from SEED.
 */
#include "pages.h"

#include <inttypes.h>
#include <stdio.h>

#ifndef SEED
#define SEED 1u
#endif
#define NEW_EVERY 4
#define IN_FASHION 16
#define CHANGE_EVERY 100
#define CHANGED_PAGES 4
#define FIRST_IN_FASHION 1000000000

/* The finalizer of splitmix64: numbers that follow each other come out as if drawn. */
static uint64_t mix(uint64_t x)
{
	x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9;
	x = (x ^ (x >> 27)) * 0x94d049bb133111eb;
	return x ^ (x >> 31);
}

uint64_t requested_page(uint64_t n)
{
	uint64_t drawn = mix((uint64_t)SEED << 32 | n);

	if (drawn % NEW_EVERY == 0)
		return n;
	return FIRST_IN_FASHION + n / CHANGE_EVERY * CHANGED_PAGES + drawn / NEW_EVERY % IN_FASHION;
}

unsigned requested_place(uint64_t n)
{
	return (unsigned)(mix((uint64_t)SEED << 32 ^ ~n) % (PAGE_BYTES - SHOWN_BYTES));
}

void fetch_page(uint64_t number, char *text)
{
	static uint64_t fetches;
	uint64_t word = mix((uint64_t)SEED << 32 ^ number);

	for (int i = 0; i < PAGE_BYTES - 1; i++)
		text[i] = (char)('a' + mix(word + (uint64_t)i) % 26);
	text[PAGE_BYTES - 1] = '\0';
	printf("fetched page %" PRIu64 ", fetch %" PRIu64 "\n", number, ++fetches);
}
