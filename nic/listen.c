/* SPDX-License-Identifier: BSD-2-Clause */
#include "listen.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "access.h"
#include "claim.h"
#include "listener.h"
#include "log.h"
#include "nic_connect.h"
#include "signals.h"

enum { BACKLOG = 64 };

struct listener {
	const struct session_config *config;
	int sock, signals;
	struct {
		pid_t pid; /* 0: free */
		uid_t user;
	} child[LISTEN_MOST];
};

/* ---- connections ------------------------------------------------------------------------------ */

/* A place for another child of the user, or a negative errno with a text. */
static int find_place(const struct listener *l, uid_t user, struct nm_error *err)
{
	int place = -1, have = 0, error;
	struct access_rules rules;
	uint32_t most;
	bool may;

	error = access_read(&rules, l->config->access, err);
	if (error)
		return error;
	may = access_may(&rules, user, NULL);
	most = rules.interfaces;
	access_free(&rules);
	if (!may)
		return nm_error_set(err, -EACCES,
			"netmapd-nic: user %u may have no interface; the administrator can allow it by a line \"allow %u INTERFACE\" in %s",
			(unsigned)user, (unsigned)user, l->config->access);
	for (int i = 0; i < LISTEN_MOST; i++) {
		if (l->child[i].pid == 0)
			place = i;
		else if (l->child[i].user == user)
			have++;
	}
	if (place < 0 || have >= (int)most)
		return nm_error_set(err, -EDQUOT,
			"netmapd-nic: user %u has %d interfaces in use, at most %u are allowed, and %d of all users; the administrator can raise it by a line \"interfaces N\" in %s",
			(unsigned)user, have, most, LISTEN_MOST, l->config->access);
	return place;
}

static void refuse(int sock, const struct nm_error *err)
{
	struct nic_failed msg = {.error = err->code};

	nic_header_init(&msg.hdr, NIC_FAILED);
	snprintf(msg.text, sizeof(msg.text), "%s", err->text);
	nic_send(sock, &msg, sizeof(msg), NULL, 0); /* he needn't read it */
}

static void become_session(struct listener *l, int sock, uid_t user)
{
	sigset_t none;

	close(l->sock);
	close(l->signals);
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	/* The end of the service is not the end of what is in use; the client's end is. */
	signal(SIGTERM, SIG_IGN);
	signal(SIGINT, SIG_IGN);
	session_run(sock, user, l->config);
	exit(0);
}

static void take_connection(struct listener *l)
{
	int sock = accept4(l->sock, NULL, NULL, SOCK_CLOEXEC), place;
	struct ucred peer;
	socklen_t len = sizeof(peer);
	struct nm_error err;
	pid_t pid;

	if (sock < 0)
		return;
	if (getsockopt(sock, SOL_SOCKET, SO_PEERCRED, &peer, &len) < 0) {
		close(sock);
		return;
	}
	place = find_place(l, peer.uid, &err);
	if (place < 0) {
		nic_log("%s", err.text);
		refuse(sock, &err);
		close(sock);
		return;
	}
	pid = fork();
	if (pid == 0)
		become_session(l, sock, peer.uid);
	if (pid > 0) {
		l->child[place].pid = pid;
		l->child[place].user = peer.uid;
	} else {
		nm_error_set(&err, -errno, "netmapd-nic: no process for it: %s", strerror(errno));
		refuse(sock, &err);
	}
	close(sock);
}

/* ---- signals ----------------------------------------------------------------------------------- */

static void reap(struct listener *l)
{
	bool badly = false;
	int status;
	pid_t pid;

	while ((pid = waitpid(-1, &status, WNOHANG)) > 0) {
		badly |= !WIFEXITED(status) || WEXITSTATUS(status) != 0;
		for (int i = 0; i < LISTEN_MOST; i++)
			if (l->child[i].pid == pid)
				l->child[i].pid = 0;
	}
	if (badly)
		claim_recover(l->config->state);
}

/* False: the program is to end. */
static bool take_signal(struct listener *l)
{
	struct signalfd_siginfo info;

	if (read(l->signals, &info, sizeof(info)) != sizeof(info))
		return true;
	if (info.ssi_signo != SIGCHLD)
		return false;
	reap(l);
	return true;
}

static int open_signals(void)
{
	const sigset_t set = signals_block((const int[]){SIGCHLD, SIGTERM, SIGINT, 0});

	return signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
}

/* ---- the socket --------------------------------------------------------------------------------- */

/* Does somebody serve this path already? */
static bool is_served(const char *path)
{
	struct sockaddr_un addr = {.sun_family = AF_UNIX};
	int sock = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	bool served;

	strncpy(addr.sun_path, path, sizeof(addr.sun_path) - 1);
	served = connect(sock, (struct sockaddr *)&addr, sizeof(addr)) == 0 || errno == EAGAIN;
	if (sock >= 0)
		close(sock);
	return served;
}

/* Everybody may connect. */
static int open_socket(const char *path, struct nm_error *err)
{
	struct stat st;
	int sock;

	if (lstat(path, &st) == 0 && !S_ISSOCK(st.st_mode))
		return nm_error_set(err, -EEXIST, "%.200s exists, and is no socket", path);
	if (is_served(path))
		return nm_error_set(err, -EADDRINUSE, "another netmapd-nic serves %.200s", path);
	sock = listener_open(path, SOCK_SEQPACKET, BACKLOG, true); /* of one that has died */
	if (sock >= 0 && chmod(path, 0666) < 0) {
		int error = -errno;

		close(sock);
		sock = error;
	}
	return sock >= 0 ? sock
			 : nm_error_set(err, sock, "the socket %.200s can't be made: %s", path,
				   strerror(-sock));
}

int listen_run(const char *path, const struct session_config *config, struct nm_error *err)
{
	struct listener l = {.config = config};
	struct pollfd fds[2];
	bool goes_on = true;

	l.sock = open_socket(path, err);
	if (l.sock < 0)
		return l.sock;
	l.signals = open_signals();
	if (l.signals < 0)
		return nm_error_set(err, -errno, "signals: %s", strerror(errno));
	claim_recover(config->state);
	nic_log("serves %s", path);
	while (goes_on) {
		fds[0] = (struct pollfd){.fd = l.sock, .events = POLLIN};
		fds[1] = (struct pollfd){.fd = l.signals, .events = POLLIN};
		if (poll(fds, 2, -1) < 0)
			continue;
		if (fds[1].revents)
			goes_on = take_signal(&l);
		if (fds[0].revents && goes_on)
			take_connection(&l);
	}
	unlink(path);
	return 0;
}
