/*
 * callback_registry.c - tells its windows when the theme changes; a closed window is told as well.
 *
 * usage: callback_registry [--rate R] [--terms N] [--wait] [--lifetime S] [--stay]
 *
 * A window that opens registers what is to be called, with a closure: the data that the call is
 * about. Nobody takes it out again when the window closes. All of it is still pointed at, so no
 * tool that looks for lost blocks complains.
 *
 * Try: ./callback_registry --rate 50     each change of the theme takes longer than the last
 */
#include "leaky.h"

#ifndef CLOSURE_BYTES
#define CLOSURE_BYTES 1000 /* the node has 24 more */
#endif

struct handler {
	struct handler *next;
	void (*call)(struct handler *handler);
	uint64_t window;
	char closure[CLOSURE_BYTES];
};

static struct handler *handlers;
static unsigned told;

LEAKY_SITE static void on_theme_change(void (*call)(struct handler *), uint64_t window)
{
	struct handler *handler = malloc(sizeof(*handler));

	if (!handler)
		leaky_fail("malloc");
	handler->call = call;
	handler->window = window;
	memset(handler->closure, 0, sizeof(handler->closure));
	handler->next = handlers;
	handlers = handler;
}

static void redraw(struct handler *handler)
{
	handler->closure[0]++;
	told++;
}

static void change_theme(void)
{
	told = 0;
	for (struct handler *handler = handlers; handler; handler = handler->next)
		handler->call(handler);
}

static void open_and_close_window(uint64_t n)
{
	on_theme_change(redraw, n);
	if (n % 10 == 9) {
		change_theme();
		printf("window %" PRIu64 " was open; %u were told of the new theme\n", n, told);
	}
}

int main(int argc, char **argv)
{
	struct leaky_options options = leaky_start(argc, argv);

	leaky_run(&options, open_and_close_window);
	puts("bye");
	return 0;
}
