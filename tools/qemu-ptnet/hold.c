/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * DIR/pid is locked by its owner: what one that was killed has left there is removed by the next.
 */
#include "hold.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include "blocker.h"
#include "daemon.h"

static int first_of_region(const struct command_sockets *sockets, size_t i)
{
	size_t k = 0;

	while (strcmp(sockets[k].mem_path, sockets[i].mem_path))
		k++;
	return k == i;
}

static size_t region_of(const struct command_sockets *sockets, size_t i)
{
	size_t number = 0;

	for (size_t k = 0; strcmp(sockets[k].mem_path, sockets[i].mem_path); k++)
		number += first_of_region(sockets, k);
	return number;
}

struct command_sockets *hold_links(
	const char *dir, const struct command_sockets *sockets, size_t count)
{
	struct command_sockets *links = text_realloc(NULL, count, sizeof(links[0]));

	for (size_t i = 0; i < count; i++) {
		links[i].net_path = text_format("%s/net%zu", dir, i);
		links[i].mem_path = text_format("%s/mem%zu", dir, region_of(sockets, i));
	}
	return links;
}

static void remove_all(
	const char *dir, const struct command_sockets *links, size_t count, const char *pid)
{
	char *image = text_format("%s/" BLOCKER_FILE, dir);

	for (size_t i = 0; i < count; i++) {
		unlink(links[i].net_path);
		unlink(links[i].mem_path);
	}
	unlink(image);
	unlink(pid);
	free(image);
}

static int link_to(const char *socket, const char *path, char err[TEXT_ERR])
{
	unlink(path);
	if (symlink(socket, path) < 0)
		return text_fail(-errno, err, "can't make %s: %s", path, strerror(errno));
	return 0;
}

static int make_links(const char *dir, const struct command_sockets *sockets,
	const struct command_sockets *links, size_t count, char err[TEXT_ERR])
{
	int ret = blocker_write(dir, err);

	for (size_t i = 0; ret == 0 && i < count; i++) {
		ret = link_to(sockets[i].net_path, links[i].net_path, err);
		if (ret == 0 && first_of_region(sockets, i))
			ret = link_to(sockets[i].mem_path, links[i].mem_path, err);
	}
	return ret;
}

/* The file, locked, or a negative errno with a text. */
static int open_pid(const char *path, char err[TEXT_ERR])
{
	int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0644), error = errno;

	if (fd < 0)
		return text_fail(-error, err, "can't make %s: %s", path, strerror(error));
	if (flock(fd, LOCK_EX | LOCK_NB) < 0) {
		close(fd);
		return text_fail(-EEXIST, err,
			"the ports of %s are held already: end the process whose number is there",
			path);
	}
	return fd;
}

/* Waits for a signal, or for netmapd's end. The exit status. */
static int wait_for_end(int connection, const sigset_t *signals)
{
	struct pollfd fds[2] = {
		{.fd = signalfd(-1, signals, SFD_CLOEXEC), .events = POLLIN},
		{.fd = connection, .events = POLLRDHUP},
	};

	while (!fds[0].revents && !fds[1].revents)
		if (poll(fds, 2, -1) < 0 && errno != EINTR)
			break;
	close(fds[0].fd);
	return fds[0].revents ? EXIT_SUCCESS : EXIT_FAILURE;
}

/* Nothing of it holds on to a terminal or to a pipe of whoever waits for its end. */
static void leave_the_caller(int pid_file)
{
	char *text = text_format("%d\n", (int)getpid());
	int null = open("/dev/null", O_RDWR);

	if (ftruncate(pid_file, 0) < 0 || write(pid_file, text, strlen(text)) < 0)
		text_say("can't write the number of the process");
	free(text);
	setsid();
	for (int fd = 0; null >= 0 && fd < 3; fd++)
		dup2(null, fd);
	if (null > 2)
		close(null);
	if (chdir("/") < 0)
		text_say("can't go to /");
}

/* The owner's part: tells by a byte in `ready` that its number is in the file. */
static int own(int connection, int pid_file, int ready, const sigset_t *signals)
{
	int status;

	leave_the_caller(pid_file);
	if (write(ready, "", 1) < 0)
		return EXIT_FAILURE;
	close(ready);
	status = wait_for_end(connection, signals);
	return status;
}

/* Divides into two: the child has the signals blocked. fork()'s result, or a negative errno with a text. */
static int divide(int ready[2], sigset_t *signals, char err[TEXT_ERR])
{
	pid_t child;

	sigemptyset(signals);
	sigaddset(signals, SIGTERM);
	sigaddset(signals, SIGINT);
	sigprocmask(SIG_BLOCK, signals, NULL);
	if (pipe2(ready, O_CLOEXEC) < 0)
		return text_fail(-errno, err, "no pipe: %s", strerror(errno));
	child = fork();
	if (child < 0) {
		int error = errno;

		close(ready[0]);
		close(ready[1]);
		return text_fail(-error, err, "can't go to the background: %s", strerror(error));
	}
	close(ready[child != 0]);
	return child;
}

int hold_ports(const char *dir, const struct command_sockets *sockets, size_t count, int connection,
	int *over, char err[TEXT_ERR])
{
	struct command_sockets *links = hold_links(dir, sockets, count);
	char *pid = text_format("%s/pid", dir), byte;
	int file = open_pid(pid, err), ready[2], ret = file;
	sigset_t signals;

	if (ret >= 0)
		ret = make_links(dir, sockets, links, count, err);
	if (ret >= 0)
		ret = divide(ready, &signals, err);
	if (ret == 0) {
		*over = own(connection, file, ready[1], &signals);
		remove_all(dir, links, count, pid);
	} else if (ret > 0) {
		ret = read(ready[0], &byte, 1) == 1 ? 0 : text_fail(-EIO, err, "it ended at once");
		close(ready[0]);
	} else if (file >= 0) {
		remove_all(dir, links, count, pid);
	}
	if (file >= 0)
		close(file);
	daemon_free_sockets(links, count);
	free(links);
	free(pid);
	return ret;
}
