/*
 * startup_library.c - a library whose constructor makes the file that CONSTRUCTED names.
 */
#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

int startup_library_exit_code(void);

__attribute__((constructor)) static void make_file(void)
{
	const char *path = getenv("CONSTRUCTED");
	int file = path ? open(path, O_CREAT | O_WRONLY | O_CLOEXEC, 0600) : -1;

	if (file >= 0)
		close(file);
}

int startup_library_exit_code(void)
{
	return 7;
}
