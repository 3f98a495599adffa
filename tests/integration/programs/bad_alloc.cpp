// bad_alloc.cpp - asks for more than there is, catches the exception, and ends well; and by
// allocating once more shows that the allocator is as good as before.
#include <cstddef>
#include <new>

static char *allocate(volatile std::size_t size)
{
	char *block = new char[size];
	__asm__ volatile("" : : "r"(block) : "memory");
	return block;
}

int main()
{
	try {
		allocate(1UL << 60);
		return 3;
	} catch (const std::bad_alloc &) {
		allocate(100);
	}
	return 0;
}
