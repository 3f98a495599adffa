/*
 * shallow_free.c - keeps appointments; deleting one frees the struct, and not what it points to.
 *
 * usage: shallow_free [--rate R] [--terms N] [--wait] [--lifetime S] [--stay]
 *
 * Try: ./shallow_free --rate 100     the structs come back, the titles don't
 */
#include "leaky.h"

#ifndef TITLE_BYTES
#define TITLE_BYTES 512
#endif

struct appointment {
	char *title;
	time_t begins;
	unsigned minutes;
};

LEAKY_SITE static char *make_title(uint64_t n)
{
	char *title = malloc(TITLE_BYTES);

	if (!title)
		leaky_fail("malloc");
	snprintf(title, TITLE_BYTES, "meeting %" PRIu64, n);
	return title;
}

static struct appointment *make_appointment(uint64_t n)
{
	struct appointment *made = malloc(sizeof(*made));

	if (!made)
		leaky_fail("malloc");
	made->title = make_title(n);
	made->begins = (time_t)n * 3600;
	made->minutes = 30;
	return made;
}

LEAKY_SITE static void delete_appointment(struct appointment *appointment)
{
	free(appointment);
}

static void keep(uint64_t n)
{
	struct appointment *appointment = make_appointment(n);

	printf("%s: over after %u minutes\n", appointment->title, appointment->minutes);
	delete_appointment(appointment);
}

int main(int argc, char **argv)
{
	struct leaky_options options = leaky_start(argc, argv);

	leaky_run(&options, keep);
	return 0;
}
