/*
 * segments.c - has one object in each place where a process keeps memory, and says where.
 *
 * usage: segments [--lifetime S]
 *
 *   where            the address of each object
 *   more KIND BYTES  grow one place by so many bytes, all of them written. KIND is
 *                      heap     blocks of 64 KiB from malloc: the heap grows, by brk
 *                      large    one block from malloc: a mapping of its own, if it is large
 *                      stack    goes down so far and comes back: what has grown stays
 *                      thread   blocks of 64 KiB from malloc, in a thread: its own arena grows
 *                      mapping  mmap, private: memory of this process
 *                      shared   mmap, shared: memory for its children as well
 *                    any other place has its size from the start: then the answer says why
 *   less             give back all that more took
 *
 * Try: ./segments                     in one terminal, and type: where
 * Try: less /proc/$(pidof segments)/maps      and find each address in one of its lines
 * Try: more heap 10000000             and look again: the line [heap] has grown
 *
 * Nothing leaks: what more took is remembered, and less gives it back.
 */
#define _GNU_SOURCE /* RTLD_DEFAULT */
#include <dlfcn.h>
#include <sys/auxv.h>
#include <sys/mman.h>
#include <sys/resource.h>

#include "threads.h"

#define PIECE_BYTES (64 << 10) /* well below the threshold of malloc for a mapping */
#define MOST_BYTES ((uint64_t)256 << 20)
#define MOST_TAKEN (1 << 15)
#define STACK_MARGIN_BYTES ((uint64_t)256 << 10) /* what lies above and below go_down */

/* Volatile, or the compiler would keep the values in the code and leave the objects out. Not so the
 * constant: what is volatile may change, so it would lie in .data. */
static const char constant[] = "a constant array";
static const char *volatile string = "a string in quotes";
static volatile long initialised = 42;
static volatile long zeroed[1024];
static _Thread_local volatile long thread_local_variable = 7;

static struct {
	volatile char *small_block, *large_block, *mapping, *shared_mapping;
	volatile void *thread_block, *thread_local_variable, *local_in_thread;
} objects;

static struct {
	struct {
		void *address;
		size_t mapped_bytes; /* 0: a block of malloc */
	} items[MOST_TAKEN];
	size_t count;
	uint64_t shared_bytes; /* the cap that an app is started with doesn't count them */
} taken;

static uint64_t wanted_bytes;

/* Writes each byte; through a volatile pointer, or the compiler would leave it out. */
static void fill(volatile char *first, size_t bytes)
{
	for (size_t n = 0; n < bytes; n++)
		first[n] = 1;
}

LEAKY_SITE static volatile char *map_pages(size_t bytes, int sharing)
{
	void *address = mmap(NULL, bytes, PROT_READ | PROT_WRITE, sharing | MAP_ANONYMOUS, -1, 0);

	if (address == MAP_FAILED)
		return NULL;
	set_apart(address, bytes);
	return address;
}

LEAKY_SITE static void make_thread_objects(void)
{
	volatile long local = 1;

	objects.thread_block = malloc(1000);
	objects.local_in_thread = &local;
	objects.thread_local_variable = &thread_local_variable;
}

/* In this order: the shared mapping lies between two that the kernel would else make one of. */
LEAKY_SITE static void make_objects(void)
{
	objects.small_block = malloc(1000);
	objects.large_block = malloc(1 << 20);
	objects.shared_mapping = map_pages(1 << 16, MAP_SHARED);
	objects.mapping = map_pages(1 << 16, MAP_PRIVATE);
	if (!start_thread(make_thread_objects, 0) || !objects.small_block || !objects.large_block ||
		!objects.mapping || !objects.shared_mapping || !objects.thread_block)
		leaky_fail("making one object in each place");
	set_apart(objects.large_block, 1 << 20);
	fill(objects.small_block, 1000);
	fill(objects.large_block, 1 << 20);
	fill(objects.mapping, 1 << 16);
	fill(objects.shared_mapping, 1 << 16);
}

LEAKY_SITE static void where(const struct value *given)
{
	volatile long local = 1;

	(void)given;
	answer_address("function", (const void *)where);
	answer_address("constant", constant);
	answer_address("string", string);
	answer_address("initialised", &initialised);
	answer_address("zeroed", zeroed);
	answer_address("small_block", objects.small_block);
	answer_address("large_block", objects.large_block);
	answer_address("local", &local);
	answer_address("mapping", objects.mapping);
	answer_address("shared_mapping", objects.shared_mapping);
	answer_address("thread_block", objects.thread_block);
	answer_address("thread_local_variable", objects.thread_local_variable);
	answer_address("local_in_thread", objects.local_in_thread);
	answer_address("library_function", dlsym(RTLD_DEFAULT, "malloc"));
	answer_address("vdso", (const void *)getauxval(AT_SYSINFO_EHDR));
	answer_address("program_break", sbrk(0));
}

/* Remembers what was taken, for less. Returns whether there was anything; else it's refused. */
static int keep(volatile void *address, size_t mapped_bytes)
{
	if (!address)
		refuse_errno(mapped_bytes ? "mmap" : "malloc");
	if (!address)
		return 0;
	taken.items[taken.count].address = (void *)address;
	taken.items[taken.count++].mapped_bytes = mapped_bytes;
	return 1;
}

/* Pieces small enough for malloc to cut them from an arena, and never to map them. */
LEAKY_SITE static void allocate_pieces(void)
{
	for (uint64_t left = wanted_bytes; left;) {
		size_t piece = left < PIECE_BYTES ? left : PIECE_BYTES;
		volatile char *block = malloc(piece);

		if (!keep(block, 0))
			return;
		fill(block, piece);
		left -= piece;
	}
}

static void more_in_thread(void)
{
	run_in_thread(allocate_pieces);
}

LEAKY_SITE static void more_large(void)
{
	volatile char *block = malloc(wanted_bytes);

	if (keep(block, 0))
		fill(block, wanted_bytes);
}

static void keep_mapping(volatile char *address)
{
	if (keep(address, wanted_bytes))
		fill(address, wanted_bytes);
}

LEAKY_SITE static void more_mapping(void)
{
	keep_mapping(map_pages(wanted_bytes, MAP_PRIVATE));
}

LEAKY_SITE static void more_shared(void)
{
	if (taken.shared_bytes + wanted_bytes > MOST_BYTES) {
		refuse("shared memory may grow by %" PRIu64 " bytes in all", MOST_BYTES);
		return;
	}
	taken.shared_bytes += wanted_bytes;
	keep_mapping(map_pages(wanted_bytes, MAP_SHARED));
}

LEAKY_SITE static void go_down(size_t bytes)
{
	volatile char locals[bytes];

	fill(locals, bytes);
}

static void more_stack(void)
{
	struct rlimit limit;

	if (getrlimit(RLIMIT_STACK, &limit))
		leaky_fail("getrlimit");
	if (limit.rlim_cur < STACK_MARGIN_BYTES ||
		wanted_bytes > limit.rlim_cur - STACK_MARGIN_BYTES)
		refuse("the stack may have %" PRIu64 " bytes in all (ulimit -s)",
			(uint64_t)limit.rlim_cur);
	else
		go_down(wanted_bytes);
}

static void refuse_to_grow(void)
{
	refuse("it has its size from the program's file: the kernel made it when the program was "
	       "started, and nothing that the program does makes it grow");
}

static const struct {
	const char *kind;
	void (*grow)(void);
} places[] = {
	{ "heap", allocate_pieces },
	{ "large", more_large },
	{ "stack", more_stack },
	{ "thread", more_in_thread },
	{ "mapping", more_mapping },
	{ "shared", more_shared },
	{ "text", refuse_to_grow },
	{ "read_only", refuse_to_grow },
	{ "data", refuse_to_grow },
	{ "bss", refuse_to_grow },
	{ NULL, NULL },
};

static void more(const struct value *given)
{
	size_t place = 0;

	while (places[place].kind && strcmp(places[place].kind, given[0].word))
		place++;
	wanted_bytes = given[1].number;
	if (!places[place].kind)
		refuse("KIND is heap, large, stack, thread, mapping, shared, text, read_only, data "
		       "or bss, not %.40s",
			given[0].word);
	else if (taken.count + wanted_bytes / PIECE_BYTES + 1 > MOST_TAKEN)
		refuse("more has taken %zu pieces already: less comes first", taken.count);
	else
		places[place].grow();
	answer("bytes", wanted_bytes);
	answer_address("program_break", sbrk(0));
}

LEAKY_SITE static void less(const struct value *given)
{
	(void)given;
	answer("pieces", taken.count);
	while (taken.count) {
		void *address = taken.items[--taken.count].address;
		size_t mapped_bytes = taken.items[taken.count].mapped_bytes;

		if (!mapped_bytes)
			free(address);
		else if (munmap(address, mapped_bytes))
			leaky_fail("munmap");
	}
	taken.shared_bytes = 0;
	answer_address("program_break", sbrk(0));
}

static const struct command table[] = {
	{ "where", where, { { 0 } } },
	{ "more", more, { WORD("KIND"), NUMBER("BYTES", 1, MOST_BYTES) } },
	{ "less", less, { { 0 } } },
	{ 0 },
};

int main(int argc, char **argv)
{
	start_commands(argc, argv);
	make_objects();
	serve_commands(argv[0], table);
	end_all_threads();
	return 0;
}
