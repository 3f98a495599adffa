/*
 * masking.c - a library to preload that keeps signals away from the C library's malloc and free,
 * so that the handler of one may call both. It meets the program and the tracer anywhere else.
 */
#include <signal.h>
#include <stddef.h>

extern void *__libc_malloc(size_t size);
extern void __libc_free(void *block);

void *malloc(size_t size)
{
	sigset_t all, before;
	void *block;

	sigfillset(&all);
	sigprocmask(SIG_SETMASK, &all, &before);
	block = __libc_malloc(size);
	sigprocmask(SIG_SETMASK, &before, NULL);
	return block;
}

void free(void *block)
{
	sigset_t all, before;

	sigfillset(&all);
	sigprocmask(SIG_SETMASK, &all, &before);
	__libc_free(block);
	sigprocmask(SIG_SETMASK, &before, NULL);
}
