/*
 * vforks.c - a parent that waits for its child's exec, which nothing can interrupt, for 2 seconds.
 *
 * usage: vforks [--wait]
 */
#define _GNU_SOURCE
#include "leaky.h"

int main(int argc, char **argv)
{
	struct leaky_options options = leaky_start(argc, argv);
	void *volatile block;
	pid_t child;

	leaky_wait_for_release(&options);
	block = malloc(1000);
	child = vfork();
	if (child < 0)
		leaky_fail("vfork");
	if (!child) {
		sleep(2);
		_exit(0);
	}
	for (;;)
		pause();
	free(block);
}
