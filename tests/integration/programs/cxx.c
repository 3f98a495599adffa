/* cxx.c - starts and waits for the part that is written in C++, cxx.cpp. */
#include "leaky.h"

void work(void);

int main(int argc, char **argv)
{
	struct leaky_options options = leaky_start(argc, argv);

	leaky_wait_for_release(&options);
	work();
	return 0;
}
