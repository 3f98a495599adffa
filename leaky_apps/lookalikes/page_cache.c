/*
 * page_cache.c - writes a log to a file, and reads it again from time to time.
 *
 * usage: page_cache [--rate R] [--terms N] [--wait] [--lifetime S] [--stay]
 *
 * Free memory falls and the column "cache" of vmstat grows: the kernel keeps what was written, in
 * case it is read again. The process itself does not grow. The file has a largest size; then it is
 * written from its beginning.
 *
 * Try: ./page_cache --rate 50 & vmstat 1
 */
#include "scratch_file.h"

#ifndef PART_KIB
#define PART_KIB 64
#endif
#ifndef FILE_MIB
#define FILE_MIB 32
#endif

#define PARTS ((FILE_MIB << 10) / PART_KIB)

static int file = -1;
static char part[PART_KIB << 10];

static void write_part(uint64_t n)
{
	off_t at = (off_t)(n % PARTS * sizeof(part));

	memset(part, 'a' + (int)(n % 26), sizeof(part));
	if (pwrite(file, part, sizeof(part), at) != sizeof(part))
		leaky_fail("write");
}

static void read_part(uint64_t n)
{
	off_t at = (off_t)(n / 2 % PARTS * sizeof(part));

	if (pread(file, part, sizeof(part), at) != sizeof(part))
		leaky_fail("read");
}

static void log_and_look(uint64_t n)
{
	if (file < 0)
		file = open_scratch_file();
	write_part(n);
	read_part(n);
	printf("part %" PRIu64 " written, %" PRIu64 " read: %c...\n", n, n / 2, part[0]);
}

int main(int argc, char **argv)
{
	struct leaky_options options = leaky_start(argc, argv);

	leaky_run(&options, log_and_look);
	if (file >= 0)
		close(file);
	return 0;
}
