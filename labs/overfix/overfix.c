/*
 * overfix.c - the counter of a shop: answers what people ask, and whoever asks for the same again
 * is given the last answer once more.
 *
 * usage: overfix [--rate R] [--terms N] [--wait] [--lifetime S] [--stay]
 *
 * Try: ./overfix --rate 100      each new answer takes memory, and keeps it
 */
#include "leaky.h"

#define ANSWER_BYTES 2048
#define AGAIN_EVERY 5   /* one in so many wants the same again */
#define CLOSED_EVERY 16 /* and one in so many comes when the shop is closed */

static char notice[] = "closed, come back tomorrow";

/* The last answer that was written, for who wants the same again. */
static char *last;

/* Returns a new answer. It is the caller's. */
LEAKY_SITE static char *write_answer(uint64_t n)
{
	char *answer = malloc(ANSWER_BYTES);

	if (!answer)
		leaky_fail("malloc");
	snprintf(answer, ANSWER_BYTES, "shelf %" PRIu64 ", box %" PRIu64, n * 7 % 90, n * 13 % 400);
	return answer;
}

/* Returns what to tell customer `n`: a new answer, the last one again, or the notice. */
LEAKY_SITE static char *choose_answer(uint64_t n)
{
	if (n % CLOSED_EVERY == CLOSED_EVERY - 1)
		return notice;
	if (last && n % AGAIN_EVERY == AGAIN_EVERY - 1)
		return last;
	return write_answer(n);
}

LEAKY_SITE static void serve(uint64_t n)
{
	char *answer = choose_answer(n);

	printf("customer %" PRIu64 ": %s\n", n, answer);
	if (answer != notice)
		last = answer;
}

int main(int argc, char **argv)
{
	struct leaky_options options = leaky_start(argc, argv);

	leaky_run(&options, serve);
	return 0;
}
