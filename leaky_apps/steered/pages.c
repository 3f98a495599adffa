/*
 * pages.c - memory that is promised, and memory that is paid for: page by page.
 *
 * usage: pages [--lifetime S]
 *
 *   reserve BYTES            a block of so many bytes, rounded up to whole pages; none is written
 *   touch PERCENT            write one byte to each page of the first PERCENT of the block
 *   touch_pages FIRST COUNT  write one byte to each of these pages
 *   read_pages FIRST COUNT   read one byte of each: the kernel's page of zeros will do
 *   release                  free the block
 *   fork                     a child process, which has the same block
 *   child_write COUNT        the child writes to its first COUNT pages: each is copied first
 *   child_read COUNT         the child reads them: nothing is copied
 *   end_child                the child ends
 *
 * Try: ./pages                   in one terminal, and type: reserve 40960000
 * Try: top -p $(pidof pages)     in another: VIRT has grown by 40 MB, RES has not
 * Try: touch 50                  RES grows by 20 MB; the answer counts 5,000 minor faults
 *
 * Nothing leaks: the block is freed by release, and its address is kept until then.
 */
#include <malloc.h>

#include "children.h"
#include "touching.h"

#define MOST_BYTES ((uint64_t)1 << 40)
#define THRESHOLD_BYTES (128 << 10) /* malloc's default */

static struct {
	char *address;
	size_t pages;
} block;

/*
 * Aligned, so that malloc's own header lies on the page before: no page of the block is touched by
 * the allocator. From malloc's threshold on, the block is a mapping of its own.
 */
LEAKY_SITE static void reserve(const struct value *given)
{
	size_t size = page_bytes();
	size_t pages = (given[0].number + size - 1) / size;
	void *address;
	int error;

	if (block.address) {
		refuse("there is a block already: release comes first");
		return;
	}
	if ((error = posix_memalign(&address, size, pages * size))) {
		refuse("malloc: %s", strerror(error));
		return;
	}
	if (pages * size >= THRESHOLD_BYTES)
		set_apart(address, pages * size);
	block.address = address;
	block.pages = pages;
	answer_address("address", block.address);
	answer("bytes", pages * size);
	answer("pages", pages);
	answer("page_bytes", size);
}

/* Returns whether there is such a part of a block; else the command is refused. */
static int has_pages(uint64_t first, uint64_t count)
{
	if (!block.address)
		refuse("there is no block: reserve comes first");
	else if (first > block.pages || count > block.pages - first)
		refuse("the block has %zu pages, numbered from 0", block.pages);
	return block.address && !commands.is_refused;
}

static void write_part(uint64_t first, uint64_t count)
{
	if (has_pages(first, count))
		access_and_count(write_pages, block.address + first * page_bytes(), count);
}

static void touch(const struct value *given)
{
	write_part(0, block.pages * given[0].number / 100);
}

static void touch_part(const struct value *given)
{
	write_part(given[0].number, given[1].number);
}

static void read_part(const struct value *given)
{
	if (has_pages(given[0].number, given[1].number))
		access_and_count(read_pages, block.address + given[0].number * page_bytes(),
			given[1].number);
}

LEAKY_SITE static void release(const struct value *given)
{
	(void)given;
	if (!has_pages(0, 0))
		return;
	free(block.address);
	answer("pages", block.pages);
	block.address = NULL;
	block.pages = 0;
}

static const struct command child_commands[] = {
	{ "write", touch_part, { NUMBER("FIRST", 0, 0), NUMBER("COUNT", 0, MOST_BYTES) } },
	{ "read", read_part, { NUMBER("FIRST", 0, 0), NUMBER("COUNT", 0, MOST_BYTES) } },
	{ 0 },
};

static void fork_child(const struct value *given)
{
	(void)given;
	start_child(child_commands);
}

static void child_write(const struct value *given)
{
	ask_child("write 0 %" PRIu64 "\n", given[0].number);
}

static void child_read(const struct value *given)
{
	ask_child("read 0 %" PRIu64 "\n", given[0].number);
}

static void let_child_end(const struct value *given)
{
	(void)given;
	end_child();
}

static const struct command table[] = {
	{ "reserve", reserve, { NUMBER("BYTES", 1, MOST_BYTES) } },
	{ "touch", touch, { NUMBER("PERCENT", 0, 100) } },
	{ "touch_pages", touch_part,
		{ NUMBER("FIRST", 0, MOST_BYTES), NUMBER("COUNT", 0, MOST_BYTES) } },
	{ "read_pages", read_part,
		{ NUMBER("FIRST", 0, MOST_BYTES), NUMBER("COUNT", 0, MOST_BYTES) } },
	{ "release", release, { { 0 } } },
	{ "fork", fork_child, { { 0 } } },
	{ "child_write", child_write, { NUMBER("COUNT", 0, MOST_BYTES) } },
	{ "child_read", child_read, { NUMBER("COUNT", 0, MOST_BYTES) } },
	{ "end_child", let_child_end, { { 0 } } },
	{ 0 },
};

/*
 * The threshold is fixed at its default. By itself it would rise with the first release (and the
 * next block of that size would come from the heap): that is the lesson of blocks.c.
 */
int main(int argc, char **argv)
{
	start_commands(argc, argv);
	if (!mallopt(M_MMAP_THRESHOLD, THRESHOLD_BYTES))
		leaky_fail("mallopt");
	serve_commands(argv[0], table);
	return 0;
}
