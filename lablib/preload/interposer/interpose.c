/*
 * interpose.c - sees what a program asks of malloc, from inside it, by LD_PRELOAD.
 *
 * usage: LD_PRELOAD=interpose.so LAB_PRELOAD=/proc/PID/fd/N PROGRAM
 *
 * LAB_PRELOAD names the segment that the lab has made (segment.h); without it nothing is counted.
 * Each function here calls the next one of its name, whichever allocator that is, and notes what
 * came of it. Frames begin at the caller: no frame of ours is on a stack.
 *
 * Try: ./lab trace --source preload -- COMMAND
 */
#define _GNU_SOURCE
#include "operators.h"
#include <stdarg.h>
#include <stdlib.h>
#include <sys/prctl.h>

#define EXPORT __attribute__((visibility("default")))
#define FRAME ((const u64 *)__builtin_frame_address(0))
#define BOOTSTRAP_BYTES (64 << 10)

typedef void *allocate(size_t);
typedef void *allocate_aligned(size_t, size_t);

/* The functions behind ours. */
static struct {
	allocate *malloc, *valloc, *pvalloc;
	allocate_aligned *calloc, *memalign, *aligned_alloc;
	void *(*realloc)(void *, size_t);
	int (*posix_memalign)(void **, size_t, size_t);
	void (*free)(void *);
	int (*pthread_create)(pthread_t *, const pthread_attr_t *, void *(*)(void *), void *);
} real;

/* What is asked for while we look for those: a few blocks, which live for ever. */
static _Alignas(16) char bootstrap[BOOTSTRAP_BYTES];
static size_t bootstrap_used;
static int is_starting;

static void *take_bootstrap(size_t size)
{
	void *block = bootstrap + bootstrap_used;

	if (size > BOOTSTRAP_BYTES - bootstrap_used - 32)
		return NULL;
	bootstrap_used += (size + 31) & ~(size_t)15;
	return block;
}

static inline int is_bootstrap(const void *block)
{
	return (u64)block - (u64)bootstrap < BOOTSTRAP_BYTES;
}

/* The value of a variable with which the program was started; libc may not know it yet. */
static int read_environment(const char *name, char *value, size_t size)
{
	int file = (int)syscall(SYS_openat, AT_FDCWD, "/proc/self/environ", O_RDONLY, 0);
	size_t length = strlen(name), matched = 0, copied = 0;
	char text[1024];
	ssize_t got;
	int state = 0; /* in a name that fits so far; 1: in another variable; 2: in the value */

	if (file < 0)
		return 0;
	while (state < 3 && (got = syscall(SYS_read, file, text, sizeof(text))) > 0) {
		for (ssize_t i = 0; i < got && state < 3; i++) {
			if (state == 2) {
				value[copied++] = text[i];
				state = text[i] && copied < size ? 2 : 3;
			} else if (!text[i]) {
				state = 0;
				matched = 0;
			} else if (state == 0 && matched == length && text[i] == '=') {
				state = 2;
			} else if (state == 0 &&
				   (matched >= length || text[i] != name[matched++])) {
				state = 1;
			}
		}
	}
	syscall(SYS_close, file);
	return state == 3 && !value[copied - 1];
}

static struct segment *map_segment(const char *path)
{
	int file = (int)syscall(SYS_openat, AT_FDCWD, path, O_RDWR | O_CLOEXEC, 0);
	struct segment head, *segment;

	if (file < 0)
		return NULL;
	if (syscall(SYS_read, file, &head, sizeof(head)) != sizeof(head) ||
		head.version != SEGMENT_VERSION || head.process) {
		syscall(SYS_close, file);
		return NULL;
	}
	segment = (void *)syscall(SYS_mmap, NULL, head.size_bytes, PROT_READ | PROT_WRITE,
		MAP_SHARED | MAP_NORESERVE, file, 0);
	syscall(SYS_close, file);
	return segment == MAP_FAILED ? NULL : segment;
}

/* A page that a child of fork finds empty: what it does is not its parent's. */
static struct gate *make_gate(void)
{
	void *page = (void *)syscall(SYS_mmap, NULL, 1 << PAGE_BITS, PROT_READ | PROT_WRITE,
		MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (page == MAP_FAILED || syscall(SYS_madvise, page, 1 << PAGE_BITS, MADV_WIPEONFORK))
		return NULL;
	return page;
}

static void join_lab(void)
{
	u64 used = (u64)dlsym(RTLD_DEFAULT, "malloc");
	char path[64];
	struct segment *segment;
	struct gate *page;

	if (used - own.low >= own.high - own.low) /* the program has one of its own */
		return;
	if (!read_environment("LAB_PRELOAD", path, sizeof(path)) || !(page = make_gate()) ||
		!(segment = map_segment(path)))
		return;
	prctl(PR_SET_PTRACER, segment->tracer, 0, 0, 0); /* which looks what is still pointed at */
	page->segment = segment;
	gate = page;
	store(&segment->process, (u64)getpid());
}

/* Where the functions behind ours are; 0 while that is being found out. */
static __attribute__((noinline)) int get_ready(void)
{
	int kept_errno = errno, is_stack;
	Dl_info found;

	if (is_starting)
		return 0;
	is_starting = 1;
	real.calloc = dlsym(RTLD_NEXT, "calloc");
	real.malloc = dlsym(RTLD_NEXT, "malloc");
	real.realloc = dlsym(RTLD_NEXT, "realloc");
	real.memalign = dlsym(RTLD_NEXT, "memalign");
	real.aligned_alloc = dlsym(RTLD_NEXT, "aligned_alloc");
	real.posix_memalign = dlsym(RTLD_NEXT, "posix_memalign");
	real.valloc = dlsym(RTLD_NEXT, "valloc");
	real.pvalloc = dlsym(RTLD_NEXT, "pvalloc");
	real.pthread_create = dlsym(RTLD_NEXT, "pthread_create");
	if (dladdr((void *)real.malloc, &found) && !strstr(found.dli_fname, "/libc."))
		find_mapping((u64)real.malloc, &allocator.low, &allocator.high, &is_stack);
	find_mapping((u64)get_ready, &own.low, &own.high, &is_stack);
	real.free = dlsym(RTLD_NEXT, "free"); /* the last one: then all are there */
	join_lab();
	is_starting = 0;
	errno = kept_errno;
	return 1;
}

/* What the program starts shall run without us. */
static __attribute__((constructor)) void hide(void)
{
	char *libraries = getenv("LD_PRELOAD"), *others;

	if (!real.free)
		get_ready();
	if (!getenv("LAB_PRELOAD") || !libraries)
		return;
	unsetenv("LAB_PRELOAD");
	others = strchr(libraries, ':');
	if (others)
		memmove(libraries, others + 1, strlen(others));
	else
		unsetenv("LD_PRELOAD");
}

#define IS_READY (__builtin_expect(real.free != NULL, 1) || get_ready())

EXPORT void *malloc(size_t size)
{
	void *block;

	if (!IS_READY)
		return take_bootstrap(size);
	block = real.malloc(size);
	note_allocation(block, size, FRAME);
	return block;
}

EXPORT void *calloc(size_t count, size_t size)
{
	void *block;

	if (!IS_READY)
		return take_bootstrap(count * size);
	block = real.calloc(count, size);
	note_allocation(block, count * size, FRAME);
	return block;
}

static inline void *reallocate(void *old, size_t size, const u64 *frame)
{
	struct given given;
	void *block;

	if (is_bootstrap(old)) {
		size_t left = BOOTSTRAP_BYTES - ((u64)old - (u64)bootstrap);
		block = real.malloc(size);
		if (block)
			memcpy(block, old, size < left ? size : left);
		note_allocation(block, size, frame);
		return block;
	}
	note_realloc(old, &given);
	block = real.realloc(old, size);
	note_realloced(old, block, size, &given, frame);
	return block;
}

EXPORT void *realloc(void *old, size_t size)
{
	if (!IS_READY)
		return old ? NULL : take_bootstrap(size);
	return reallocate(old, size, FRAME);
}

EXPORT void *reallocarray(void *old, size_t count, size_t size)
{
	size_t bytes;

	if (!IS_READY || __builtin_mul_overflow(count, size, &bytes)) {
		errno = ENOMEM;
		return NULL;
	}
	return reallocate(old, bytes, FRAME);
}

EXPORT void free(void *block)
{
	if (!block || is_bootstrap(block) || !IS_READY)
		return;
	note_free(block);
	real.free(block);
}

EXPORT void free_sized(void *block, size_t size)
{
	(void)size;
	if (!block || is_bootstrap(block) || !IS_READY)
		return;
	note_free(block);
	real.free(block);
}

EXPORT void free_aligned_sized(void *block, size_t alignment, size_t size)
{
	(void)alignment;
	(void)size;
	if (!block || is_bootstrap(block) || !IS_READY)
		return;
	note_free(block);
	real.free(block);
}

EXPORT void *memalign(size_t alignment, size_t size)
{
	void *block = IS_READY ? real.memalign(alignment, size) : NULL;
	note_allocation(block, size, FRAME);
	return block;
}

EXPORT void *aligned_alloc(size_t alignment, size_t size)
{
	void *block = IS_READY ? real.aligned_alloc(alignment, size) : NULL;
	note_allocation(block, size, FRAME);
	return block;
}

EXPORT int posix_memalign(void **result, size_t alignment, size_t size)
{
	int error = IS_READY ? real.posix_memalign(result, alignment, size) : ENOMEM;
	note_allocation(error ? NULL : *result, size, FRAME);
	return error;
}

EXPORT void *valloc(size_t size)
{
	void *block = IS_READY ? real.valloc(size) : NULL;
	note_allocation(block, size, FRAME);
	return block;
}

EXPORT void *pvalloc(size_t size)
{
	void *block = IS_READY ? real.pvalloc(size) : NULL;
	note_allocation(block, size, FRAME);
	return block;
}

FORMS(NEW, _Znwm, _Znam)
FORMS(DELETE, _ZdlPv, _ZdaPv)
DELETE(_ZdlPvm)
DELETE(_ZdaPvm)
DELETE(_ZdlPvmSt11align_val_t)
DELETE(_ZdaPvmSt11align_val_t)

EXPORT void *mmap(void *address, size_t length, int protection, int flags, int file, off_t offset)
{
	void *mapped = (void *)syscall(SYS_mmap, address, length, protection, flags, file, offset);
	note_mapped(mapped, length, flags, FRAME);
	return mapped;
}

EXPORT void *mmap64(
	void *address, size_t length, int protection, int flags, int file, off64_t offset)
{
	void *mapped = (void *)syscall(SYS_mmap, address, length, protection, flags, file, offset);
	note_mapped(mapped, length, flags, FRAME);
	return mapped;
}

EXPORT int munmap(void *address, size_t length)
{
	int failed;

	note_unmapped(UNMAP, address, length);
	failed = (int)syscall(SYS_munmap, address, length);
	if (failed)
		note_unmapped(UNMAP_FAILED, NULL, 0);
	return failed;
}

EXPORT void *mremap(void *old, size_t old_length, size_t length, int flags, ...)
{
	va_list more;
	void *wanted, *mapped;

	va_start(more, flags);
	wanted = flags & MREMAP_FIXED ? va_arg(more, void *) : NULL;
	va_end(more);
	note_unmapped(UNMAP, old, old_length);
	mapped = (void *)syscall(SYS_mremap, old, old_length, length, flags, wanted);
	if (mapped == MAP_FAILED)
		note_unmapped(UNMAP_FAILED, NULL, 0);
	note_mapped(mapped, length, MAP_ANONYMOUS, FRAME);
	return mapped;
}

/* A thread whose stack is to be reported takes a note of that with it; NULL: no room for it. */
static struct start *find_start(struct segment *segment)
{
	for (int i = 0; i < STARTS; i++)
		if (change(&starts[i].is_taken, 0, 1))
			return &starts[i];
	count(LOST_THREADS_FULL);
	(void)segment;
	return NULL;
}

EXPORT int pthread_create(
	pthread_t *thread, const pthread_attr_t *attributes, void *(*run)(void *), void *argument)
{
	struct segment *segment;
	struct start *start = NULL;
	int error;

	if (!IS_READY)
		return EAGAIN;
	if ((segment = begin_recording())) {
		u64 stack_bytes = load(&segment->state) == OPEN ? measure_stack(attributes) : 0;
		if (stack_bytes && (start = find_start(segment))) {
			start->run = run;
			start->argument = argument;
			start->stack_bytes = stack_bytes;
			start->stack_id = find_mapper(segment, FRAME);
		}
		end_recording(segment);
	}
	error = start ? real.pthread_create(thread, attributes, run_thread, start)
		      : real.pthread_create(thread, attributes, run, argument);
	if (error && start)
		store(&start->is_taken, 0);
	return error;
}
