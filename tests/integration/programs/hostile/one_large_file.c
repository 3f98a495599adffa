/* hostile: writes one file without end; expects: "filled the room that it has for files" */
#include <fcntl.h>
#include <unistd.h>

static char chunk[1 << 20];

int main(void)
{
	int file = open("large", O_CREAT | O_WRONLY, 0600);

	while (write(file, chunk, sizeof(chunk)) > 0)
		;
	pause();
	return 0;
}
