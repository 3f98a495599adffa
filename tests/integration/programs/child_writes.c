/*
 * child_writes.c - 50 pages are written to, then a child is forked that says its number, waits for
 * release as well, and writes to 30 of them: it gets 30 copies.
 */
#include <sys/mman.h>
#include <sys/wait.h>

#include "leaky.h"

#define PAGE_BYTES 4096
#define PAGES 50
#define PAGES_OF_CHILD 30

LEAKY_SITE static void write_pages(volatile char *start, size_t pages)
{
	for (size_t i = 0; i < pages; i++)
		start[i * PAGE_BYTES]++;
}

int main(int argc, char **argv)
{
	struct leaky_options options = leaky_start(argc, argv);
	char *start = mmap(NULL, PAGES * PAGE_BYTES, PROT_READ | PROT_WRITE,
		MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	pid_t child;

	if (start == MAP_FAILED)
		leaky_fail("mapping");
	write_pages(start, PAGES);
	child = fork();
	if (child == 0) {
		leaky_wait_for_release(&options);
		write_pages(start, PAGES_OF_CHILD);
		return 0;
	}
	printf("%d %p\n", (int)child, (void *)start);
	return waitpid(child, NULL, 0) != child;
}
