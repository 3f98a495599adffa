/* hostile: leaves a setuid program behind, for others to run; expects: "line 1 of the output" */
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

int main(void)
{
	int file = open("shell", O_CREAT | O_EXCL | O_WRONLY, 0755);

	fchmod(file, 04777);
	printf("made %d\n", file);
	return 0;
}
