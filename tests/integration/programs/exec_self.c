/* exec_self.c - leaks 10 blocks of 10 bytes, then becomes itself anew and leaks 7 of 1,000. */
#include "leaky.h"

int main(int argc, char **argv)
{
	struct leaky_options options;

	if (argc == 1) {
		for (int i = 0; i < 7; i++)
			if (!malloc(1000))
				leaky_fail("malloc");
		sleep(1);
		return 0;
	}
	options = leaky_start(argc, argv);
	leaky_wait_for_release(&options);
	for (int i = 0; i < 10; i++)
		if (!malloc(10))
			leaky_fail("malloc");
	execl("/proc/self/exe", "again", NULL);
	leaky_fail("execl");
}
