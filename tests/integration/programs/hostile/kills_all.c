/* hostile: kills its parent, and all others that it may; expects: "killed nobody" */
#include <signal.h>
#include <stdio.h>
#include <unistd.h>

int main(void)
{
	int killed = kill(-1, SIGKILL) == 0;

	killed += kill(getppid(), SIGKILL) == 0 && getppid() != 1;
	for (pid_t pid = 2; pid < 65536; pid++)
		if (pid != getpid() &&
			getpgid(pid) != getpgid(0)) /* its own threads have numbers too */
			killed += kill(pid, SIGKILL) == 0;
	puts(killed ? "killed others" : "killed nobody");
	return 0;
}
