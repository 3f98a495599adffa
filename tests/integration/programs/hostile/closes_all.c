/* hostile: closes every descriptor, its judge's too if it had one; expects: "and is nothing" */
#include <unistd.h>

int main(void)
{
	for (int file = 0; file < 4096; file++)
		close(file);
	return 0;
}
