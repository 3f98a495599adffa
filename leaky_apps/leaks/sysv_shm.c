/*
 * sysv_shm.c - gives each report a segment of System V shared memory, and only detaches from it.
 *
 * usage: sysv_shm [--rate R] [--terms N] [--wait] [--lifetime S] [--stay]
 *
 * A segment that nobody is attached to is still there, with all its pages. It goes when somebody
 * asks for that (IPC_RMID), or with the machine. (Here a child does it after the program's end.)
 *
 * Try: ./sysv_shm --rate 10 & ipcs -m
 */
#define _GNU_SOURCE
#include <sys/shm.h>

#include "survivors.h"

#ifndef REPORT_BYTES
#define REPORT_BYTES 16384
#endif

/* "ml" and a number: by this ./lab clean knows the segments. */
#define FIRST_KEY 0x6d6c0000
#define KEYS 0x10000

/* Another program may have the key; then the next one does. */
LEAKY_SITE static int make_segment(uint64_t n)
{
	int segment = -1;

	for (uint64_t tried = 0; segment < 0 && tried < KEYS; tried++) {
		key_t key = (key_t)(FIRST_KEY + ((uint64_t)getpid() * 7 + n + tried) % KEYS);

		segment = shmget(key, REPORT_BYTES, IPC_CREAT | IPC_EXCL | 0600);
		if (segment < 0 && errno != EEXIST)
			leaky_fail("shmget");
	}
	return segment;
}

LEAKY_SITE static void write_report(uint64_t n)
{
	int segment = make_segment(n);
	char *report = shmat(segment, NULL, 0);

	if (report == (void *)-1)
		leaky_fail("shmat");
	memset(report, 'a' + (int)(n % 26), REPORT_BYTES);
	if (shmdt(report))
		leaky_fail("shmdt");
}

static void work(uint64_t n)
{
	count_survivor(n);
	write_report(n);
	printf("report %" PRIu64 " is written\n", n);
}

static void remove_all(pid_t owner)
{
	struct shm_info info;
	struct shmid_ds found;
	int last = shmctl(0, SHM_INFO, (struct shmid_ds *)&info);

	for (int place = 0; place <= last; place++) {
		int segment = shmctl(place, SHM_STAT, &found);

		if (segment >= 0 && found.shm_cpid == owner && found.shm_perm.cuid == getuid())
			shmctl(segment, IPC_RMID, NULL);
	}
}

int main(int argc, char **argv)
{
	struct leaky_options options = leaky_start(argc, argv);

	guard_survivors(remove_all);
	leaky_run(&options, work);
	return 0;
}
