/*
 * recursion.c - goes down the stack as deep as it is told, and answers from there.
 *
 * usage: recursion [--lifetime S]
 *
 *   recurse DEPTH BYTES   call itself DEPTH times, each call with BYTES of locals, all written
 *   unwind                return from all calls
 *   thread [BYTES]        start a thread with a stack of its own, of so many bytes
 *   end_threads           let the threads end
 *   limit                 how large the stack of the process may become
 *   set_limit BYTES       lower it, or raise it again
 *   overflow              call itself without end: the kernel kills the process
 *   overflow_thread       the same in a thread: it runs into the guard below its stack
 *
 * Try: ./recursion                                          and type: recurse 100 10000
 * Try: grep -A 2 stack /proc/$(pidof recursion)/smaps       in another terminal: 1 MB more
 * Try: unwind                                               and look again: it has not shrunk
 *
 * Nothing leaks: a local is gone when its function returns.
 */
#define _GNU_SOURCE /* pthread_getattr_np */
#include <sys/resource.h>

#include "threads.h"

#define MOST_FRAME_BYTES 65536
#define MOST_DEPTH 1000000
#define MOST_LIMIT_BYTES ((uint64_t)64 << 20)
#define LEAST_LIMIT_BYTES ((uint64_t)128 << 10)
#define FRAME_EXTRA_BYTES 256             /* more than what a call keeps beside its locals */
#define MARGIN_BYTES ((uint64_t)64 << 10) /* for what lies above main and below the last call */

static const struct command table[];
static volatile char *top; /* where the stack stood in main */
static uint64_t depth;     /* calls of recurse_once that have not returned */

static struct {
	volatile char *local;
	void *lowest;
	size_t bytes, guard_bytes;
} thread_stack;

static void answer_depth(volatile char *local)
{
	answer("depth", depth);
	answer_address("local", local);
	answer("bytes", (uint64_t)(top - local));
}

/*
 * One call: a frame of at least `frame_bytes`, whose every byte is written. A volatile array whose
 * size isn't known when it is compiled can't be left out, nor shared by several calls.
 */
LEAKY_SITE static void recurse_once(uint64_t calls_left, size_t frame_bytes)
{
	volatile char locals[frame_bytes];

	for (size_t n = 0; n < frame_bytes; n++)
		locals[n] = 1;
	depth++;
	if (calls_left > 1) {
		recurse_once(calls_left - 1, frame_bytes);
	} else {
		answer_depth(locals);
		send_answer();
		run_commands(table);
	}
	depth--;
}

static uint64_t read_limit(void)
{
	struct rlimit limit;

	if (getrlimit(RLIMIT_STACK, &limit))
		leaky_fail("getrlimit");
	return limit.rlim_cur;
}

static void write_limit(uint64_t bytes)
{
	struct rlimit limit;

	if (getrlimit(RLIMIT_STACK, &limit))
		leaky_fail("getrlimit");
	limit.rlim_cur = bytes;
	if (setrlimit(RLIMIT_STACK, &limit))
		refuse_errno("setrlimit");
}

/* The answer of the calls comes from their bottom; the one here is that of unwind, once all have
 * returned. */
static void recurse(const struct value *given)
{
	volatile char local = 1;
	uint64_t used = (uint64_t)(top - &local);
	uint64_t more = given[0].number * (given[1].number + FRAME_EXTRA_BYTES);

	if (used + more + MARGIN_BYTES > read_limit()) {
		refuse("so many calls don't fit: the stack may have %" PRIu64
		       " bytes; overflow shows what would happen",
			read_limit());
		return;
	}
	recurse_once(given[0].number, given[1].number);
	if (depth || commands.is_at_end)
		return;
	commands.is_leaving = commands.is_answered = 0;
	commands.answer[0] = 0;
	answer_depth(&local);
}

static void unwind(const struct value *given)
{
	volatile char local = 1;

	(void)given;
	if (depth)
		commands.is_leaving = 1;
	else
		answer_depth(&local);
}

LEAKY_SITE static void look_at_own_stack(void)
{
	volatile char local = 1;
	pthread_attr_t attributes;

	if ((errno = pthread_getattr_np(pthread_self(), &attributes)) ||
		(errno = pthread_attr_getstack(
			 &attributes, &thread_stack.lowest, &thread_stack.bytes)) ||
		(errno = pthread_attr_getguardsize(&attributes, &thread_stack.guard_bytes)))
		leaky_fail("reading a thread's stack");
	pthread_attr_destroy(&attributes);
	thread_stack.local = &local;
}

static void thread(const struct value *given)
{
	if (!start_thread(look_at_own_stack, given[0].number))
		return;
	answer("threads", threads.count);
	answer_address("local", thread_stack.local);
	answer_address("lowest", thread_stack.lowest);
	answer("bytes", thread_stack.bytes);
	answer("guard_bytes", thread_stack.guard_bytes);
}

static void limit(const struct value *given)
{
	volatile char local = 1;

	(void)given;
	answer("limit_bytes", read_limit());
	answer("used_bytes", (uint64_t)(top - &local));
}

static void set_limit(const struct value *given)
{
	write_limit(given[0].number);
	limit(given);
}

/* The compiler would warn of a recursion that it sees has no end. */
LEAKY_SITE static void recurse_without_end(volatile int *has_no_end)
{
	volatile char locals[4096];

	for (size_t n = 0; n < sizeof(locals); n++)
		locals[n] = 1;
	if (*has_no_end)
		recurse_without_end(has_no_end);
}

static void overflow_here(void)
{
	volatile int has_no_end = 1;

	recurse_without_end(&has_no_end);
}

static void overflow(const struct value *given)
{
	(void)given;
	overflow_here();
}

static void overflow_thread(const struct value *given)
{
	(void)given;
	start_thread(overflow_here, 0);
}

static const struct command table[] = {
	{ "recurse", recurse,
		{ NUMBER("DEPTH", 1, MOST_DEPTH), NUMBER("BYTES", 1, MOST_FRAME_BYTES) } },
	{ "unwind", unwind, { { 0 } } },
	{ "thread", thread, { OPTIONAL_NUMBER("BYTES", LEAST_LIMIT_BYTES, MOST_LIMIT_BYTES) } },
	{ "end_threads", answer_threads_ended, { { 0 } } },
	{ "limit", limit, { { 0 } } },
	{ "set_limit", set_limit, { NUMBER("BYTES", LEAST_LIMIT_BYTES, MOST_LIMIT_BYTES) } },
	{ "overflow", overflow, { { 0 } } },
	{ "overflow_thread", overflow_thread, { { 0 } } },
	{ 0 },
};

/* A stack without a limit would not overflow before it had eaten the machine. */
int main(int argc, char **argv)
{
	volatile char local = 1;

	top = &local;
	if (read_limit() > MOST_LIMIT_BYTES)
		write_limit(MOST_LIMIT_BYTES);
	start_commands(argc, argv);
	serve_commands(argv[0], table);
	end_all_threads();
	return 0;
}
