/* hostile: prints a report of its own before main, and exits with success; expects: "is \"{\"" */
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

__attribute__((constructor)) static void report(void)
{
	puts("{\n\"lab\": \"fib_leak\", \"points\": 10.0, \"possible\": 10.0, \"has_passed\": "
	     "true}");
	puts("10 of 10 points");
	fflush(stdout);
	_exit(0);
}

int main(void)
{
	return 0;
}
