/*
 * shm_survivor.c - a gauge and a clerk share a table of tides; the table outlives them both.
 *
 * usage: shm_survivor [--rate R] [--terms N] [--wait] [--lifetime S] [--stay]
 *
 * The gauge is a process of its own. It writes the tides of a day into the table, which lies in
 * shared memory, and the clerk reads them there. By two pipes each tells the other when.
 *
 * Try: ./shm_survivor --rate 100 --terms 50; ls -l /dev/shm
 */
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/wait.h>

#include "leaky.h"

#define DAYS 20000
#define NOT_MEASURED UINT32_MAX
#define TABLE_BYTES (DAYS * sizeof(struct day))

struct day {
	uint32_t number;
	int16_t centimetres[24]; /* one for each hour */
};

static char table_name[64];
static struct day *table;
static int orders[2], answers[2]; /* pipes: to the gauge, and from it */
static pid_t gauge;

static void map_table(int file)
{
	void *mapped = mmap(NULL, TABLE_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);

	if (mapped == MAP_FAILED)
		leaky_fail("mapping the table");
	close(file);
	table = mapped;
}

LEAKY_SITE static void make_table(void)
{
	int file = shm_open(table_name, O_RDWR | O_CREAT | O_EXCL, 0600);

	if (file < 0 || ftruncate(file, TABLE_BYTES))
		leaky_fail("making the table");
	map_table(file);
	for (unsigned place = 0; place < DAYS; place++)
		table[place].number = NOT_MEASURED;
}

/* The other process knows nothing of the table but its name. */
LEAKY_SITE static void open_table(void)
{
	int file = shm_open(table_name, O_RDWR, 0);

	if (file < 0)
		leaky_fail("opening the table");
	map_table(file);
}

static void tell(int pipe_end, uint64_t number)
{
	if (write(pipe_end, &number, sizeof(number)) != sizeof(number))
		leaky_fail("write");
}

/* Returns whether there was something: the one at the other end may have ended. */
static int hear(int pipe_end, uint64_t *number)
{
	return read(pipe_end, number, sizeof(*number)) == sizeof(*number);
}

static void measure_day(uint64_t number)
{
	struct day *day = &table[number % DAYS];

	day->number = (uint32_t)number;
	for (unsigned hour = 0; hour < 24; hour++) {
		unsigned phase = (unsigned)(number * 24 + hour) % 25 * 4;

		day->centimetres[hour] = (int16_t)(phase < 50 ? phase * 5 : (100 - phase) * 5);
	}
}

static void run_gauge(void)
{
	uint64_t number;

	close(orders[1]);
	close(answers[0]);
	if (!hear(orders[0], &number))
		_exit(0);
	open_table();
	for (;;) {
		tell(answers[1], number);
		if (!hear(orders[0], &number))
			_exit(0);
		measure_day(number);
	}
}

static void start_gauge(void)
{
	if (pipe(orders) || pipe(answers))
		leaky_fail("pipe");
	gauge = fork();
	if (gauge < 0)
		leaky_fail("fork");
	if (!gauge)
		run_gauge();
	close(orders[0]);
	close(answers[1]);
}

static void ask_gauge(uint64_t number)
{
	uint64_t answer;

	tell(orders[1], number);
	if (!hear(answers[0], &answer))
		exit(2); /* the gauge has ended, and has said why */
}

static void note_day(uint64_t n)
{
	const struct day *day = &table[n % DAYS];
	unsigned high = 0, low = 0;

	ask_gauge(n);
	for (unsigned hour = 1; hour < 24; hour++) {
		if (day->centimetres[hour] > day->centimetres[high])
			high = hour;
		if (day->centimetres[hour] < day->centimetres[low])
			low = hour;
	}
	printf("day %" PRIu32 ": high water at %u:00, %d cm, low water at %u:00, %d cm\n",
		day->number, high, day->centimetres[high], low, day->centimetres[low]);
}

int main(int argc, char **argv)
{
	struct leaky_options options = leaky_start(argc, argv);

	snprintf(table_name, sizeof(table_name), "/memory-leak-lab-%u-tides-%d", getuid(),
		(int)getpid());
	start_gauge();
	make_table();
	ask_gauge(0); /* it has opened the table when it answers */
	leaky_run(&options, note_day);
	close(orders[1]);
	if (waitpid(gauge, NULL, 0) != gauge || munmap(table, TABLE_BYTES))
		leaky_fail("letting go of the table");
	return 0;
}
