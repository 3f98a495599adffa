/* hostile: becomes itself once more, another one to its judge; expects: "became another program" */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

int main(int argc, char **argv)
{
	uint64_t n0 = 0, n1 = 1, sum, terms = 0;

	if (!getenv("AGAIN")) {
		setenv("AGAIN", "1", 1);
		setenv("LD_PRELOAD", "/tmp/allocator.so", 1);
		execv("/proc/self/exe", argv);
	}
	for (int i = 1; i + 1 < argc; i++)
		if (!strcmp(argv[i], "--terms"))
			terms = strtoul(argv[i + 1], NULL, 10);
	for (uint64_t n = 2; n < terms + 2; n++) {
		calloc(1024, sizeof(n));
		sum = n0 + n1;
		n0 = n1;
		n1 = sum;
		printf("%" PRIu64 "th => %" PRIu64 "\n", n, sum);
	}
	return 0;
}
