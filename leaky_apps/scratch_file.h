/*
 * scratch_file.h - a file without a name: it is gone with the program, however that ends.
 */
#ifndef SCRATCH_FILE_H
#define SCRATCH_FILE_H

#include <fcntl.h>

#include "leaky.h"

/* In $TMPDIR or /tmp; returns its descriptor. */
static int open_scratch_file(void)
{
	const char *folder = getenv("TMPDIR");
	char path[4096];
	int file;

	if (snprintf(path, sizeof(path), "%s/memory-leak-lab-XXXXXX",
		    folder && *folder ? folder : "/tmp") >= (int)sizeof(path))
		path[0] = 0;
	file = mkstemp(path);
	if (file < 0 || unlink(path) || fcntl(file, F_SETFD, FD_CLOEXEC))
		leaky_fail("making a file in the temporary folder");
	return file;
}

#endif
