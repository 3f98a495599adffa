/* hostile: makes empty files without end; expects: "filled the room that it has for files" */
#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

int main(void)
{
	for (int number = 0; number < 10000000; number++) {
		char name[32];

		snprintf(name, sizeof(name), "/tmp/%d", number);
		close(open(name, O_CREAT | O_WRONLY, 0600));
	}
	pause();
	return 0;
}
