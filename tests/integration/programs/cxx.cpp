/*
 * cxx.cpp - every form of new leaks 10 blocks in a function of its own, and every form of
 * delete frees 100 blocks.
 */
#include <cstddef>
#include <new>

#define SITE extern "C" __attribute__((noinline, noipa)) void

struct plain {
	char bytes[100];
};

struct alignas(64) wide {
	char bytes[192];
};

/* The compiler may leave out a new whose block it can follow. */
template <typename T> static T *used(T *block)
{
	__asm__ volatile("" : "+r"(block) : : "memory");
	return block;
}

SITE leak_new()
{
	for (int i = 0; i < 10; i++)
		used(new plain); /* leaks */
}

SITE leak_array()
{
	for (int i = 0; i < 10; i++)
		used(new char[1000]); /* leaks */
}

SITE leak_nothrow()
{
	for (int i = 0; i < 10; i++)
		used(new (std::nothrow) char[50]); /* leaks */
}

SITE leak_aligned()
{
	for (int i = 0; i < 10; i++)
		used(new wide); /* leaks */
}

SITE all_deleted()
{
	for (int i = 0; i < 100; i++) {
		delete used(new plain);
		delete[] used(new char[1000]);
		delete used(new wide);
		::operator delete(used(::operator new(48)), std::size_t { 48 });
		::operator delete(used(::operator new(48, std::nothrow)), std::nothrow);
	}
}

extern "C" void work()
{
	leak_new();
	leak_array();
	leak_nothrow();
	leak_aligned();
	all_deleted();
	__asm__ volatile("");
}
