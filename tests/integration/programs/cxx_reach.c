/*
 * cxx_reach.c - the start of the program whose other part is cxx_reach.cpp.
 *
 * usage: cxx_reach [--wait]
 */
#include "leaky.h"

void reached_by_cookie(void);
void reached_from_vector(void);
void reached_from_map(void);
void lost_elements(void);

LEAKY_SITE static void wipe(int frames)
{
	volatile char left[512];

	memset((void *)left, 0, sizeof(left));
	if (frames)
		wipe(frames - 1);
}

int main(int argc, char **argv)
{
	struct leaky_options options = leaky_start(argc, argv);

	leaky_wait_for_release(&options);
	reached_by_cookie();
	reached_from_vector();
	reached_from_map();
	lost_elements();
	wipe(100);
	for (;;)
		pause();
}
