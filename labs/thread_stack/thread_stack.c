/*
 * thread_stack.c - answers each question in a thread of its own.
 *
 * usage: thread_stack [--rate R] [--terms N] [--wait] [--lifetime S] [--stay]
 *
 * Try: ./thread_stack --rate 20 > /dev/null, and watch VIRT and RES in top
 */
#include <pthread.h>
#include <semaphore.h>

#include "leaky.h"

#define STACK_KIB 64

struct question {
	uint64_t number;
	uint64_t answer;
	sem_t is_answered;
};

static pthread_attr_t attributes;

/* The sum of the digits of all numbers up to the one in the question. */
static void *find_answer(void *argument)
{
	struct question *question = argument;
	uint64_t sum = 0;

	for (uint64_t number = 1; number <= question->number; number++)
		for (uint64_t rest = number; rest; rest /= 10)
			sum += rest % 10;
	question->answer = sum;
	if (sem_post(&question->is_answered))
		leaky_fail("sem_post");
	return NULL;
}

LEAKY_SITE static void put_question(struct question *question)
{
	pthread_t thread;

	if ((errno = pthread_create(&thread, &attributes, find_answer, question)))
		leaky_fail("pthread_create");
	while (sem_wait(&question->is_answered))
		if (errno != EINTR)
			leaky_fail("sem_wait");
}

static void take_question(uint64_t n)
{
	struct question question = { .number = n };

	if (sem_init(&question.is_answered, 0, 0))
		leaky_fail("sem_init");
	put_question(&question);
	printf("the digits of all numbers up to %" PRIu64 " add up to %" PRIu64 "\n", n,
		question.answer);
	if (sem_destroy(&question.is_answered))
		leaky_fail("sem_destroy");
}

int main(int argc, char **argv)
{
	struct leaky_options options = leaky_start(argc, argv);

	if ((errno = pthread_attr_init(&attributes)))
		leaky_fail("pthread_attr_init");
	if ((errno = pthread_attr_setstacksize(&attributes, (size_t)STACK_KIB << 10)))
		leaky_fail("pthread_attr_setstacksize");
	leaky_run(&options, take_question);
	return 0;
}
