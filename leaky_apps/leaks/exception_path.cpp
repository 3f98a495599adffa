/*
 * exception_path.cpp - books rooms; where a booking throws, the delete behind it is jumped over.
 *
 * usage: exception_path [--rate R] [--terms N] [--wait] [--lifetime S] [--stay]
 *
 * The exception is caught and the guest is told. A std::vector or a std::unique_ptr would have
 * freed the form on the way out.
 *
 * Try: ./exception_path --rate 100     one booking in six is for a room that is taken
 */
#include <stdexcept>

#include "leaky.h"

#ifndef FORM_BYTES
#define FORM_BYTES 1800
#endif
#ifndef TAKEN_EVERY
#define TAKEN_EVERY 6
#endif

static void book(uint64_t room)
{
	if (room % TAKEN_EVERY == TAKEN_EVERY - 1)
		throw std::runtime_error("the room is taken");
}

LEAKY_SITE static void fill_in_form(uint64_t room)
{
	char *form = new char[FORM_BYTES];

	snprintf(form, FORM_BYTES, "room %" PRIu64 " is booked", room);
	book(room);
	puts(form);
	delete[] form;
}

static void take_booking(uint64_t n)
{
	try {
		fill_in_form(n);
	} catch (const std::runtime_error &error) {
		puts(error.what());
	}
}

int main(int argc, char **argv)
{
	leaky_options options = leaky_start(argc, argv);

	leaky_run(&options, take_booking);
	return 0;
}
