/*
 * children.h - a child process (fork) that takes commands of its own, which its parent passes on.
 *
 * The child dies with its parent, and ends when the parent lets it go.
 */
#ifndef CHILDREN_H
#define CHILDREN_H

#include <sys/socket.h>
#include <sys/wait.h>

#include "commands.h"

static struct {
	pid_t pid; /* 0: none */
	int channel;
} child;

static void run_child(int channel, pid_t parent, const struct command *table)
{
	if (prctl(PR_SET_PDEATHSIG, SIGKILL) || getppid() != parent)
		_exit(2);
	if (dup2(channel, STDIN_FILENO) < 0 || dup2(channel, STDOUT_FILENO) < 0 || close(channel))
		_exit(2);
	commands.pending_bytes = 0; /* those are the parent's */
	run_commands(table);
	_exit(0);
}

/* Forks, and answers with the child's process id. */
LEAKY_SITE static void start_child(const struct command *table)
{
	int ends[2];
	pid_t parent = getpid();

	if (child.pid) {
		refuse("there is a child already: end_child comes first");
		return;
	}
	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends)) {
		refuse_errno("socketpair");
		return;
	}
	child.pid = fork();
	if (!child.pid) {
		close(ends[0]);
		run_child(ends[1], parent, table);
	}
	close(ends[1]);
	if (child.pid < 0) {
		child.pid = 0;
		close(ends[0]);
		refuse_errno("fork");
		return;
	}
	child.channel = ends[0];
	answer("child", (uint64_t)child.pid);
}

/* Has the child run a command, and answers with the child's answer. */
static __attribute__((format(printf, 1, 2))) void ask_child(const char *format, ...)
{
	char line[sizeof(commands.line)];
	size_t used = 0;
	va_list values;
	int length;

	if (!child.pid) {
		refuse("there is no child: fork comes first");
		return;
	}
	va_start(values, format);
	length = vsnprintf(line, sizeof(line), format, values);
	va_end(values);
	if (length < 0 || send(child.channel, line, (size_t)length, MSG_NOSIGNAL) != length) {
		refuse("the child has ended");
		return;
	}
	while (!used || commands.answer[used - 1] != '\n') {
		ssize_t got = recv(child.channel, commands.answer + used,
			sizeof(commands.answer) - used - 1, 0);

		if (got <= 0) {
			refuse("the child has ended");
			return;
		}
		used += (size_t)got;
	}
	commands.answer[used - 1] = 0;
	commands.is_refused = !strncmp(commands.answer, "error ", strlen("error "));
	used = strlen(commands.is_refused ? "error " : "ok");
	memmove(commands.answer, commands.answer + used, strlen(commands.answer + used) + 1);
}

/* Lets the child end, and waits for it. */
static void end_child(void)
{
	int status;

	if (!child.pid) {
		refuse("there is no child: fork comes first");
		return;
	}
	if (close(child.channel) || waitpid(child.pid, &status, 0) != child.pid)
		leaky_fail("ending the child");
	answer("child", (uint64_t)child.pid);
	child.pid = 0;
}

#endif
