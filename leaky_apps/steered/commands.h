/*
 * commands.h - what every steered app shares: it takes commands, a line each, from standard input.
 *
 *   touch 50                        a command and its numbers
 *   ok pages 500 minor_faults 500   its answer: names and values, decimal or hexadecimal (0x...)
 *   error there is no ...           or why it was not done
 *
 * Options of every steered app:
 *   --lifetime S  end after S seconds, whatever happens; default 0: no limit
 *
 * To a program it first answers that it is up, with its process id. It ends with its standard
 * input, so a parent that died leaves nothing behind. It waits for its first command, so a tracer
 * can attach before anything has happened.
 *
 * Nothing in here allocates from the heap, and stdio is not used for the commands: what lies on the
 * heap was asked for.
 */
#ifndef COMMANDS_H
#define COMMANDS_H

#include <ctype.h>
#include <inttypes.h>
#include <stdarg.h>
#include <sys/mman.h>
#include <sys/prctl.h>

#include "leaky.h"

#define MOST_ARGUMENTS 3

/* One argument as it was given: its text, and its number if the command asks for one. */
struct value {
	const char *word;
	uint64_t number;
};

struct argument {
	const char *name;
	uint64_t least, most;
	int is_word, is_optional;
};

/* A number that is left out is 0. */
#define NUMBER(name, least, most) { name, least, most, 0, 0 }
#define OPTIONAL_NUMBER(name, least, most) { name, least, most, 0, 1 }
#define WORD(name) { name, 0, 0, 1, 0 }

struct command {
	const char *name;
	void (*run)(const struct value *given);
	struct argument arguments[MOST_ARGUMENTS];
};

static struct {
	char pending[1024]; /* what was read and not yet used */
	size_t pending_bytes;
	char line[1024];
	char answer[4096];
	int is_refused, is_answered;
	int is_leaving; /* set by a command that ends the loop it was read by */
	int is_at_end;
} commands;

/* Adds to the answer; what has no room left would be a mistake of ours. */
static __attribute__((format(printf, 1, 2))) void add_to_answer(const char *format, ...)
{
	size_t used = strlen(commands.answer);
	va_list values;
	int length;

	va_start(values, format);
	length = vsnprintf(commands.answer + used, sizeof(commands.answer) - used, format, values);
	va_end(values);
	if (length < 0 || used + (size_t)length >= sizeof(commands.answer))
		leaky_fail("an answer is too long");
}

/* A command that was refused has no numbers to give. */
static void answer(const char *name, uint64_t value)
{
	if (!commands.is_refused)
		add_to_answer(" %s %" PRIu64, name, value);
}

static void answer_address(const char *name, const volatile void *address)
{
	if (!commands.is_refused)
		add_to_answer(" %s %#" PRIxPTR, name, (uintptr_t)address);
}

/* Answers with an error instead; the first one counts. */
static __attribute__((format(printf, 1, 2))) void refuse(const char *format, ...)
{
	va_list values;
	int length;

	if (commands.is_refused)
		return;
	va_start(values, format);
	length = vsnprintf(commands.answer, sizeof(commands.answer), format, values);
	va_end(values);
	if (length < 0)
		leaky_fail("vsnprintf");
	commands.is_refused = 1;
}

static void refuse_errno(const char *what)
{
	refuse("%s: %s", what, strerror(errno));
}

static void write_fully(const char *text, size_t bytes)
{
	while (bytes) {
		ssize_t written = write(STDOUT_FILENO, text, bytes);

		if (written < 0 && errno != EINTR)
			leaky_fail("write");
		if (written > 0) {
			text += written;
			bytes -= (size_t)written;
		}
	}
}

/* Sends the answer now: also for a command that goes on to read others from where it is. */
static void send_answer(void)
{
	const char *verdict = commands.is_refused ? "error " : "ok";

	write_fully(verdict, strlen(verdict));
	write_fully(commands.answer, strlen(commands.answer));
	write_fully("\n", 1);
	commands.is_answered = 1;
}

/*
 * Takes the next line into commands.line, without its end; returns 0 at the end of the input. Of a
 * line that is too long only the beginning is kept, which no command's usage fits.
 */
static int take_line(void)
{
	int is_too_long = 0;

	for (;;) {
		char *end = memchr(commands.pending, '\n', commands.pending_bytes);
		size_t length = end ? (size_t)(end - commands.pending) : commands.pending_bytes;
		ssize_t got;

		if (end || length == sizeof(commands.pending)) {
			size_t kept =
				length < sizeof(commands.line) ? length : sizeof(commands.line) - 1;
			size_t used = length + (end != NULL);

			if (!is_too_long) {
				memcpy(commands.line, commands.pending, kept);
				commands.line[kept] = 0;
			}
			is_too_long = !end;
			commands.pending_bytes -= used;
			memmove(commands.pending, commands.pending + used, commands.pending_bytes);
			if (end)
				return 1;
		}
		got = read(STDIN_FILENO, commands.pending + commands.pending_bytes,
			sizeof(commands.pending) - commands.pending_bytes);
		if (!got)
			return 0;
		if (got < 0 && errno != EINTR)
			leaky_fail("read");
		if (got > 0)
			commands.pending_bytes += (size_t)got;
	}
}

/*
 * Gives the pages of a mapping a line of their own in /proc/PID/maps. The kernel makes one mapping
 * of neighbours that are alike, and what the app has mapped would be added to what a library has.
 * Pages that stay out of core dumps are not like those of any library. That is their only effect.
 */
static void set_apart(volatile void *address, size_t bytes)
{
	uintptr_t page = (uintptr_t)sysconf(_SC_PAGESIZE);
	uintptr_t first = (uintptr_t)address & ~(page - 1);

	if (madvise((void *)first, (uintptr_t)address + bytes - first, MADV_DONTDUMP))
		leaky_fail("madvise");
}

static void add_usage(const struct command *command)
{
	add_to_answer(" %s", command->name);
	for (int n = 0; n < MOST_ARGUMENTS && command->arguments[n].name; n++)
		add_to_answer(command->arguments[n].is_optional ? " [%s]" : " %s",
			command->arguments[n].name);
}

static void refuse_with_usage(const struct command *command)
{
	refuse("usage:");
	add_usage(command);
}

static void refuse_unknown(const struct command *table, const char *name)
{
	refuse("there is no command %.40s; there are:", name);
	for (; table->name; table++) {
		add_usage(table);
		if (table[1].name)
			add_to_answer(",");
	}
}

/* Returns whether it is a decimal number within its range; else the command is refused. */
static int parse_number(const struct argument *argument, struct value *value)
{
	char *end;

	errno = 0;
	value->number = strtoull(value->word, &end, 10);
	if (!isdigit((unsigned char)*value->word) || *end || errno ||
		value->number < argument->least || value->number > argument->most) {
		refuse("%s is a whole number from %" PRIu64 " to %" PRIu64 ", not %.40s",
			argument->name, argument->least, argument->most, value->word);
		return 0;
	}
	return 1;
}

/* Splits the rest of the line into the command's arguments; returns whether they are as asked. */
static int parse_arguments(const struct command *command, char **rest, struct value *given)
{
	for (int n = 0; n < MOST_ARGUMENTS && command->arguments[n].name; n++) {
		const struct argument *argument = &command->arguments[n];

		given[n].word = strtok_r(NULL, " \t\r", rest);
		if (!given[n].word) {
			if (argument->is_optional)
				return 1;
			refuse_with_usage(command);
			return 0;
		}
		if (!argument->is_word && !parse_number(argument, &given[n]))
			return 0;
	}
	if (strtok_r(NULL, " \t\r", rest)) {
		refuse_with_usage(command);
		return 0;
	}
	return 1;
}

static void run_line(const struct command *table)
{
	struct value given[MOST_ARGUMENTS] = { 0 };
	const struct command *command = table;
	char *rest, *name = strtok_r(commands.line, " \t\r", &rest);

	if (!name)
		return;
	commands.answer[0] = 0;
	commands.is_refused = commands.is_answered = 0;
	while (command->name && strcmp(command->name, name))
		command++;
	if (!command->name)
		refuse_unknown(table, name);
	else if (parse_arguments(command, &rest, given))
		command->run(given);
	if (!commands.is_answered && !commands.is_leaving)
		send_answer();
}

/* Reads and runs commands until the input ends or a command leaves. The table ends with {0}. */
static void run_commands(const struct command *table)
{
	while (!commands.is_leaving && !commands.is_at_end) {
		if (take_line())
			run_line(table);
		else
			commands.is_at_end = 1;
	}
}

/*
 * Takes the options.
 *
 * Huge pages are turned off for the process: where the kernel gives them to everybody (Debian does)
 * the first write to a page would bring 512 of them, and the lesson is about one.
 */
static void start_commands(int argc, char **argv)
{
	char *end = NULL;
	unsigned long lifetime_s = 0;

	if (argc == 3 && !strcmp(argv[1], "--lifetime") && isdigit((unsigned char)*argv[2]))
		lifetime_s = strtoul(argv[2], &end, 10);
	if (argc != 1 && (!end || *end || lifetime_s > 1000000000)) {
		fprintf(stderr, "usage: %s [--lifetime S]\n", argv[0]);
		exit(2);
	}
	if (signal(SIGALRM, leaky_expire) == SIG_ERR)
		leaky_fail("signal");
	if (lifetime_s)
		alarm((unsigned)lifetime_s);
	if (prctl(PR_SET_THP_DISABLE, 1, 0, 0, 0))
		leaky_fail("turning huge pages off");
}

/* Lets someone at a terminal know what there is, or a program that the app is up; then serves. */
static void serve_commands(const char *name, const struct command *table)
{
	if (isatty(STDIN_FILENO)) {
		add_to_answer("%s takes these commands, a line each; Ctrl-D ends it:\n", name);
		for (const struct command *command = table; command->name; command++) {
			add_to_answer(" ");
			add_usage(command);
			add_to_answer("\n");
		}
		write_fully(commands.answer, strlen(commands.answer));
	} else {
		answer("pid", (uint64_t)getpid());
		send_answer();
	}
	run_commands(table);
}

#endif
