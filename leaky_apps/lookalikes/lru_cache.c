/*
 * lru_cache.c - looks up addresses, and keeps the ones asked for last; the oldest makes room.
 *
 * usage: lru_cache [--rate R] [--terms N] [--wait] [--lifetime S] [--stay]
 *
 * Until the cache is full it looks like a leak: it only allocates. From then on each new answer
 * replaces the one that was not asked for the longest.
 *
 * Try: ./lru_cache --rate 50     full after two seconds
 */
#include "leaky.h"

#ifndef CACHED
#define CACHED 100
#endif
#ifndef ANSWER_BYTES
#define ANSWER_BYTES 1500
#endif

struct answer {
	struct answer *newer, *older;
	uint64_t host;
	char text[ANSWER_BYTES];
};

static struct answer *newest, *oldest;
static unsigned count;

static void unlink_answer(struct answer *answer)
{
	*(answer->newer ? &answer->newer->older : &newest) = answer->older;
	*(answer->older ? &answer->older->newer : &oldest) = answer->newer;
	count--;
}

static void link_newest(struct answer *answer)
{
	answer->newer = NULL;
	answer->older = newest;
	*(newest ? &newest->newer : &oldest) = answer;
	newest = answer;
	count++;
}

LEAKY_SITE static struct answer *resolve(uint64_t host)
{
	struct answer *answer = malloc(sizeof(*answer));

	if (!answer)
		leaky_fail("malloc");
	answer->host = host;
	snprintf(answer->text, ANSWER_BYTES, "10.%" PRIu64 ".%" PRIu64 ".1", host / 256 % 256,
		host % 256);
	return answer;
}

static void drop_oldest(void)
{
	struct answer *dropped = oldest;

	unlink_answer(dropped);
	free(dropped);
}

static void look_up(uint64_t n)
{
	struct answer *answer = newest;

	while (answer && answer->host != n)
		answer = answer->older;
	if (answer)
		unlink_answer(answer);
	else
		answer = resolve(n);
	link_newest(answer);
	if (count > CACHED)
		drop_oldest();
	printf("host %" PRIu64 " is %s, %u are cached\n", n, newest->text, count);
}

int main(int argc, char **argv)
{
	struct leaky_options options = leaky_start(argc, argv);

	leaky_run(&options, look_up);
	while (count)
		drop_oldest();
	return 0;
}
