/*
 * shared_cycle.cpp - a chat: a room shares its members, and each member shares the room.
 *
 * usage: shared_cycle [--rate R] [--terms N] [--wait] [--lifetime S] [--stay]
 *
 * A shared_ptr frees when the last one goes. These two never go: each waits for the other. One of
 * them should be a std::weak_ptr.
 *
 * Try: ./shared_cycle --rate 100
 */
#include <memory>

#include "leaky.h"

#ifndef HISTORY_BYTES
#define HISTORY_BYTES 1000
#endif

struct Room;

struct Member {
	std::shared_ptr<Room> room;
};

struct Room {
	std::shared_ptr<Member> member;
	std::unique_ptr<char[]> history;
};

LEAKY_SITE static std::unique_ptr<char[]> make_history()
{
	return std::unique_ptr<char[]>(new char[HISTORY_BYTES]());
}

LEAKY_SITE static std::shared_ptr<Room> open_room()
{
	std::shared_ptr<Room> room(new Room);

	room->history = make_history();
	return room;
}

LEAKY_SITE static void join(const std::shared_ptr<Room> &room)
{
	room->member.reset(new Member);
	room->member->room = room;
}

static void chat(uint64_t n)
{
	std::shared_ptr<Room> room = open_room();

	join(room);
	snprintf(room->history.get(), HISTORY_BYTES, "room %" PRIu64 ": hello, and goodbye", n);
	puts(room->history.get());
}

int main(int argc, char **argv)
{
	leaky_options options = leaky_start(argc, argv);

	leaky_run(&options, chat);
	return 0;
}
