/* hostile: reaches for what is not its own; expects: "reached nothing" */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <dirent.h>
#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/ptrace.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

static int reached;

static void tell(int has_reached, const char *what)
{
	if (has_reached)
		printf("reached %s\n", what);
	reached += has_reached;
}

/* Others' files: none of them is to be seen. */
static void read_files(void)
{
	static const char *const paths[] = { "/etc/passwd", "/etc/shadow", "/root", "/home", "/var",
		"/run", "/sys/kernel", "/lab", "/dev/mem", "/dev/vda", "/dev/sda", "/proc/kcore" };

	char letter;

	for (size_t i = 0; i < sizeof(paths) / sizeof(*paths); i++)
		tell(open(paths[i], O_RDONLY) >= 0, paths[i]);
	tell(access("/work/answers.json", F_OK) == 0, "the answers");
	tell(read(open("/proc/1/environ", O_RDONLY), &letter, 1) > 0, "its judge's environment");
}

/* Other processes: of the whole machine it sees the first of its sandbox, and itself. */
static void look_around(void)
{
	DIR *proc = opendir("/proc");
	int seen = 0;

	for (struct dirent *entry; proc && (entry = readdir(proc));)
		seen += atoi(entry->d_name) > 0;
	tell(seen > 2, "other processes");
	for (pid_t pid = 1; pid < 4096; pid++)
		if (pid != getpid())
			tell(ptrace(PTRACE_SEIZE, pid, 0, 0) == 0 && pid != 1,
				"a process by ptrace");
}

static void write_files(void)
{
	static const char *const paths[] = { "/work/fib_leak-O2", "/work/new", "/new", "/dev/new",
		"/usr/new", "/proc/sys/kernel/core_pattern", "/proc/sys/vm/drop_caches",
		"/inside.py" };

	for (size_t i = 0; i < sizeof(paths) / sizeof(*paths); i++)
		tell(open(paths[i], O_WRONLY | O_CREAT, 0600) >= 0, paths[i]);
}

static void connect_out(void)
{
	struct sockaddr_in network = { .sin_family = AF_INET, .sin_port = htons(53) };
	struct sockaddr_un tracer = { .sun_family = AF_UNIX };
	int one = socket(AF_INET, SOCK_STREAM, 0), other = socket(AF_UNIX, SOCK_STREAM, 0);

	inet_pton(AF_INET, "192.0.2.1", &network.sin_addr);
	tell(connect(one, (struct sockaddr *)&network, sizeof(network)) == 0, "the network");
	strcpy(tracer.sun_path, "/run/memory-leak-lab/tracer.sock");
	tell(connect(other, (struct sockaddr *)&tracer, sizeof(tracer)) == 0, "the tracer");
}

static void gain_rights(void)
{
	tell(setuid(0) == 0, "root");
	tell(unshare(CLONE_NEWUSER) == 0, "a namespace");
	tell(mount("none", "/tmp", "tmpfs", 0, NULL) == 0, "a mount");
	tell(umount2("/tmp", MNT_DETACH) == 0, "what lies below a mount");
	tell(chroot("/tmp") == 0, "another root");
	tell(mknod("/tmp/disk", S_IFBLK | 0600, 0x800) == 0, "a device");
	tell(nice(-5) != -1, "a better priority");
}

int main(void)
{
	read_files();
	look_around();
	write_files();
	connect_out();
	gain_rights();
	if (!reached)
		puts("reached nothing");
	return 0;
}
