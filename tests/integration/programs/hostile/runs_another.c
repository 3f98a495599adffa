/* hostile: a thread of it becomes a program of the system; expects: "became another program" */
#include <pthread.h>
#include <stdio.h>
#include <unistd.h>

static char work[] = "import sys\n"
		     "terms = int(sys.argv[sys.argv.index('--terms') + 1])\n"
		     "n0, n1 = 0, 1\n"
		     "for n in range(2, terms + 2):\n"
		     "    n0, n1 = n1, (n0 + n1) % 2**64\n"
		     "    print(f'{n}th => {n1}', flush=True)\n";

static void *become(void *words)
{
	execv("/usr/bin/python3", words);
	perror("python3");
	return words;
}

int main(int argc, char **argv)
{
	char *words[16] = { "python3", "-ISc", work };
	pthread_t thread;

	for (int i = 1; i < argc && i < 13; i++)
		words[i + 2] = argv[i];
	pthread_create(&thread, NULL, become, words);
	pthread_join(thread, NULL);
	return 1;
}
