/*
 * in_register.c - a block whose address is in a register alone, of a thread that turns in a loop.
 *
 * usage: in_register [--wait]
 */
#include "leaky.h"

LEAKY_SITE static void *reached_from_register(void)
{
	void *block = malloc(1609);

	if (!block)
		leaky_fail("malloc");
	return block;
}

LEAKY_SITE static void *reached_from_vector(void)
{
	void *block = malloc(1705);

	if (!block)
		leaky_fail("malloc");
	return block;
}

LEAKY_SITE static void lost_from_register(void)
{
	void *volatile block = malloc(1801);

	block = NULL;
	(void)block;
}

LEAKY_SITE static void wipe(int frames)
{
	volatile char left[512];

	memset((void *)left, 0, sizeof(left));
	if (frames)
		wipe(frames - 1);
}

/* Move two addresses to where nobody looks for them, forget them, and turn for ever. */
LEAKY_SITE static void turn(void *one, void *other)
{
#if defined(__x86_64__)
	__asm__ volatile("movq %0, %%r13\n\t"
			 "movq %1, %%xmm9\n\t"
			 "xorl %%edi, %%edi\n\t"
			 "xorl %%esi, %%esi\n\t"
			 "xorl %%eax, %%eax\n\t"
			 "xorl %%ebx, %%ebx\n\t"
			 "xorl %%ebp, %%ebp\n\t"
			 "1: pause\n\t"
			 "jmp 1b"
		:
		: "D"(one), "S"(other)
		: "memory");
#else
	for (;;)
		__asm__ volatile("" : : "r"(one), "r"(other));
#endif
}

int main(int argc, char **argv)
{
	struct leaky_options options = leaky_start(argc, argv);

	leaky_wait_for_release(&options);
	lost_from_register();
	wipe(100);
	turn(reached_from_register(), reached_from_vector());
}
