/* from_before.c - frees 50 blocks that it allocated before its release, and leaks one of 2,000. */
#include "leaky.h"

int main(int argc, char **argv)
{
	struct leaky_options options = leaky_start(argc, argv);
	void *blocks[50];

	for (int i = 0; i < 50; i++)
		blocks[i] = malloc(300);
	leaky_wait_for_release(&options);
	for (int i = 0; i < 50; i++)
		free(blocks[i]);
	return !malloc(2000); /* leaks */
}
