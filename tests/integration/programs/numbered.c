/*
 * numbered.c - starts a program as a process with a number of one's choice: a child of whoever
 * started this, which ends at once. Fails if the number is taken; needs root, and Linux 5.5.
 *
 * usage: numbered PID PROGRAM [ARGUMENT ...]
 */
#include <errno.h>
#include <linux/sched.h>
#include <sched.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

int main(int argc, char **argv)
{
	struct clone_args how;
	pid_t pid;
	long made;

	if (argc < 3)
		return 2;
	pid = atoi(argv[1]);
	memset(&how, 0, sizeof(how));
	how.flags = CLONE_PARENT;
	how.set_tid = (uintptr_t)&pid;
	how.set_tid_size = 1;
	made = syscall(SYS_clone3, &how, sizeof(how));
	if (!made)
		execv(argv[2], argv + 2);
	if (made <= 0)
		fprintf(stderr, "%s: %s\n", argv[2], strerror(errno));
	return made <= 0;
}
