/*
 * wrapper.c - a library to preload that defines malloc and free only, around the C library's own.
 * A malloc of 4,242 bytes raises SIGUSR2 before it does its work: the handler's own allocations are
 * then calls inside a call, but none of it.
 */
#include <signal.h>
#include <stddef.h>

extern void *__libc_malloc(size_t size);
extern void __libc_free(void *block);

void *malloc(size_t size)
{
	if (size == 4242)
		raise(SIGUSR2);
	return __libc_malloc(size);
}

void free(void *block)
{
	__libc_free(block);
}
