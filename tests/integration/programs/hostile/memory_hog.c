/* hostile: touches all the memory that malloc gives; expects: "MiB of memory that" */
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

int main(void)
{
	for (;;) {
		char *block = malloc(16 << 20);

		if (!block)
			pause();
		memset(block, 1, 16 << 20);
	}
}
