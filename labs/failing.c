/*
 * failing.c - refuses memory now and then, as a machine does that has little of it.
 *
 * Link a program with it, and say whose calls it may refuse:
 *
 *   gcc -g -pthread -Ileaky_apps -Wl,--wrap=malloc -o program program.c labs/failing.c
 *
 * Which calls are refused depends on SEED alone: about one in five, the same ones each time.
 */
#include <errno.h>
#include <stdint.h>
#include <stdlib.h>

#ifndef SEED
#define SEED 1u
#endif
#define ONE_IN 5

/* What --wrap calls the functions of the C library; those that are not wrapped are not there. */
__attribute__((weak)) void *__real_malloc(size_t bytes);
__attribute__((weak)) void *__real_realloc(void *block, size_t bytes);

/* The finalizer of splitmix64: numbers that follow each other come out as if drawn. */
static uint64_t mix(uint64_t x)
{
	x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9;
	x = (x ^ (x >> 27)) * 0x94d049bb133111eb;
	return x ^ (x >> 31);
}

static int is_refused(void)
{
	static uint64_t calls;

	if (mix((uint64_t)SEED << 32 | calls++) % ONE_IN)
		return 0;
	errno = ENOMEM;
	return 1;
}

void *__wrap_malloc(size_t bytes)
{
	return is_refused() ? NULL : __real_malloc(bytes);
}

void *__wrap_realloc(void *block, size_t bytes)
{
	return is_refused() ? NULL : __real_realloc(block, bytes);
}
