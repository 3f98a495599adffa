/*
 * exact_millions.c - 12 children, one after the other, leak exactly 1,000,000 bytes each, in 10,000
 * blocks of 100 beside freed ones. The parent leaks nothing.
 */
#include <sys/wait.h>

#include "leaky.h"

LEAKY_SITE static void work(void)
{
	for (int i = 0; i < 10000; i++) {
		if (!malloc(100)) /* leaks */
			leaky_fail("malloc");
		free(malloc(200));
	}
}

int main(int argc, char **argv)
{
	struct leaky_options options = leaky_start(argc, argv);

	leaky_wait_for_release(&options);
	for (int i = 0; i < 12; i++) {
		pid_t child = fork();
		int status;

		if (child < 0)
			leaky_fail("fork");
		if (child == 0) {
			work();
			return 0;
		}
		if (waitpid(child, &status, 0) != child || status)
			leaky_fail("a child");
	}
	return 0;
}
