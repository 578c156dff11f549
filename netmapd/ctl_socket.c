/* SPDX-License-Identifier: BSD-2-Clause */
/* Where the control socket is: its directory, the lock file beside it, the path. */
#include "ctl_internal.h"
#include "policy.h"
#include "listener.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

enum {
	BACKLOG = 64,  /* connections that wait to be accepted */
	LISTEN_FD = 3, /* the first that systemd passes */
};

static int fail(struct nm_error *err, const char *what, const char *path)
{
	int error = -errno;

	return nm_error_set(err, error, "%s %s: %s", what, path, strerror(-error));
}

/* Parents of the socket, as far as they are missing; for the user alone, or for all to pass
 * through when root makes them. */
static int make_parents(const char *path, struct nm_error *err)
{
	char dir[NMD_PATH_MAX];

	for (size_t i = 1; path[i]; i++) {
		if (path[i] != '/')
			continue;
		snprintf(dir, sizeof(dir), "%.*s", (int)i, path);
		if (mkdir(dir, geteuid() == 0 ? 0755 : 0700) < 0 && errno != EEXIST)
			return fail(err, "can't make", dir);
	}
	return 0;
}

static int take_lock(struct ctl *ctl, const char *path, struct nm_error *err)
{
	char lock[NMD_PATH_MAX + 8];

	snprintf(lock, sizeof(lock), "%s.lock", path);
	ctl->lock_fd = open(lock, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (ctl->lock_fd < 0)
		return fail(err, "can't open", lock);
	if (flock(ctl->lock_fd, LOCK_EX | LOCK_NB) < 0) {
		return nm_error_set(err, -EALREADY, "another netmapd serves %s", path);
	}
	return 0;
}

/* The lock is ours, so whoever listened there is dead, and its socket is replaced. What is no socket is
 * somebody's file. */
static int listen_at(struct ctl *ctl, const char *path, struct nm_error *err)
{
	struct stat st;

	if (lstat(path, &st) == 0 && !S_ISSOCK(st.st_mode))
		return nm_error_set(err, -EEXIST, "%s exists, and is not a socket", path);
	ctl->spare_fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
	if (ctl->spare_fd < 0)
		return fail(err, "no socket for", path);
	ctl->fd = listener_open(path, SOCK_SEQPACKET, BACKLOG, true);
	if (ctl->fd < 0)
		return nm_error_set(
			err, ctl->fd, "can't listen at %s: %s", path, strerror(-ctl->fd));
	ctl->bound = true;
	return 0;
}

/* Of socket activation (sd_listen_fds(3)): descriptor 3, when it is our kind of socket. -1: there is none. */
static int activated_fd(void)
{
	const char *pid = getenv("LISTEN_PID"), *fds = getenv("LISTEN_FDS");
	int type = 0, accepts = 0;
	socklen_t size = sizeof(int);

	if (!pid || !fds || strtol(pid, NULL, 10) != getpid() || strcmp(fds, "1") != 0)
		return -1;
	unsetenv("LISTEN_PID");
	if (getsockopt(LISTEN_FD, SOL_SOCKET, SO_TYPE, &type, &size) < 0 ||
		getsockopt(LISTEN_FD, SOL_SOCKET, SO_ACCEPTCONN, &accepts, &size) < 0 ||
		type != SOCK_SEQPACKET || !accepts)
		return -1;
	fcntl(LISTEN_FD, F_SETFD, FD_CLOEXEC);
	fcntl(LISTEN_FD, F_SETFL, fcntl(LISTEN_FD, F_GETFL) | O_NONBLOCK);
	return LISTEN_FD;
}

/* The path stays systemd's. */
static int use_activated(struct ctl *ctl, int fd, const char *path, struct nm_error *err)
{
	ctl->fd = fd;
	ctl->spare_fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
	return ctl->spare_fd < 0 ? fail(err, "no socket for", path) : 0;
}

static int open_to_others(const char *path, gid_t group, struct nm_error *err)
{
	if (group != (gid_t)-1 && (chown(path, (uid_t)-1, group) < 0 || chmod(path, 0660) < 0))
		return fail(err, "can't open to the group", path);
	if (group == (gid_t)-1 && policy_active() && chmod(path, 0666) < 0)
		return fail(err, "can't open to all users", path);
	return 0;
}

int ctl_socket_open(struct ctl *ctl, const char *path, gid_t group, struct nm_error *err)
{
	int error, activated = activated_fd();

	ctl->fd = ctl->lock_fd = ctl->spare_fd = -1;
	error = make_parents(path, err);
	if (!error)
		error = take_lock(ctl, path, err);
	if (!error && activated >= 0)
		return use_activated(ctl, activated, path, err);
	if (!error)
		error = listen_at(ctl, path, err);
	return error ? error : open_to_others(path, group, err);
}

void ctl_socket_close(struct ctl *ctl, const char *path)
{
	if (ctl->fd >= 0)
		close(ctl->fd);
	if (ctl->bound)
		unlink(path);
	if (ctl->spare_fd >= 0)
		close(ctl->spare_fd);
	if (ctl->lock_fd >= 0)
		close(ctl->lock_fd); /* the file stays: removing it would race with the next one */
}
