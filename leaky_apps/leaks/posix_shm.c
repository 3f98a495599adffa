/*
 * posix_shm.c - hands each picture to a viewer through shared memory, and never removes its name.
 *
 * usage: posix_shm [--rate R] [--terms N] [--wait] [--lifetime S] [--stay]
 *
 * It unmaps the memory and closes the file, so the process looks clean: no heap, no open file, no
 * mapping. The segments are files in /dev/shm, whose pages are memory, and stay after the process.
 * (Here a child removes them after its end, so that your machine does not fill.)
 *
 * Try: ./posix_shm --rate 10 & ls -l /dev/shm; free
 */
#include <sys/mman.h>

#include "survivors.h"

#ifndef PICTURE_BYTES
#define PICTURE_BYTES 16384
#endif

static void name_segment(char *name, size_t room, pid_t owner, uint64_t n)
{
	snprintf(name, room, "/memory-leak-lab-%u-%d-%" PRIu64, getuid(), (int)owner, n);
}

LEAKY_SITE static void hand_over(uint64_t n)
{
	char name[64];
	int file;
	char *picture;

	name_segment(name, sizeof(name), getpid(), n);
	file = shm_open(name, O_RDWR | O_CREAT | O_EXCL, 0600);
	if (file < 0 || ftruncate(file, PICTURE_BYTES))
		leaky_fail("shm_open");
	picture = mmap(NULL, PICTURE_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
	if (picture == MAP_FAILED)
		leaky_fail("mmap");
	memset(picture, (int)(n % 256), PICTURE_BYTES);
	if (munmap(picture, PICTURE_BYTES) || close(file))
		leaky_fail("letting go of the picture");
}

static void show(uint64_t n)
{
	count_survivor(n);
	hand_over(n);
	printf("picture %" PRIu64 " is on the screen\n", n);
}

static void remove_all(pid_t owner)
{
	char name[64];

	for (uint64_t n = 0; n < MOST_SURVIVORS; n++) {
		name_segment(name, sizeof(name), owner, n);
		shm_unlink(name);
	}
}

int main(int argc, char **argv)
{
	struct leaky_options options = leaky_start(argc, argv);

	guard_survivors(remove_all);
	leaky_run(&options, show);
	return 0;
}
