/* SPDX-License-Identifier: BSD-2-Clause */
#include "listener.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

/* link() never replaces anything, rename() does. */
static int give_name(const char *temp, const char *path, bool replace)
{
	if (replace)
		return rename(temp, path) < 0 ? -errno : 0;
	if (link(temp, path) < 0)
		return errno == EEXIST ? -EADDRINUSE : -errno;
	unlink(temp);
	return 0;
}

static int bind_and_listen(int fd, mode_t mode, const struct sockaddr_un *addr, int backlog,
	const char *path, bool replace)
{
	int error;

	/* The path gets the mode of the socket, so it is never open to others, not for a moment. */
	if (fchmod(fd, mode) < 0 || bind(fd, (const struct sockaddr *)addr, sizeof(*addr)) < 0)
		return -errno;
	error = listen(fd, backlog) < 0 ? -errno : give_name(addr->sun_path, path, replace);
	if (error)
		unlink(addr->sun_path);
	return error;
}

int listener_open_as(const char *path, int type, mode_t mode, int backlog, bool replace)
{
	struct sockaddr_un addr = {.sun_family = AF_UNIX};
	struct stat st;
	int error, fd;

	if (strlen(path) + sizeof(LISTENER_TEMP) > sizeof(addr.sun_path))
		return -ENAMETOOLONG;
	snprintf(addr.sun_path, sizeof(addr.sun_path), "%s" LISTENER_TEMP, path);
	if (lstat(addr.sun_path, &st) == 0 && S_ISSOCK(st.st_mode))
		unlink(addr.sun_path);
	fd = socket(AF_UNIX, type | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0)
		return -errno;
	error = bind_and_listen(fd, mode, &addr, backlog, path, replace);
	if (!error)
		return fd;
	close(fd);
	return error;
}
