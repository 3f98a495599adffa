/*
 * environment.c - tells its plug-ins by the environment which job it is at, and loses the old word.
 *
 * usage: environment [--rate R] [--terms N] [--wait] [--lifetime S] [--stay]
 *
 * putenv takes the string itself, not a copy: it must stay as long as it is in the environment. Who
 * puts a new one there has to free the old one, and only he knows that it came from malloc.
 *
 * Try: ./environment --rate 100
 */
#include "leaky.h"

#ifndef SETTING_BYTES
#define SETTING_BYTES 300
#endif

LEAKY_SITE static void announce(uint64_t job)
{
	char *setting = malloc(SETTING_BYTES);

	if (!setting)
		leaky_fail("malloc");
	snprintf(setting, SETTING_BYTES, "CURRENT_JOB=%" PRIu64, job);
	if (putenv(setting))
		leaky_fail("putenv");
}

static void run_job(uint64_t n)
{
	announce(n);
	printf("job %s runs\n", getenv("CURRENT_JOB"));
}

int main(int argc, char **argv)
{
	struct leaky_options options = leaky_start(argc, argv);

	leaky_run(&options, run_job);
	return 0;
}
