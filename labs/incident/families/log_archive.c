/*
 * incident.c - an archive of logs: packs each log in a segment of its own, and remembers the last.
 *
 * usage: incident [--rate R] [--terms N] [--wait] [--lifetime S] [--stay]
 *
 * A term is a log.
 */
#include <sys/mman.h>

#include "leaky.h"

/* How it is run: with --rate SERVICE_RATE, in a container of CONTAINER_MIB MiB without swap. */
#define SERVICE_RATE 5
#define CONTAINER_MIB 64

#define HEADER_PAGES 3
#define LOG_PAGES 8
#define LINE_BYTES 128
#define NOTES 82
#define NOTE_BYTES 12000

static size_t page_bytes;
static char *notes[NOTES];

LEAKY_SITE static char *map_segment(void)
{
	size_t bytes = (HEADER_PAGES + LOG_PAGES) * page_bytes;
	char *segment =
		mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (segment == MAP_FAILED)
		leaky_fail("mmap");
	return segment;
}

LEAKY_SITE static void unmap_segment(char *segment)
{
	if (munmap(segment, LOG_PAGES * page_bytes))
		leaky_fail("munmap");
}

/* The header comes first: how many lines begin with which letter. */
LEAKY_SITE static unsigned pack(char *segment, uint64_t n)
{
	uint32_t *counts = (uint32_t *)segment;
	char *log = segment + HEADER_PAGES * page_bytes;
	unsigned packed = 0;

	for (size_t line = 0; line < LOG_PAGES * page_bytes; line += LINE_BYTES) {
		memset(log + line, (int)('a' + (n + line / 7) % 26), LINE_BYTES);
		counts[log[line] - 'a']++;
	}
	for (unsigned letter = 0; letter < 26; letter++)
		packed += counts[letter] % 97;
	return packed;
}

LEAKY_SITE static char *make_note(uint64_t n, unsigned packed)
{
	char *note = malloc(NOTE_BYTES);

	if (!note)
		leaky_fail("malloc");
	memset(note, ' ', NOTE_BYTES);
	snprintf(note, NOTE_BYTES, "log %" PRIu64 " is packed: %u", n, packed);
	return note;
}

LEAKY_SITE static void remember(uint64_t n, char *note)
{
	free(notes[n % NOTES]);
	notes[n % NOTES] = note;
}

static void archive(uint64_t n)
{
	char *segment = map_segment();

	remember(n, make_note(n, pack(segment, n)));
	unmap_segment(segment);
	puts(notes[n % NOTES]);
}

int main(int argc, char **argv)
{
	struct leaky_options options = leaky_start(argc, argv);

	page_bytes = (size_t)sysconf(_SC_PAGESIZE);
	leaky_run(&options, archive);
	return 0;
}
