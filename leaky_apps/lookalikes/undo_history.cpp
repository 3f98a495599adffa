/*
 * undo_history.cpp - an editor that can undo: it keeps each state of the text, up to a number.
 *
 * usage: undo_history [--rate R] [--terms N] [--wait] [--lifetime S] [--stay]
 *
 * Try: ./undo_history --rate 50     full after two seconds; then each step drops the oldest one
 */
#include <deque>
#include <string>

#include "leaky.h"

#ifndef STEPS
#define STEPS 100
#endif
#ifndef TEXT_LETTERS
#define TEXT_LETTERS 1200
#endif

static std::deque<std::string> history;

LEAKY_SITE static void remember(const std::string &text)
{
	history.push_back(text);
	if (history.size() > STEPS)
		history.pop_front();
}

static void type(uint64_t n)
{
	std::string text(TEXT_LETTERS, char('a' + n % 26));

	remember(text);
	printf("key %" PRIu64 ": %zu steps can be undone\n", n, history.size());
}

int main(int argc, char **argv)
{
	leaky_options options = leaky_start(argc, argv);

	leaky_run(&options, type);
	return 0;
}
