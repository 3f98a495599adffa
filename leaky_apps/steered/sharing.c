/*
 * sharing.c - constants, and mappings that are private, shared, of a file, or outlive the process.
 *
 * usage: sharing [--lifetime S]
 *
 *   constant               the address of a constant, and its value
 *   globals                the addresses of a global with a value and of one without
 *   write_constant         write to the constant: the kernel kills the process
 *   write_code             the same with an instruction
 *   unprotect              have the kernel make the constant's page writable: then it works
 *   map_private PAGES      mmap, private
 *   map_shared PAGES       mmap, shared: with the children
 *   map_file PATH          map a file, privately: what is written is not written to the file
 *   map_file_shared PATH   map a file, shared: it is
 *   unmap                  give back the newest mapping
 *   shm_create NAME BYTES  a shared memory segment: it outlives the process
 *   shm_attach NAME        map a segment that is there
 *   shm_unlink NAME        remove its name: it goes with the last process that has mapped it
 *   fork                   a child process, which has the same mappings
 *   parent_write COUNT, parent_read COUNT     one byte in each of the first COUNT pages
 *   parent_put PAGE VALUE, parent_get PAGE    one value in one page
 *   child_write, child_read, child_put, child_get  the same by the child
 *   end_child              the child ends
 *
 * These use the newest mapping. Segments lie in /dev/shm, as memory-leak-lab-UID-NAME.
 *
 * Try: ./sharing                        and type: shm_create table 1000000, then Ctrl-D
 * Try: ls -l /dev/shm                   the process is gone, its segment is not
 * Try: ./sharing                        and type: shm_unlink table
 *
 * What leaks here is up to who types: a segment that nobody unlinks, a mapping that nobody unmaps.
 */
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include "children.h"
#include "touching.h"

#define MOST_MAPPINGS 256
#define MOST_PAGES 65536
#define MOST_SHARED_BYTES                                                                          \
	((uint64_t)256 << 20) /* the cap of an app doesn't count shared memory                     \
			       */
#define NAME_CHARACTERS "abcdefghijklmnopqrstuvwxyz0123456789_"

static const char constant[] = "a constant";
static volatile long initialised = 42;
static volatile long zeroed;

static struct {
	struct mapping {
		volatile char *address;
		size_t bytes;
		int sharing;
	} items[MOST_MAPPINGS];
	size_t count;
	uint64_t shared_bytes;
} mappings;

static void answer_constant(const struct value *given)
{
	(void)given;
	answer_address("address", constant);
	answer("value", *(const volatile unsigned char *)constant);
}

static void globals(const struct value *given)
{
	(void)given;
	answer_address("initialised", &initialised);
	answer_address("zeroed", &zeroed);
}

LEAKY_SITE static void write_byte(volatile char *address)
{
	*address = 'A';
}

static void write_constant(const struct value *given)
{
	write_byte((volatile char *)constant);
	answer_constant(given);
}

static void write_code(const struct value *given)
{
	(void)given;
	write_byte((volatile char *)write_byte);
}

static void unprotect(const struct value *given)
{
	uintptr_t page = (uintptr_t)constant & ~(uintptr_t)(page_bytes() - 1);

	(void)given;
	if (mprotect((void *)page, (uintptr_t)constant + sizeof(constant) - page,
		    PROT_READ | PROT_WRITE))
		refuse_errno("mprotect");
	answer_address("page", (void *)page);
}

/* Returns the newest mapping, if it has so many pages; else the command is refused. */
static const struct mapping *find_mapping(uint64_t pages)
{
	const struct mapping *newest = NULL;

	if (mappings.count)
		newest = &mappings.items[mappings.count - 1];
	if (!newest)
		refuse("nothing is mapped");
	else if (pages > newest->bytes / page_bytes())
		refuse("the newest mapping has %zu pages", newest->bytes / page_bytes());
	return commands.is_refused ? NULL : newest;
}

/* Maps, remembers and answers. `file` -1: none. */
LEAKY_SITE static void map(uint64_t bytes, int sharing, int file)
{
	struct mapping made = { .sharing = sharing };
	void *address;

	made.bytes = (bytes + page_bytes() - 1) / page_bytes() * page_bytes();
	if (mappings.count == MOST_MAPPINGS)
		refuse("there are %d mappings already", MOST_MAPPINGS);
	if (sharing == MAP_SHARED && mappings.shared_bytes + made.bytes > MOST_SHARED_BYTES)
		refuse("this app may share %" PRIu64 " bytes in all", MOST_SHARED_BYTES);
	if (commands.is_refused)
		return;
	address = mmap(NULL, made.bytes, PROT_READ | PROT_WRITE,
		sharing | (file < 0 ? MAP_ANONYMOUS : 0), file, 0);
	if (address == MAP_FAILED) {
		refuse_errno("mmap");
		return;
	}
	set_apart(address, made.bytes);
	made.address = address;
	mappings.items[mappings.count++] = made;
	if (sharing == MAP_SHARED)
		mappings.shared_bytes += made.bytes;
	answer_address("address", made.address);
	answer("bytes", made.bytes);
	answer("pages", made.bytes / page_bytes());
	answer("mappings", mappings.count);
}

static void map_private(const struct value *given)
{
	map(given[0].number * page_bytes(), MAP_PRIVATE, -1);
}

static void map_shared(const struct value *given)
{
	map(given[0].number * page_bytes(), MAP_SHARED, -1);
}

/* Maps all of what a descriptor leads to, and closes it: the mapping stays. */
static void map_all(int file, int sharing)
{
	struct stat found;

	if (fstat(file, &found))
		refuse_errno("fstat");
	else if (!S_ISREG(found.st_mode) || !found.st_size)
		refuse("it is not a file, or it is empty");
	else
		map((uint64_t)found.st_size, sharing, file);
	if (close(file))
		leaky_fail("close");
}

static void map_file(const struct value *given)
{
	int file = open(given[0].word, O_RDONLY | O_CLOEXEC | O_NONBLOCK);

	if (file < 0)
		refuse_errno(given[0].word);
	else
		map_all(file, MAP_PRIVATE);
}

static void map_file_shared(const struct value *given)
{
	int file = open(given[0].word, O_RDWR | O_CLOEXEC | O_NONBLOCK);

	if (file < 0)
		refuse_errno(given[0].word);
	else
		map_all(file, MAP_SHARED);
}

LEAKY_SITE static void unmap(const struct value *given)
{
	const struct mapping *newest = find_mapping(0);

	(void)given;
	if (!newest)
		return;
	if (munmap((void *)newest->address, newest->bytes))
		leaky_fail("munmap");
	if (newest->sharing == MAP_SHARED)
		mappings.shared_bytes -= newest->bytes;
	mappings.count--;
	answer("bytes", newest->bytes);
	answer("mappings", mappings.count);
}

/* Returns the segment's name, or NULL if it can't be one; then the command is refused. */
static const char *name_segment(const char *word)
{
	static char name[100];

	if (strlen(word) > 40 || word[strspn(word, NAME_CHARACTERS)]) {
		refuse("NAME is at most 40 small letters, digits and _, not %.40s", word);
		return NULL;
	}
	snprintf(name, sizeof(name), "/memory-leak-lab-%u-%s", (unsigned)getuid(), word);
	return name;
}

LEAKY_SITE static void shm_create(const struct value *given)
{
	const char *name = name_segment(given[0].word);
	int file;

	if (!name)
		return;
	file = shm_open(name, O_RDWR | O_CREAT | O_EXCL, 0600);
	if (file < 0) {
		refuse_errno(name);
		return;
	}
	if (ftruncate(file, (off_t)given[1].number))
		refuse_errno("ftruncate");
	map_all(file, MAP_SHARED);
	if (commands.is_refused && shm_unlink(name))
		leaky_fail("shm_unlink");
}

LEAKY_SITE static void shm_attach(const struct value *given)
{
	const char *name = name_segment(given[0].word);
	int file = name ? shm_open(name, O_RDWR, 0) : -1;

	if (file < 0)
		refuse_errno(given[0].word);
	else
		map_all(file, MAP_SHARED);
}

static void remove_segment(const struct value *given)
{
	const char *name = name_segment(given[0].word);

	if (name && shm_unlink(name))
		refuse_errno(given[0].word);
}

static void write_some(const struct value *given)
{
	const struct mapping *newest = find_mapping(given[0].number);

	if (newest)
		access_and_count(write_pages, newest->address, given[0].number);
}

static void read_some(const struct value *given)
{
	const struct mapping *newest = find_mapping(given[0].number);

	if (newest)
		access_and_count(read_pages, newest->address, given[0].number);
}

static void put(const struct value *given)
{
	const struct mapping *newest = find_mapping(given[0].number + 1);

	if (newest)
		newest->address[given[0].number * page_bytes()] = (char)given[1].number;
	answer("value", given[1].number);
}

static void get(const struct value *given)
{
	const struct mapping *newest = find_mapping(given[0].number + 1);

	if (newest)
		answer("value", (unsigned char)newest->address[given[0].number * page_bytes()]);
}

static const struct command child_commands[] = {
	{ "write", write_some, { NUMBER("COUNT", 0, MOST_PAGES) } },
	{ "read", read_some, { NUMBER("COUNT", 0, MOST_PAGES) } },
	{ "put", put, { NUMBER("PAGE", 0, MOST_PAGES), NUMBER("VALUE", 0, 255) } },
	{ "get", get, { NUMBER("PAGE", 0, MOST_PAGES) } },
	{ 0 },
};

static void fork_child(const struct value *given)
{
	(void)given;
	start_child(child_commands);
}

static void child_write(const struct value *given)
{
	ask_child("write %" PRIu64 "\n", given[0].number);
}

static void child_read(const struct value *given)
{
	ask_child("read %" PRIu64 "\n", given[0].number);
}

static void child_put(const struct value *given)
{
	ask_child("put %" PRIu64 " %" PRIu64 "\n", given[0].number, given[1].number);
}

static void child_get(const struct value *given)
{
	ask_child("get %" PRIu64 "\n", given[0].number);
}

static void let_child_end(const struct value *given)
{
	(void)given;
	end_child();
}

static const struct command table[] = {
	{ "constant", answer_constant, { { 0 } } },
	{ "globals", globals, { { 0 } } },
	{ "write_constant", write_constant, { { 0 } } },
	{ "write_code", write_code, { { 0 } } },
	{ "unprotect", unprotect, { { 0 } } },
	{ "map_private", map_private, { NUMBER("PAGES", 1, MOST_PAGES) } },
	{ "map_shared", map_shared, { NUMBER("PAGES", 1, MOST_PAGES) } },
	{ "map_file", map_file, { WORD("PATH") } },
	{ "map_file_shared", map_file_shared, { WORD("PATH") } },
	{ "unmap", unmap, { { 0 } } },
	{ "shm_create", shm_create, { WORD("NAME"), NUMBER("BYTES", 1, MOST_SHARED_BYTES) } },
	{ "shm_attach", shm_attach, { WORD("NAME") } },
	{ "shm_unlink", remove_segment, { WORD("NAME") } },
	{ "fork", fork_child, { { 0 } } },
	{ "parent_write", write_some, { NUMBER("COUNT", 0, MOST_PAGES) } },
	{ "parent_read", read_some, { NUMBER("COUNT", 0, MOST_PAGES) } },
	{ "parent_put", put, { NUMBER("PAGE", 0, MOST_PAGES), NUMBER("VALUE", 0, 255) } },
	{ "parent_get", get, { NUMBER("PAGE", 0, MOST_PAGES) } },
	{ "child_write", child_write, { NUMBER("COUNT", 0, MOST_PAGES) } },
	{ "child_read", child_read, { NUMBER("COUNT", 0, MOST_PAGES) } },
	{ "child_put", child_put, { NUMBER("PAGE", 0, MOST_PAGES), NUMBER("VALUE", 0, 255) } },
	{ "child_get", child_get, { NUMBER("PAGE", 0, MOST_PAGES) } },
	{ "end_child", let_child_end, { { 0 } } },
	{ 0 },
};

int main(int argc, char **argv)
{
	start_commands(argc, argv);
	serve_commands(argv[0], table);
	return 0;
}
