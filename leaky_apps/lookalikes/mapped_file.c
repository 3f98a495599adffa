/*
 * mapped_file.c - searches a file that it has mapped, page after page.
 *
 * usage: mapped_file [--rate R] [--terms N] [--wait] [--lifetime S] [--stay]
 *
 * Each page that it reads for the first time is mapped into the process: RES grows, by RssFile. But
 * these are pages of the page cache, which the kernel takes back as soon as somebody needs memory.
 * The program has allocated nothing.
 *
 * Try: ./mapped_file --rate 100, and look at RssFile and RssAnon in /proc/PID/status
 */
#include <sys/mman.h>

#include "scratch_file.h"

#ifndef FILE_MIB
#define FILE_MIB 24
#endif
#ifndef PAGES_A_TERM
#define PAGES_A_TERM 8
#endif

#define FILE_BYTES ((size_t)FILE_MIB << 20)

static const volatile char *book;
static uint64_t place, letters;

static void fill(int file)
{
	static char page[1 << 16];

	memset(page, 'e', sizeof(page));
	for (size_t done = 0; done < FILE_BYTES; done += sizeof(page))
		if (write(file, page, sizeof(page)) != sizeof(page))
			leaky_fail("write");
}

LEAKY_SITE static const volatile char *map_book(void)
{
	int file = open_scratch_file();
	void *mapped;

	fill(file);
	mapped = mmap(NULL, FILE_BYTES, PROT_READ, MAP_SHARED, file, 0);
	/* Page by page: the kernel shall not map the neighbours beside each. */
	if (mapped == MAP_FAILED || madvise(mapped, FILE_BYTES, MADV_RANDOM))
		leaky_fail("mmap");
	close(file);
	return mapped;
}

static void search(uint64_t n)
{
	if (!book)
		book = map_book();
	for (unsigned page = 0; page < PAGES_A_TERM; page++) {
		letters += book[place] == 'e';
		place = (place + 4096) % FILE_BYTES;
	}
	printf("search %" PRIu64 ": at byte %" PRIu64 ", %" PRIu64 " found\n", n, place, letters);
}

int main(int argc, char **argv)
{
	struct leaky_options options = leaky_start(argc, argv);

	leaky_run(&options, search);
	if (book && munmap((void *)book, FILE_BYTES))
		leaky_fail("munmap");
	return 0;
}
