/*
 * cxx_reach.cpp - what C++ keeps of its blocks: a pointer behind the cookie of new[], containers.
 */
#include <map>
#include <string>
#include <vector>

struct with_destructor {
	char content[25];
	~with_destructor()
	{
		content[0] = 0;
	}
};

static with_destructor *volatile array;
static std::vector<char *> *volatile vector;
static std::map<int, std::string> *volatile map;

extern "C" __attribute__((noinline)) void reached_by_cookie()
{
	array = new with_destructor[5];
}

extern "C" __attribute__((noinline)) void reached_from_vector()
{
	vector = new std::vector<char *>;
	for (int i = 0; i < 10; i++)
		vector->push_back(new char[105]);
}

extern "C" __attribute__((noinline)) void reached_from_map()
{
	map = new std::map<int, std::string>;
	for (int i = 0; i < 10; i++)
		(*map)[i] = std::string(201, 'x');
}

extern "C" __attribute__((noinline)) void lost_elements()
{
	std::vector<char *> dropped;

	for (int i = 0; i < 10; i++)
		dropped.push_back(new char[313]);
}
