/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * agent - runs commands inside a test guest for the harness outside.
 *
 * It is the first process of the guest (/init ends with it), and talks over
 * one character device, a virtio serial port, in frames:
 *
 *	offset 0	u32	bytes of payload that follow the header
 *	       4	u32	id of the command, chosen by the harness
 *	       8	u32	type
 *
 * all little endian. The harness sends RUN (payload: a shell command) and
 * KILL (payload: u32 signal, for the command and its descendants); the agent
 * sends HELLO when it starts, OUTPUT (what the command wrote to stdout and
 * stderr) and EXIT (payload: u32 exit status, 128 + signal when killed).
 * Output still in the pipe of descendants after EXIT is lost.
 *
 * One thread; any number of commands up to MAX_COMMANDS at a time.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/signalfd.h>
#include <sys/wait.h>
#include <unistd.h>

enum frame_type { HELLO = 1, RUN = 2, KILL = 3, OUTPUT = 4, EXIT = 5 };
enum { MAX_COMMANDS = 64, MAX_PAYLOAD = 64 * 1024 };

struct header {
	uint32_t bytes, id, type;
};

struct command {
	uint32_t id;
	pid_t pid; /* 0: this entry is free */
	int output;
};

static struct command commands[MAX_COMMANDS];
static int port;

static void die(const char *what)
{
	fprintf(stderr, "agent: %s: %s\n", what, strerror(errno));
	exit(1); /* the end of process 1: the kernel panics, the harness sees it */
}

static void write_all(const void *data, size_t bytes)
{
	const char *p = data;

	while (bytes > 0) {
		ssize_t n = write(port, p, bytes);

		if (n < 0 && errno != EINTR && errno != EAGAIN)
			die("write to the port");
		if (n > 0) {
			p += n;
			bytes -= (size_t)n;
		}
	}
}

/* One write per frame: each wakes the hypervisor. */
static void send_frame(uint32_t id, uint32_t type, const void *payload, uint32_t bytes)
{
	static char frame[sizeof(struct header) + MAX_PAYLOAD];
	struct header h = {bytes, id, type};

	memcpy(frame, &h, sizeof(h));
	memcpy(frame + sizeof(h), payload, bytes);
	write_all(frame, sizeof(h) + bytes);
}

static void read_all(void *data, size_t bytes)
{
	char *p = data;

	while (bytes > 0) {
		ssize_t n = read(port, p, bytes);

		if (n < 0 && errno != EINTR && errno != EAGAIN)
			die("read from the port");
		if (n > 0) {
			p += n;
			bytes -= (size_t)n;
		} else {
			usleep(10000); /* nobody is connected */
		}
	}
}

static struct command *find_command(uint32_t id)
{
	for (int i = 0; i < MAX_COMMANDS; i++)
		if (commands[i].pid > 0 && commands[i].id == id)
			return &commands[i];
	return NULL;
}

static void send_exit(uint32_t id, uint32_t status)
{
	send_frame(id, EXIT, &status, sizeof(status));
}

/* The child's side of start_command; does not return. */
static void become_command(const char *text, int output)
{
	sigset_t none;
	int null = open("/dev/null", O_RDONLY);

	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	setsid();
	dup2(null, 0);
	dup2(output, 1);
	dup2(output, 2);
	execl("/bin/sh", "sh", "-o", "pipefail", "-c", text, (char *)NULL);
	_exit(127);
}

static void start_command(uint32_t id, const char *text)
{
	struct command *c = NULL;
	int ends[2];

	for (int i = 0; i < MAX_COMMANDS && !c; i++)
		if (commands[i].pid == 0)
			c = &commands[i];
	if (!c || pipe2(ends, O_CLOEXEC) < 0) {
		static const char full[] = "agent: too many commands\n";

		send_frame(id, OUTPUT, full, sizeof(full) - 1);
		send_exit(id, 126);
		return;
	}
	fcntl(ends[0], F_SETFL, O_NONBLOCK);
	c->pid = fork();
	if (c->pid == 0)
		become_command(text, ends[1]);
	if (c->pid < 0)
		die("fork");
	close(ends[1]);
	c->id = id;
	c->output = ends[0];
}

/* Returns false at the end of the output, or when there is none for now. */
static int forward_output(struct command *c)
{
	static char data[MAX_PAYLOAD];
	ssize_t n = read(c->output, data, sizeof(data));

	if (n > 0) {
		send_frame(c->id, OUTPUT, data, (uint32_t)n);
		return 1;
	}
	if (n == 0) {
		close(c->output);
		c->output = -1;
	}
	return 0;
}

static void reap(void)
{
	int status;
	pid_t pid;

	while ((pid = waitpid(-1, &status, WNOHANG)) > 0) {
		for (int i = 0; i < MAX_COMMANDS; i++) {
			struct command *c = &commands[i];

			if (c->pid != pid)
				continue;
			while (c->output >= 0 && forward_output(c))
				;
			if (c->output >= 0)
				close(c->output);
			c->pid = 0;
			send_exit(c->id, WIFEXITED(status) ? (uint32_t)WEXITSTATUS(status)
							   : 128 + (uint32_t)WTERMSIG(status));
		}
	}
}

static void receive_frame(void)
{
	static char payload[MAX_PAYLOAD + 1];
	struct command *c;
	struct header h;
	uint32_t signo;

	read_all(&h, sizeof(h));
	if (h.bytes > MAX_PAYLOAD) {
		errno = EMSGSIZE;
		die("frame from the harness");
	}
	read_all(payload, h.bytes);
	payload[h.bytes] = 0;
	if (h.type == RUN) {
		start_command(h.id, payload);
	} else if (h.type == KILL && h.bytes == sizeof(signo)) {
		memcpy(&signo, payload, sizeof(signo));
		c = find_command(h.id);
		if (c && kill(-c->pid, (int)signo) < 0)
			kill(c->pid, (int)signo); /* it has no session yet */
	}
}

static void serve(int signals)
{
	struct pollfd fds[2 + MAX_COMMANDS];
	struct signalfd_siginfo info;

	for (;;) {
		fds[0] = (struct pollfd){.fd = port, .events = POLLIN};
		fds[1] = (struct pollfd){.fd = signals, .events = POLLIN};
		for (int i = 0; i < MAX_COMMANDS; i++)
			fds[2 + i] = (struct pollfd){
				.fd = commands[i].pid ? commands[i].output : -1, .events = POLLIN};
		if (poll(fds, 2 + MAX_COMMANDS, -1) < 0 && errno != EINTR)
			die("poll");
		if (fds[0].revents & POLLIN)
			receive_frame();
		else if (fds[0].revents)
			usleep(10000); /* nobody is connected */
		for (int i = 0; i < MAX_COMMANDS; i++)
			if (fds[2 + i].fd >= 0 && fds[2 + i].revents)
				forward_output(&commands[i]);
		if (fds[1].revents && read(signals, &info, sizeof(info)) == sizeof(info))
			reap();
	}
}

int main(int argc, char **argv)
{
	sigset_t child;

	if (argc != 2) {
		fprintf(stderr, "usage: agent DEVICE\n");
		return 2;
	}
	port = open(argv[1], O_RDWR | O_CLOEXEC);
	if (port < 0)
		die(argv[1]);
	sigemptyset(&child);
	sigaddset(&child, SIGCHLD);
	sigprocmask(SIG_BLOCK, &child, NULL);
	send_frame(0, HELLO, "", 0);
	serve(signalfd(-1, &child, SFD_CLOEXEC));
}
