/* wrong: the second close hits the journal; expects: "writing the journal: Bad file descriptor" */
/*
 * fd_leak.c - looks at a notice board, time after time; what is new goes into its journal.
 *
 * usage: fd_leak [--rate R] [--terms N] [--wait] [--lifetime S] [--stay]
 *
 * Try: ./fd_leak --rate 10 > /dev/null & ls -l /proc/$!/fd
 */
#include "scratch_file.h"

#define NEWS_EVERY 4 /* somebody pins a new note so often */

static int board = -1, journal = -1;
static char board_path[64], last_seen[64];

static void pin_note(uint64_t n)
{
	char note[sizeof(last_seen)] = "";

	if (board < 0) {
		board = open_scratch_file();
		snprintf(board_path, sizeof(board_path), "/proc/self/fd/%d", board);
	}
	snprintf(note, sizeof(note), "meeting number %" PRIu64 " is at noon", n / NEWS_EVERY + 1);
	if (pwrite(board, note, sizeof(note), 0) != sizeof(note))
		leaky_fail("pwrite");
}

/* The journal stays open as long as the program runs. */
LEAKY_SITE static void write_journal(const char *note)
{
	if (journal < 0)
		journal = open_scratch_file();
	if (dprintf(journal, "%s\n", note) < 0)
		leaky_fail("writing the journal");
}

/* Returns whether the note on the board is new; then it goes into the journal. */
LEAKY_SITE static int is_new(void)
{
	char note[sizeof(last_seen)];
	int file = open(board_path, O_RDONLY | O_CLOEXEC);

	if (file < 0)
		leaky_fail("open");
	if (read(file, note, sizeof(note)) != sizeof(note))
		leaky_fail("reading the board");
	close(file);
	if (!strcmp(note, last_seen))
		return 0;
	strcpy(last_seen, note);
	write_journal(note);
	close(file);
	return 1;
}

static void look(uint64_t n)
{
	if (n % NEWS_EVERY == 0)
		pin_note(n);
	if (is_new())
		printf("look %" PRIu64 " at the board, and there is something new: %s\n", n,
			last_seen);
	else
		printf("look %" PRIu64 " at the board, which still says the same: %s\n", n,
			last_seen);
}

int main(int argc, char **argv)
{
	struct leaky_options options = leaky_start(argc, argv);

	leaky_run(&options, look);
	return 0;
}
