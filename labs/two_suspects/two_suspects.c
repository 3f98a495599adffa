/*
 * two_suspects.c - keeps an album for each guest of a hotel, and writes a bill at each visit.
 *
 * usage: two_suspects [--rate R] [--terms N] [--wait] [--lifetime S] [--stay]
 *
 * Try: ./two_suspects --rate 50 > /dev/null & grep -E 'VmSize|RssAnon' /proc/$!/status
 */
#include <sys/mman.h>

#include "leaky.h"

#define GUESTS 300
#define ALBUM_KIB 256
#define LINES_BYTES 1900
#define PICTURE_BYTES 4096
#define ALBUM_BYTES ((size_t)ALBUM_KIB << 10)
#define PASTES_EVERY 8 /* only so many guests have a picture with them */

struct guest {
	unsigned visits;
	char *album;
};

struct bill {
	unsigned euros;
	char *lines;
};

static struct guest guests[GUESTS];

/* An album has room for many pictures: addresses, which become memory once there is a picture. */
LEAKY_SITE static char *open_album(void)
{
	char *album = mmap(NULL, ALBUM_BYTES, PROT_READ | PROT_WRITE,
		MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	if (album == MAP_FAILED)
		leaky_fail("mmap");
	madvise(album, ALBUM_BYTES, MADV_NOHUGEPAGE); /* a picture is small */
	return album;
}

static void paste_picture(char *album, unsigned number)
{
	char *picture = album + number % (ALBUM_BYTES / PICTURE_BYTES) * PICTURE_BYTES;

	memset(picture, 'a' + number % 26, PICTURE_BYTES - 1);
}

static unsigned count_pictures(const char *album)
{
	unsigned count = 0;

	for (size_t at = 0; at < ALBUM_BYTES; at += PICTURE_BYTES)
		count += album[at] != 0;
	return count;
}

static struct guest *welcome(unsigned number)
{
	struct guest *guest = &guests[number];

	if (!guest->visits++) {
		guest->album = open_album();
		if (number % PASTES_EVERY == 0)
			paste_picture(guest->album, number);
	}
	return guest;
}

LEAKY_SITE static struct bill *write_bill(unsigned number, unsigned visits)
{
	struct bill *bill = malloc(sizeof(*bill));

	if (!bill)
		leaky_fail("malloc");
	bill->lines = malloc(LINES_BYTES);
	if (!bill->lines)
		leaky_fail("malloc");
	memset(bill->lines, ' ', LINES_BYTES);
	bill->euros = 80 + number % 7 * 5 - (visits > 1 ? 10 : 0);
	snprintf(bill->lines, LINES_BYTES, "guest %u, visit %u: %u euros", number, visits,
		bill->euros);
	return bill;
}

static void drop_bill(struct bill *bill)
{
	free(bill);
}

static void receive(uint64_t n)
{
	unsigned number = (unsigned)(n % GUESTS);
	const struct guest *guest = welcome(number);
	struct bill *bill = write_bill(number, guest->visits);

	printf("%u of %zu pictures are in the album of %s\n", count_pictures(guest->album),
		ALBUM_BYTES / PICTURE_BYTES, bill->lines);
	drop_bill(bill);
}

int main(int argc, char **argv)
{
	struct leaky_options options = leaky_start(argc, argv);

	leaky_run(&options, receive);
	return 0;
}
