/*
 * million_faults.c - a million first touches: 1,000 pages are written to and given back, 1,000
 * times, with no huge page among them. Says how long that took, in nanoseconds.
 */
#include <sys/mman.h>

#include "leaky.h"

#define PAGE_BYTES 4096
#define PAGES 1000
#define ROUNDS 1000

LEAKY_SITE static void write_pages(volatile char *start)
{
	for (size_t i = 0; i < PAGES; i++)
		start[i * PAGE_BYTES] = 1;
}

static long read_clock_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return now.tv_sec * 1000000000L + now.tv_nsec;
}

int main(int argc, char **argv)
{
	struct leaky_options options = leaky_start(argc, argv);
	char *start = mmap(NULL, PAGES * PAGE_BYTES, PROT_READ | PROT_WRITE,
		MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	long begin_ns;

	if (start == MAP_FAILED || madvise(start, PAGES * PAGE_BYTES, MADV_NOHUGEPAGE))
		leaky_fail("mapping");
	leaky_wait_for_release(&options);
	begin_ns = read_clock_ns();
	for (int i = 0; i < ROUNDS; i++) {
		write_pages(start);
		if (madvise(start, PAGES * PAGE_BYTES, MADV_DONTNEED))
			leaky_fail("giving back");
	}
	printf("%ld\n", read_clock_ns() - begin_ns);
	return 0;
}
