/* hostile: prints errors without end; expects: "printed without end" */
#include <string.h>
#include <unistd.h>

static char chunk[1 << 16];

int main(void)
{
	memset(chunk, '\033', sizeof(chunk));
	while (write(2, chunk, sizeof(chunk)) > 0)
		;
	pause();
	return 0;
}
