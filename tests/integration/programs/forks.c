/*
 * forks.c - a child leaks 1,000 blocks of 77 bytes and frees a block of its parent's; another one's
 * child leaks 5 of 1,000, and that other one becomes another program. The parent leaks nothing.
 */
#include <sys/wait.h>

#include "leaky.h"

LEAKY_SITE static void leak(int blocks, size_t size_bytes)
{
	for (int i = 0; i < blocks; i++)
		if (!malloc(size_bytes))
			leaky_fail("malloc");
}

static pid_t fork_or_fail(void)
{
	pid_t child = fork();

	if (child < 0)
		leaky_fail("fork");
	return child;
}

static void become_another_program(void)
{
	if (!fork_or_fail()) {
		leak(5, 1000);
		_exit(0);
	}
	wait(NULL);
	execl("/bin/true", "true", NULL);
	leaky_fail("exec");
}

int main(int argc, char **argv)
{
	struct leaky_options options = leaky_start(argc, argv);
	void *block;

	leaky_wait_for_release(&options);
	block = malloc(100);
	if (!block)
		leaky_fail("malloc");
	if (!fork_or_fail()) {
		leak(1000, 77);
		free(block);
		_exit(0);
	}
	if (!fork_or_fail())
		become_another_program();
	while (wait(NULL) > 0)
		;
	free(block);
	return 0;
}
