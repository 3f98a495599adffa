/*
 * chunks.c - does to its heap what it is told, a command a line, and nothing else: its output has
 * a static buffer. It answers each with a line: an address, or 0.
 *
 *   allocate BYTES           free ADDRESS             the same: in_thread_...
 *   many BYTES COUNT         trim                     malloc_trim(0)
 *   break BYTES              sbrk, beside malloc      churn: allocate and free until killed
 */
#include <malloc.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct command {
	char name[32];
	size_t argument, count;
};

static void churn(void)
{
	static void *blocks[64];

	for (unsigned n = 0;; n++) {
		unsigned slot = n * 2654435761u >> 26;

		free(blocks[slot]);
		blocks[slot] = malloc(n % 3000);
	}
}

static void *act(const struct command *command)
{
	if (!strcmp(command->name, "allocate"))
		return malloc(command->argument);
	if (!strcmp(command->name, "free"))
		free((void *)command->argument);
	if (!strcmp(command->name, "many"))
		for (size_t i = 0; i < command->count; i++)
			if (!malloc(command->argument))
				exit(2);
	if (!strcmp(command->name, "break"))
		return sbrk((intptr_t)command->argument);
#ifdef __GLIBC__
	if (!strcmp(command->name, "trim"))
		malloc_trim(0);
#endif
	return NULL;
}

/* Stays, as its tcache would go with it. */
static void *act_and_stay(void *command)
{
	printf("%p\n", act(command));
	for (;;)
		pause();
	return NULL;
}

int main(void)
{
	static char in[BUFSIZ], out[BUFSIZ], line[128];
	static struct command command;
	pthread_t thread;

	if (setvbuf(stdin, in, _IOFBF, sizeof(in)) || setvbuf(stdout, out, _IOLBF, sizeof(out)))
		return 2;
	while (fgets(line, sizeof(line), stdin)) {
		command = (struct command) { 0 };
		if (sscanf(line, "%31s %zi %zu", command.name, (ssize_t *)&command.argument,
			    &command.count) < 1)
			return 2;
		if (!strcmp(command.name, "churn")) {
			puts("0");
			churn();
		}
		if (!strncmp(command.name, "in_thread_", 10)) {
			memmove(command.name, command.name + 10, sizeof(command.name) - 10);
			if (pthread_create(&thread, NULL, act_and_stay, &command))
				return 2;
			continue;
		}
		printf("%p\n", act(&command));
	}
	return 0;
}
