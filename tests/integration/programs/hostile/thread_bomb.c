/* hostile: starts threads without end, each of which works; expects: "too many processes" */
#include <pthread.h>
#include <stdlib.h>

static volatile unsigned long work;

static void *spin(void *unused)
{
	for (;;)
		work++;
	return unused;
}

int main(void)
{
	pthread_t thread;

	for (;;)
		pthread_create(&thread, NULL, spin, NULL);
}
