/*
 * addresses.c - one object for each kind of segment. It prints "name address bytes" of each, then
 * "ready", and stays until its standard input ends.
 *
 *   addresses FILE          maps FILE, a page long, private and shared
 *   addresses FILE fork     also has a child that stays as long, and touches the shared pages
 *
 * Of `mapping` it touches PRIVATE_TOUCHED pages, of `shared_mapping` SHARED_TOUCHED.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/mman.h>
#include <sys/shm.h>
#include <sys/wait.h>
#include <unistd.h>

#define MAPPED_PAGES 100
#define PRIVATE_TOUCHED 37
#define SHARED_TOUCHED 11

static const char constant[5000] = "a constant";
static int initialised[1234] = { 1 };
static char zeroed[12345];
static __thread int thread_local_variable;
static pthread_barrier_t thread_is_ready;

static void fail(const char *what)
{
	fprintf(stderr, "%s: %s\n", what, strerror(errno));
	exit(2);
}

static void say(const char *name, const volatile void *address, size_t bytes)
{
	printf("%s %#lx %zu\n", name, (unsigned long)address, bytes);
}

static void *checked_map(size_t bytes, int protection, int flags, int descriptor)
{
	void *mapped = mmap(NULL, bytes, protection, flags, descriptor, 0);

	if (mapped == MAP_FAILED)
		fail("mmap");
	return mapped;
}

static void *stay_in_thread(void *argument)
{
	char local[64] = "";

	thread_local_variable = 1;
	say("thread_local_variable", &thread_local_variable, sizeof(int));
	say("thread_local", local, sizeof(local));
	say("thread_block", malloc(1000), 1000);
	pthread_barrier_wait(&thread_is_ready);
	for (;;)
		pause();
	return argument;
}

static void start_thread(void)
{
	pthread_t thread;

	if ((errno = pthread_barrier_init(&thread_is_ready, NULL, 2)) ||
		(errno = pthread_create(&thread, NULL, stay_in_thread, NULL)))
		fail("pthread_create");
	pthread_barrier_wait(&thread_is_ready);
}

static void map_file(const char *path)
{
	int descriptor = open(path, O_RDWR);

	if (descriptor < 0)
		fail(path);
	say("private_file", checked_map(1, PROT_READ, MAP_PRIVATE, descriptor), 1);
	say("shared_file", checked_map(1, PROT_READ | PROT_WRITE, MAP_SHARED, descriptor), 1);
	close(descriptor);
}

/* Shared memory that is no file on a disk, in the three ways there are beside MAP_ANONYMOUS. */
static void map_shared_objects(size_t page_bytes)
{
	int memory = memfd_create("lab", 0);
	int number = shmget(IPC_PRIVATE, page_bytes, 0600);
	char name[64];

	if (memory < 0 || ftruncate(memory, (off_t)page_bytes))
		fail("memfd_create");
	say("memfd", checked_map(page_bytes, PROT_READ, MAP_SHARED, memory), page_bytes);
	if (number < 0)
		fail("shmget");
	say("system_v", shmat(number, NULL, 0), page_bytes);
	shmctl(number, IPC_RMID, NULL);
	snprintf(name, sizeof(name), "/lab-addresses-%d", (int)getpid());
	memory = shm_open(name, O_RDWR | O_CREAT | O_EXCL, 0600);
	if (memory < 0 || ftruncate(memory, (off_t)page_bytes))
		fail("shm_open");
	say("posix_shared", checked_map(page_bytes, PROT_READ, MAP_SHARED, memory), page_bytes);
	shm_unlink(name);
}

static void map_memory(size_t page_bytes, int has_child)
{
	size_t bytes = MAPPED_PAGES * page_bytes;
	int is_open = PROT_READ | PROT_WRITE;
	char *mapping = checked_map(bytes, is_open, MAP_PRIVATE | MAP_ANONYMOUS, -1);
	char *shared = checked_map(bytes, is_open, MAP_SHARED | MAP_ANONYMOUS, -1);

	memset(mapping, 1, PRIVATE_TOUCHED * page_bytes);
	memset(shared, 1, SHARED_TOUCHED * page_bytes);
	say("mapping", mapping, bytes);
	say("shared_mapping", shared, bytes);
	say("reserved", checked_map(bytes, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1), bytes);
	if (has_child) {
		int is_touched[2];
		char byte;

		fflush(stdout);
		if (pipe(is_touched))
			fail("pipe");
		if (fork() == 0) {
			memset(shared, 2, SHARED_TOUCHED * page_bytes);
			if (write(is_touched[1], "", 1) != 1)
				_exit(2);
			while (read(STDIN_FILENO, &byte, 1) > 0)
				;
			_exit(0);
		}
		if (read(is_touched[0], &byte, 1) != 1)
			fail("the child");
	}
}

int main(int argc, char **argv)
{
	size_t page_bytes = (size_t)sysconf(_SC_PAGESIZE);
	int local = 0;
	char byte;

	if (argc < 2)
		return 2;
	say("function", (void *)main, 1);
	say("constant", constant, sizeof(constant));
	say("initialised", initialised, sizeof(initialised));
	say("zeroed", zeroed, sizeof(zeroed));
	say("local", &local, sizeof(local));
	say("environment", argv[0], 1);
	say("small_block", malloc(24), 24);
	say("large_block", malloc(1 << 20), 1 << 20);
	say("library_data", stdout, 1);
	say("vdso", (void *)getauxval(AT_SYSINFO_EHDR), 1);
	if (getauxval(AT_BASE))
		say("loader", (void *)getauxval(AT_BASE), 1);
	start_thread();
	map_file(argv[1]);
	map_shared_objects(page_bytes);
	map_memory(page_bytes, argc > 2);
	puts("ready");
	fflush(stdout);
	while (read(STDIN_FILENO, &byte, 1) > 0)
		;
	while (wait(NULL) > 0)
		;
	return 0;
}
