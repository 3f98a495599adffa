/* hostile: ignores every signal, and sleeps for ever; expects: "still ran after" */
#include <signal.h>
#include <unistd.h>

int main(void)
{
	for (int number = 1; number < 65; number++)
		signal(number, SIG_IGN);
	for (;;)
		pause();
}
