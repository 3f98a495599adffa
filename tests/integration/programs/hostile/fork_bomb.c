/* hostile: forks as often as it can; expects: "line 1 of the output" */
#include <stdio.h>
#include <unistd.h>

int main(void)
{
	int children = 0;

	for (int i = 0; i < 100000; i++)
		children += fork() > 0;
	printf("%d children\n", children);
	return 0;
}
