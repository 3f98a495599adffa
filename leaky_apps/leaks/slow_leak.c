/*
 * slow_leak.c - watches a sensor; a reading that is out of range costs one block, every few
 * seconds.
 *
 * usage: slow_leak [--rate R] [--terms N] [--wait] [--lifetime S] [--stay]
 *
 * Who watches for too short a time sees nothing. At one reading a second it loses some 40 MB in a
 * year: the service that has to be restarted each spring.
 *
 * Try: ./slow_leak --rate 2     one block in two seconds
 */
#include "leaky.h"

#ifndef ALARM_BYTES
#define ALARM_BYTES 5000
#endif
#ifndef ALARM_EVERY
#define ALARM_EVERY 4
#endif

static char *last_alarm;

LEAKY_SITE static char *describe_alarm(uint64_t n)
{
	char *alarm_text = malloc(ALARM_BYTES);

	if (!alarm_text)
		leaky_fail("malloc");
	snprintf(alarm_text, ALARM_BYTES, "reading %" PRIu64 " is out of range", n);
	return alarm_text;
}

static void read_sensor(uint64_t n)
{
	if (n % ALARM_EVERY == 1)
		last_alarm = describe_alarm(n); /* and the alarm before it? */
	printf("reading %" PRIu64 ": %s\n", n, last_alarm ? last_alarm : "all is well");
}

int main(int argc, char **argv)
{
	struct leaky_options options = leaky_start(argc, argv);

	leaky_run(&options, read_sensor);
	free(last_alarm);
	return 0;
}
