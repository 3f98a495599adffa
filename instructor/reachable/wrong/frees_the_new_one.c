/* wrong: frees the page that is about to be shown; expects: "heap-use-after-free in serve" */
/*
 * reachable.c - serves pages, and remembers each page that it has ever fetched.
 *
 * usage: reachable [--rate R] [--terms N] [--wait] [--lifetime S] [--stay]
 *
 * Every page can be found in the table, so none of them is lost: a leak checker is content.
 *
 * Try: ./reachable --rate 0 --terms 1000     and see how many visitors found their page there
 */
#include "leaky.h"
#include "pages.h"

#define BUCKETS 64
#define TELL_EVERY 100
#define MAX_PAGES 64

struct page {
	struct page *next;
	uint64_t number;
	uint64_t used; /* by which visitor it was asked for last */
	char text[PAGE_BYTES];
};

static struct page *buckets[BUCKETS];
static uint64_t visitors, hits;
static unsigned pages;

static struct page *find_page(uint64_t number)
{
	struct page *page = buckets[number % BUCKETS];

	while (page && page->number != number)
		page = page->next;
	return page;
}

/* Forgets the page that nobody has asked for the longest. */
LEAKY_SITE static void drop_page(void)
{
	struct page **oldest = NULL, *page;

	for (unsigned b = 0; b < BUCKETS; b++)
		for (struct page **link = &buckets[b]; *link; link = &(*link)->next)
			if (!oldest || (*link)->used < (*oldest)->used)
				oldest = link;
	page = *oldest;
	*oldest = page->next;
	free(page);
	pages--;
}

LEAKY_SITE static struct page *add_page(uint64_t number)
{
	struct page *page = malloc(sizeof(*page));

	if (!page)
		leaky_fail("malloc");
	page->number = number;
	fetch_page(number, page->text);
	page->used = 0;
	page->next = buckets[number % BUCKETS];
	buckets[number % BUCKETS] = page;
	if (pages++ == MAX_PAGES)
		drop_page();
	return page;
}

LEAKY_SITE static void serve(uint64_t n)
{
	uint64_t number = requested_page(n);
	struct page *page = find_page(number);

	visitors++;
	if (page)
		hits++;
	else
		page = add_page(number);
	page->used = n;
	printf("visitor %" PRIu64 ": page %" PRIu64 ", %.*s\n", n, number, SHOWN_BYTES,
		page->text + requested_place(n));
	if (visitors % TELL_EVERY == 0)
		printf("hits: %" PRIu64 " of %" PRIu64 "\n", hits, visitors);
}

int main(int argc, char **argv)
{
	struct leaky_options options = leaky_start(argc, argv);

	leaky_run(&options, serve);
	return 0;
}
