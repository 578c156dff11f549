/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What netmap-run alone puts in the place of the C library's: open() of /dev/netmap, and read() and
 * write(), which it has none of.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <string.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <unistd.h>

#include "../fd/file.h"
#include "../fd/real.h"
#include "real.h"

/* Names that programs are linked to, but that have no declaration. */
int __open_2(const char *path, int flags);
int __open64_2(const char *path, int flags);
int __openat_2(int dir, const char *path, int flags);
int __openat64_2(int dir, const char *path, int flags);
ssize_t __read_chk(int fd, void *buf, size_t bytes, size_t room);

static int is_netmap(const char *path)
{
	return strcmp(path, "/dev/netmap") == 0;
}

/* What open() says where there is no netmap. */
static int open_netmap(int flags)
{
	struct nm_error why;
	int ret = nmfd_open(flags, &why);

	if (ret >= 0)
		return ret;
	nmfd_say("%s", why.text);
	errno = ret == -EACCES || ret == -EMFILE || ret == -ENFILE || ret == -ENOMEM ? -ret : ENXIO;
	return -1;
}

/* ---- open ----------------------------------------------------------------------------- */

/* O_LARGEFILE means nothing where off_t has 64 bits: open64() is open(). */
#define MODE(flags, last)                                               \
	__extension__({                                                 \
		mode_t mode_ = 0;                                       \
		if ((flags) & (O_CREAT | (O_TMPFILE & ~O_DIRECTORY))) { \
			va_list ap_;                                    \
			va_start(ap_, last);                            \
			mode_ = va_arg(ap_, mode_t);                    \
			va_end(ap_);                                    \
		}                                                       \
		mode_;                                                  \
	})

static int open_mode(const char *path, int flags, mode_t mode)
{
	return is_netmap(path) ? open_netmap(flags) : RUN_REAL(open)(path, flags, mode);
}

static int openat_mode(int dir, const char *path, int flags, mode_t mode)
{
	return is_netmap(path) ? open_netmap(flags) : RUN_REAL(openat)(dir, path, flags, mode);
}

int open(const char *path, int flags, ...)
{
	return open_mode(path, flags, MODE(flags, flags));
}

int open64(const char *path, int flags, ...)
{
	return open_mode(path, flags, MODE(flags, flags));
}

int __open_2(const char *path, int flags)
{
	return open_mode(path, flags, 0);
}

int __open64_2(const char *path, int flags)
{
	return open_mode(path, flags, 0);
}

int openat(int dir, const char *path, int flags, ...)
{
	return openat_mode(dir, path, flags, MODE(flags, flags));
}

int openat64(int dir, const char *path, int flags, ...)
{
	return openat_mode(dir, path, flags, MODE(flags, flags));
}

int __openat_2(int dir, const char *path, int flags)
{
	return openat_mode(dir, path, flags, 0);
}

int __openat64_2(int dir, const char *path, int flags)
{
	return openat_mode(dir, path, flags, 0);
}

/* ---- read and write: /dev/netmap has none --------------------------------------------- */

static int refuse(int fd)
{
	if (nmfd_kind_of(fd) != NMFD_FILE)
		return 0;
	errno = EINVAL;
	return 1;
}

ssize_t read(int fd, void *buf, size_t bytes)
{
	return refuse(fd) ? -1 : RUN_REAL(read)(fd, buf, bytes);
}

ssize_t __read_chk(int fd, void *buf, size_t bytes, size_t room)
{
	if (bytes > room)
		__builtin_trap();
	return refuse(fd) ? -1 : RUN_REAL(read)(fd, buf, bytes);
}

ssize_t write(int fd, const void *buf, size_t bytes)
{
	return refuse(fd) ? -1 : RUN_REAL(write)(fd, buf, bytes);
}

ssize_t readv(int fd, const struct iovec *iov, int n)
{
	return refuse(fd) ? -1 : RUN_REAL(readv)(fd, iov, n);
}

ssize_t writev(int fd, const struct iovec *iov, int n)
{
	return refuse(fd) ? -1 : RUN_REAL(writev)(fd, iov, n);
}
