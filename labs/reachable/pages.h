/*
 * pages.h - who asks for which page, and the slow place where pages come from.
 */
#ifndef PAGES_H
#define PAGES_H

#include <stdint.h>

#define PAGE_BYTES 4096
#define SHOWN_BYTES 24

/* So many pages may be remembered, and so many bytes held with all that belongs to them. */
#define MOST_PAGES 60
#define MOST_BYTES (MOST_PAGES * (PAGE_BYTES + 1000))

/* Returns the number of the page that visitor `n` asks for. */
uint64_t requested_page(uint64_t n);

/* Returns where in the page visitor `n` looks: SHOWN_BYTES from there are shown. */
unsigned requested_place(uint64_t n);

/* Fetches a page, of PAGE_BYTES with the zero at its end, and prints that it did. */
void fetch_page(uint64_t number, char *text);

#endif
