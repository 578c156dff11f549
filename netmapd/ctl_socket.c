/* SPDX-License-Identifier: BSD-2-Clause */
/* Where the control socket is: its directory, the lock file beside it, the path. */
#include "ctl_internal.h"
#include "listener.h"

#include <fcntl.h>
#include <stdio.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

enum { BACKLOG = 64 }; /* connections that wait to be accepted */

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

int ctl_socket_open(struct ctl *ctl, const char *path, struct nm_error *err)
{
	int error;

	ctl->fd = ctl->lock_fd = ctl->spare_fd = -1;
	error = make_parents(path, err);
	if (!error)
		error = take_lock(ctl, path, err);
	if (!error)
		error = listen_at(ctl, path, err);
	return error;
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
