/*
 * fork_child.c - a parent has 10 blocks of 500 bytes and forks. The child leaks 1,000 blocks of
 * 100 and frees its copies of the 10; the parent frees its own 10 and waits: it leaks nothing.
 */
#include <sys/wait.h>

#include "leaky.h"

#define BLOCKS 10

LEAKY_SITE static void leak_in_child(void)
{
	for (int i = 0; i < 1000; i++)
		if (!malloc(100)) /* leaks */
			leaky_fail("malloc");
}

LEAKY_SITE static void allocate(void **blocks)
{
	for (int i = 0; i < BLOCKS; i++)
		blocks[i] = malloc(500);
}

static void free_all(void **blocks)
{
	for (int i = 0; i < BLOCKS; i++)
		free(blocks[i]);
}

int main(int argc, char **argv)
{
	struct leaky_options options = leaky_start(argc, argv);
	void *blocks[BLOCKS];
	pid_t child;
	int status;

	leaky_wait_for_release(&options);
	allocate(blocks);
	child = fork();
	if (child < 0)
		leaky_fail("fork");
	if (child == 0) {
		leak_in_child();
		free_all(blocks);
		unsetenv("LAB_HOLD"); /* only the parent is held at its end */
		return 0;
	}
	if (waitpid(child, &status, 0) != child || status)
		leaky_fail("the child");
	free_all(blocks);
	return 0;
}
