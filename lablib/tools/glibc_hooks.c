/*
 * glibc_hooks.c - has a program call what glibc offers for looking at its heap: mtrace at its
 * start, malloc_info at its end. Loaded by LD_PRELOAD, because the leaky apps call neither.
 *
 *   MALLOC_TRACE=FILE     mtrace writes there (also wants libc_malloc_debug.so.0 preloaded)
 *   LAB_MALLOC_INFO=FILE  malloc_info writes there when the program has returned from main
 */
#include <malloc.h>
#include <mcheck.h>
#include <stdio.h>
#include <stdlib.h>

__attribute__((constructor)) static void begin(void)
{
	if (getenv("MALLOC_TRACE"))
		mtrace();
}

__attribute__((destructor)) static void end(void)
{
	const char *name = getenv("LAB_MALLOC_INFO");
	FILE *file = name ? fopen(name, "w") : NULL;

	if (!file)
		return;
	malloc_info(0, file);
	fclose(file);
}
