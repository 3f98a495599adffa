/*
 * startup_program.c - prints its arguments, each in brackets; exits with the code that
 * startup_library.c gives, or with 3 if it is built with -DALONE.
 */
#include <stdio.h>

#ifdef ALONE
static int startup_library_exit_code(void)
{
	return 3;
}
#else
int startup_library_exit_code(void);
#endif

int main(int argc, char **argv)
{
	for (int i = 1; i < argc; i++)
		printf("[%s]", argv[i]);
	return startup_library_exit_code();
}
