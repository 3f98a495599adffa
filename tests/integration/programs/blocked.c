/*
 * blocked.c - threads that wait in every kind of system call, and notice what wakes them.
 *
 * Each waits for something that never comes, most of them without a limit of time. A call that
 * returns is an error, which the program says at once. SIGRTMIN is counted. SIGTERM ends it: then
 * it says how many signals came and how often its timer of 10 ms ran out, and exits with 0.
 *
 * usage: blocked [--wait]
 */
#define _GNU_SOURCE
#include "leaky.h"
#include <linux/futex.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <semaphore.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/inotify.h>
#include <sys/ipc.h>
#include <sys/msg.h>
#include <sys/select.h>
#include <sys/sem.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/un.h>

#define LONG_S 1000
#define CALLS 19

static int pipe_ends[2], sockets[2], listener, never, queue, semaphores, has_own_ipc;
static volatile sig_atomic_t signals, ticks, is_over;

static void on_signal(int number)
{
	if (number == SIGTERM)
		is_over = 1;
	else if (number == SIGVTALRM)
		ticks++;
	else
		signals++;
}

static int wait_in(int call)
{
	struct timespec time = { LONG_S, 0 };
	struct pollfd poll_fd = { never, POLLIN, 0 };
	struct epoll_event event = { .events = EPOLLIN };
	struct sembuf operation = { 0, -1, 0 };
	char buffer[256];
	uint32_t word = 0;
	sigset_t set;
	fd_set files;
	sem_t semaphore;
	int epoll;

	switch (call) {
	case 0:
		return nanosleep(&time, NULL);
	case 1:
		return clock_nanosleep(CLOCK_MONOTONIC, 0, &time, NULL);
	case 2:
		return (int)read(pipe_ends[0], buffer, sizeof(buffer));
	case 3:
		return poll(&poll_fd, 1, -1);
	case 4:
		return poll(&poll_fd, 1, LONG_S * 1000);
	case 5:
	case 6:
	case 7:
		epoll = epoll_create1(0);
		if (epoll_ctl(epoll, EPOLL_CTL_ADD, never, &event))
			leaky_fail("epoll_ctl");
		if (call == 5)
			return epoll_wait(epoll, &event, 1, -1);
		if (call == 6)
			return epoll_wait(epoll, &event, 1, LONG_S * 1000);
		sigfillset(&set);
		return epoll_pwait(epoll, &event, 1, -1, &set);
	case 8:
		return (int)syscall(SYS_futex, &word, FUTEX_WAIT, 0, NULL, NULL, 0);
	case 9:
		return (int)syscall(SYS_futex, &word, FUTEX_WAIT, 0, &time, NULL, 0);
	case 10:
		sem_init(&semaphore, 0, 0);
		return sem_wait(&semaphore);
	case 11:
		sigemptyset(&set);
		sigaddset(&set, SIGRTMAX);
		return sigtimedwait(&set, NULL, &time);
	case 12:
		return accept(listener, NULL, NULL);
	case 13:
		return (int)recv(sockets[0], buffer, sizeof(buffer), 0);
	case 14:
		return (int)read(sockets[1], buffer, sizeof(buffer));
	case 15:
		if (!has_own_ipc)
			return (int)read(never, buffer, sizeof(buffer));
		return semop(semaphores, &operation, 1);
	case 16:
		if (!has_own_ipc)
			return (int)read(never, buffer, sizeof(buffer));
		return (int)msgrcv(queue, buffer, sizeof(buffer) - sizeof(long), 0, 0);
	case 17:
		FD_ZERO(&files);
		FD_SET(never, &files);
		return select(never + 1, &files, NULL, NULL, NULL);
	default:
		return (int)read(inotify_init(), buffer, sizeof(buffer));
	}
}

static void *work(void *argument)
{
	int call = (int)(intptr_t)argument;
	sigset_t all;
	int result;

	sigfillset(&all);
	pthread_sigmask(SIG_BLOCK, &all, NULL);
	result = wait_in(call);
	while (is_over)
		pause();
	printf("call %d returned %d: %s\n", call, result, strerror(errno));
	exit(1);
}

static void open_all(void)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	struct timeval limit = { LONG_S, 0 };

	never = eventfd(0, 0);
	listener = socket(AF_UNIX, SOCK_STREAM, 0);
	has_own_ipc = !unshare(CLONE_NEWIPC); /* it ends with us, also when we are killed */
	queue = has_own_ipc ? msgget(IPC_PRIVATE, 0600) : 0;
	semaphores = has_own_ipc ? semget(IPC_PRIVATE, 1, 0600) : 0;
	if (pipe(pipe_ends) || socketpair(AF_UNIX, SOCK_STREAM, 0, sockets) || never < 0 ||
		queue < 0 || semaphores < 0 || bind(listener, (void *)&address, sizeof(short)) ||
		listen(listener, 1) ||
		setsockopt(sockets[1], SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit)))
		leaky_fail("open_all");
}

int main(int argc, char **argv)
{
	struct itimerval every = { { 0, 10000 }, { 0, 10000 } };
	struct leaky_options options = leaky_start(argc, argv);
	pthread_t thread;
	void *volatile block;

	open_all();
	signal(SIGTERM, on_signal);
	signal(SIGVTALRM, on_signal);
	signal(SIGRTMIN, on_signal);
	for (intptr_t call = 0; call < CALLS; call++)
		if ((errno = pthread_create(&thread, NULL, work, (void *)call)))
			leaky_fail("pthread_create");
	leaky_wait_for_release(&options);
	block = malloc(1000);
	if (setitimer(ITIMER_VIRTUAL, &every, NULL))
		leaky_fail("setitimer");
	while (!is_over)
		;
	free(block);
	printf("%d signals, %s\n", (int)signals, ticks ? "the timer ran" : "no timer ran");
	fflush(stdout);
	_exit(0);
}
