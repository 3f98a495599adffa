/* hostile: would outlive its judge as a daemon; expects: "no daemon" */
#include <stdio.h>
#include <unistd.h>

int main(void)
{
	pid_t child = fork();

	if (child == 0) {
		setsid();
		if (fork() == 0) {
			for (int file = 0; file < 256; file++)
				close(file);
			sleep(1000);
		}
		_exit(0);
	}
	puts(child < 0 ? "no daemon" : "a daemon runs");
	return 0;
}
