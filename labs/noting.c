/*
 * noting.c - notes who opens each file of a program, and who gives back what is given back already.
 *
 * Link a program with it, and say which of its calls it may note:
 *
 *   gcc -g -pthread -Ileaky_apps -Wl,--wrap=open,--wrap=close -o program program.c labs/noting.c
 *
 * It says nothing: who looks at the program from outside finds the notes in `lab_notes`.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/uio.h>
#include <unistd.h>

#define MOST_FILES 1024

/* Where a call was made: the address behind it, and that behind the call of its function. */
struct site {
	uint64_t call, caller;
};

/* lablib/grading/notes.py reads it. A site of zeros is none. */
struct notes {
	uint64_t again;         /* calls that gave back what was given back already */
	struct site last_again; /* the last of them */
	struct site opened[MOST_FILES];
} lab_notes;

/*
 * Frames begin with the caller's frame pointer and the return address. That of a caller without
 * frame pointers points anywhere: the kernel reads there, and no harm is done.
 */
static inline __attribute__((always_inline)) struct site find_site(void)
{
	void **frame = __builtin_frame_address(0);
	uint64_t callers[2];
	struct iovec here = { callers, sizeof(callers) }, there = { frame[0], sizeof(callers) };
	int error = errno;

	if (process_vm_readv(getpid(), &here, 1, &there, 1, 0) != sizeof(callers))
		callers[1] = 0;
	errno = error;
	return (struct site) { (uint64_t)__builtin_return_address(0), callers[1] };
}

static void note_opened(int file, struct site site)
{
	if (file >= 0 && file < MOST_FILES)
		lab_notes.opened[file] = site;
}

static void note_again(struct site site)
{
	lab_notes.last_again = site;
	__atomic_fetch_add(&lab_notes.again, 1, __ATOMIC_RELAXED);
}

/* A number that was open once, and is not any more. Who tries all numbers has opened few. */
static void note_closed(int file, int result, struct site site)
{
	if (result && errno == EBADF && file >= 0 && file < MOST_FILES &&
		lab_notes.opened[file].call)
		note_again(site);
}

/* Whether nothing is mapped there: then, and only then, it could be mapped, and is for a moment. */
static int is_unmapped(void *start, size_t bytes)
{
	int error = errno, flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE;
	void *mapped = mmap(start, bytes, PROT_NONE, flags | MAP_FIXED_NOREPLACE, -1, 0);

	errno = error;
	if (mapped == MAP_FAILED)
		return 0;
	if (mapped == start)
		return 1;
	munmap(mapped, bytes); /* a kernel before 4.17 */
	return 0;
}

/*
 * What --wrap calls the functions of the C library are __real_ ones; those that are not wrapped are
 * not there. A function that returns the number of a file, or a stream, for its arguments:
 */
#define OPENS(name, parameters, ...)                                                               \
	__attribute__((weak)) int __real_##name parameters;                                        \
	int __wrap_##name parameters                                                               \
	{                                                                                          \
		int file = __real_##name(__VA_ARGS__);                                             \
                                                                                                   \
		note_opened(file, find_site());                                                    \
		return file;                                                                       \
	}
#define OPENS_STREAM(name, parameters, ...)                                                        \
	__attribute__((weak)) FILE *__real_##name parameters;                                      \
	FILE *__wrap_##name parameters                                                             \
	{                                                                                          \
		FILE *stream = __real_##name(__VA_ARGS__);                                         \
                                                                                                   \
		if (stream)                                                                        \
			note_opened(fileno(stream), find_site());                                  \
		return stream;                                                                     \
	}

/* Without O_CREAT the mode is whatever the register holds, and the kernel does not look at it. */
OPENS(open, (const char *path, int flags, mode_t mode), path, flags, mode)
OPENS(open64, (const char *path, int flags, mode_t mode), path, flags, mode)
OPENS(__open_2, (const char *path, int flags), path, flags)
OPENS(__open64_2, (const char *path, int flags), path, flags)
OPENS(openat, (int at, const char *path, int flags, mode_t mode), at, path, flags, mode)
OPENS(openat64, (int at, const char *path, int flags, mode_t mode), at, path, flags, mode)
OPENS(creat, (const char *path, mode_t mode), path, mode)
OPENS(mkstemp, (char *path), path)
OPENS(mkstemp64, (char *path), path)
OPENS(dup, (int number), number)
OPENS(socket, (int domain, int type, int protocol), domain, type, protocol)
OPENS(memfd_create, (const char *name, unsigned flags), name, flags)
OPENS_STREAM(fopen, (const char *path, const char *mode), path, mode)
OPENS_STREAM(fopen64, (const char *path, const char *mode), path, mode)

__attribute__((weak)) int __real_close(int file);
__attribute__((weak)) int __real_fclose(FILE *stream);
__attribute__((weak)) int __real_munmap(void *start, size_t bytes);

int __wrap_close(int file)
{
	int result = __real_close(file);

	note_closed(file, result, find_site());
	return result;
}

int __wrap_fclose(FILE *stream)
{
	int file = fileno(stream), result = __real_fclose(stream);

	note_closed(file, result, find_site());
	return result;
}

int __wrap_munmap(void *start, size_t bytes)
{
	if (is_unmapped(start, bytes))
		note_again(find_site());
	return __real_munmap(start, bytes);
}
