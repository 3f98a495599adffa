/*
 * reload_on_signal.c - reads its settings again on SIGHUP, and loses those that it had.
 *
 * usage: reload_on_signal [--rate R] [--terms N] [--wait] [--lifetime S] [--stay]
 *
 * A daemon's way to be reconfigured. The handler only sets a mark, as it should; the loop loads the
 * new settings, because malloc must not be called in a handler.
 *
 * Try: ./reload_on_signal --rate 10     it sends the signal to itself
 */
#include "leaky.h"

#ifndef SETTINGS_BYTES
#define SETTINGS_BYTES 3000
#endif

static volatile sig_atomic_t is_stale = 1;
static char *settings;

static void mark_stale(int signal_number)
{
	(void)signal_number;
	is_stale = 1;
}

LEAKY_SITE static char *load_settings(uint64_t version)
{
	char *loaded = malloc(SETTINGS_BYTES);

	if (!loaded)
		leaky_fail("malloc");
	snprintf(loaded, SETTINGS_BYTES, "version = %" PRIu64, version);
	return loaded;
}

static void serve(uint64_t n)
{
	if (is_stale) {
		is_stale = 0;
		settings = load_settings(n);
	}
	puts(settings);
	if (raise(SIGHUP))
		leaky_fail("raise");
}

int main(int argc, char **argv)
{
	struct leaky_options options = leaky_start(argc, argv);

	if (signal(SIGHUP, mark_stale) == SIG_ERR)
		leaky_fail("signal");
	leaky_run(&options, serve);
	free(settings);
	return 0;
}
