/*
 * survivors.h - for what outlives a process: somebody who removes it when the process has ended.
 *
 * Shared memory stays until it is removed, also after a crash, and then nobody is left to do it. So
 * a child waits for the end of a pipe that only the program holds, which comes however it ends.
 */
#ifndef SURVIVORS_H
#define SURVIVORS_H

#include <fcntl.h>

#include "leaky.h"

#define MOST_SURVIVORS 1024 /* then the program gives up: the machine is not ours alone */

/* Has `remove_all` called with the id of this process once it has ended. */
static void guard_survivors(void (*remove_all)(pid_t owner))
{
	pid_t owner = getpid(), child;
	int ends[2], nowhere;
	char nothing;

	if (pipe(ends) || fcntl(ends[1], F_SETFD, FD_CLOEXEC))
		leaky_fail("pipe");
	child = fork();
	if (child < 0)
		leaky_fail("fork");
	if (child) {
		close(ends[0]);
		return;
	}
	close(ends[1]);
	/* Who waits for the end of the program's output, or interrupts it, does not mean the child.
	 */
	nowhere = open("/dev/null", O_RDWR);
	for (int file = STDIN_FILENO; file <= STDERR_FILENO; file++)
		dup2(nowhere, file);
	setsid();
	while (read(ends[0], &nothing, 1) < 0 && errno == EINTR)
		;
	remove_all(owner);
	_exit(0);
}

static void count_survivor(uint64_t n)
{
	if (n < MOST_SURVIVORS)
		return;
	errno = ENOSPC;
	leaky_fail("so many are enough");
}

#endif
