/*
 * object_pool.c - a game: its sparks come from a pool, and go back into it when they are burnt out.
 *
 * usage: object_pool [--rate R] [--terms N] [--wait] [--lifetime S] [--stay]
 *
 * malloc is called only when the pool is empty, and free not before the end. So the pool is as
 * large as the most sparks that ever flew at once: it grows with each new record, and no more.
 *
 * Try: ./object_pool --rate 50
 */
#include "leaky.h"

#ifndef SPARK_BYTES
#define SPARK_BYTES 488 /* the spark has 24 more */
#endif
#ifndef MOST_SPARKS
#define MOST_SPARKS 90
#endif

struct spark {
	struct spark *next;
	struct spark *next_of_all;
	uint64_t born;
	char state[SPARK_BYTES];
};

static struct spark *pool, *flying, *all;
static unsigned count;

LEAKY_SITE static struct spark *make_spark(void)
{
	struct spark *spark = malloc(sizeof(*spark));

	if (!spark)
		leaky_fail("malloc");
	spark->next_of_all = all;
	all = spark;
	return spark;
}

static void light_spark(uint64_t n)
{
	struct spark *spark = pool;

	if (spark)
		pool = spark->next;
	else
		spark = make_spark();
	spark->born = n;
	memset(spark->state, 1, sizeof(spark->state));
	spark->next = flying;
	flying = spark;
	count++;
}

static void put_all_back(void)
{
	while (flying) {
		struct spark *spark = flying;

		flying = spark->next;
		spark->next = pool;
		pool = spark;
	}
	count = 0;
}

static void play(uint64_t n)
{
	light_spark(n);
	printf("%u sparks, the first from frame %" PRIu64 "\n", count, flying->born - count + 1);
	if (count == (n < MOST_SPARKS ? MOST_SPARKS / 2 : MOST_SPARKS))
		put_all_back();
}

int main(int argc, char **argv)
{
	struct leaky_options options = leaky_start(argc, argv);

	leaky_run(&options, play);
	while (all) {
		struct spark *spark = all;

		all = spark->next_of_all;
		free(spark);
	}
	return 0;
}
