/*
 * touches.c - touches pages in each way that there is, one after the other, and says how many
 * faults the kernel counted for each: "NAME ADDRESS PAGES MINOR MAJOR" a line.
 */
#include <fcntl.h>
#include <pthread.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/wait.h>

#include "leaky.h"

#define PAGE_BYTES 4096
#define THREADS 4

static char *map_pages(size_t pages)
{
	char *pages_start = mmap(NULL, pages * PAGE_BYTES, PROT_READ | PROT_WRITE,
		MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (pages_start == MAP_FAILED || madvise(pages_start, pages * PAGE_BYTES, MADV_NOHUGEPAGE))
		leaky_fail("mapping");
	return pages_start;
}

static int open_file(size_t pages)
{
	char name[] = "/tmp/lab-touches-XXXXXX", block[PAGE_BYTES] = "full";
	int file = mkstemp(name);

	if (file < 0 || unlink(name))
		leaky_fail("making a file");
	for (size_t i = 0; i < pages; i++)
		if (write(file, block, sizeof(block)) != sizeof(block))
			leaky_fail("filling a file");
	return file;
}

LEAKY_SITE static void write_pages(volatile char *start, size_t pages)
{
	for (size_t i = 0; i < pages; i++)
		start[i * PAGE_BYTES] = 1; /* touches */
}

LEAKY_SITE static char read_pages(const volatile char *start, size_t pages)
{
	char sum = 0;

	for (size_t i = 0; i < pages; i++)
		sum += start[i * PAGE_BYTES];
	return sum;
}

LEAKY_SITE static void write_first(char *start, size_t pages)
{
	write_pages(start, pages);
}

LEAKY_SITE static void read_then_write(char *start, size_t pages)
{
	read_pages(start, pages);
	write_pages(start, pages);
}

/* A child shares the pages while the parent writes to them. */
LEAKY_SITE static void write_shared(char *start, size_t pages)
{
	int end[2];
	pid_t child;

	if (pipe(end))
		leaky_fail("making a pipe");
	child = fork();
	if (child == 0) {
		close(end[1]);
		_exit(read(end[0], &child, 1) != 0);
	}
	write_pages(start, pages);
	close(end[1]);
	waitpid(child, NULL, 0);
}

LEAKY_SITE static void read_by_kernel(char *start, size_t pages)
{
	int zero = open("/dev/zero", O_RDONLY);

	if (read(zero, start, pages * PAGE_BYTES) != (ssize_t)(pages * PAGE_BYTES))
		leaky_fail("reading");
	close(zero);
}

/* The kernel first tries to copy with faults switched off: such a try is no fault. */
LEAKY_SITE static void write_by_kernel(char *start, size_t pages)
{
	int file = open_file(0);

	if (write(file, start, pages * PAGE_BYTES) != (ssize_t)(pages * PAGE_BYTES))
		leaky_fail("writing");
	close(file);
}

static char *forbidden;

static void allow(int signal_number)
{
	(void)signal_number;
	mprotect(forbidden, PAGE_BYTES, PROT_READ | PROT_WRITE);
}

/* The first try ends in a signal and is none that the kernel counts. */
LEAKY_SITE static void write_after_signal(char *start, size_t pages)
{
	(void)pages;
	forbidden = start;
	signal(SIGSEGV, allow);
	mprotect(start, PAGE_BYTES, PROT_NONE);
	write_pages(start, 1);
}

/* Each frame is a page and more; the kernel extends the stack as far as it is touched. */
LEAKY_SITE static int recurse(size_t depth)
{
	volatile char page[PAGE_BYTES];

	page[0] = 1;
	return depth ? recurse(depth - 1) + page[0] : 0;
}

LEAKY_SITE static void grow_stack(char *start, size_t pages)
{
	(void)start;
	recurse(pages);
}

struct part {
	char *start;
	size_t pages;
};

static void *write_part(void *argument)
{
	struct part *part = argument;

	write_pages(part->start, part->pages);
	return NULL;
}

LEAKY_SITE static void write_in_threads(char *start, size_t pages)
{
	struct part parts[THREADS];
	pthread_t threads[THREADS];

	for (int i = 0; i < THREADS; i++) {
		parts[i].pages = pages / THREADS;
		parts[i].start = start + i * parts[i].pages * PAGE_BYTES;
		if (pthread_create(&threads[i], NULL, write_part, &parts[i]))
			leaky_fail("starting a thread");
	}
	for (int i = 0; i < THREADS; i++)
		pthread_join(threads[i], NULL);
}

LEAKY_SITE static void read_file(char *start, size_t pages)
{
	read_pages(start, pages);
}

LEAKY_SITE static void read_cold_file(char *start, size_t pages)
{
	read_pages(start, pages);
}

LEAKY_SITE static void write_huge(char *start, size_t pages)
{
	if (madvise(start, pages * PAGE_BYTES, MADV_HUGEPAGE))
		leaky_fail("asking for huge pages");
	write_pages(start, pages);
}

struct act {
	const char *name;
	void (*run)(char *start, size_t pages);
	size_t pages;
};

static struct result {
	char *start;
	long minor, major;
} results[16];

static const struct act acts[] = {
	{ "write_first", write_first, 1000 },
	{ "read_then_write", read_then_write, 64 },
	{ "write_shared", write_shared, 40 },
	{ "read_by_kernel", read_by_kernel, 32 },
	{ "write_by_kernel", write_by_kernel, 32 },
	{ "write_after_signal", write_after_signal, 1 },
	{ "grow_stack", grow_stack, 100 },
	{ "write_in_threads", write_in_threads, 1000 },
	{ "read_file", read_file, 256 },
	{ "read_cold_file", read_cold_file, 256 },
	{ "write_huge", write_huge, 4 * 512 },
};

static char *map_file(size_t pages, int is_cold)
{
	int file = open_file(pages);
	char *start = mmap(NULL, pages * PAGE_BYTES, PROT_READ, MAP_SHARED, file, 0);

	if (start == MAP_FAILED)
		leaky_fail("mapping a file");
	if (is_cold && (fsync(file) || posix_fadvise(file, 0, 0, POSIX_FADV_DONTNEED)))
		leaky_fail("letting go of a file");
	close(file);
	return start;
}

static void run(const struct act *act, struct result *result)
{
	struct rusage before, after;

	if (act->run == read_file)
		result->start = map_file(act->pages, 0);
	else if (act->run == read_cold_file)
		result->start = map_file(act->pages, 1);
	else
		result->start = map_pages(act->pages);
	if (act->run == write_shared)
		memset(result->start, 1, act->pages * PAGE_BYTES);
	getrusage(RUSAGE_SELF, &before);
	act->run(result->start, act->pages);
	getrusage(RUSAGE_SELF, &after);
	result->minor = after.ru_minflt - before.ru_minflt;
	result->major = after.ru_majflt - before.ru_majflt;
}

int main(int argc, char **argv)
{
	struct leaky_options options = leaky_start(argc, argv);
	size_t count = sizeof(acts) / sizeof(*acts);

	leaky_wait_for_release(&options);
	for (size_t i = 0; i < count; i++)
		run(&acts[i], &results[i]);
	for (size_t i = 0; i < count; i++)
		printf("%s %p %zu %ld %ld\n", acts[i].name, (void *)results[i].start, acts[i].pages,
			results[i].minor, results[i].major);
	return 0;
}
