/* SPDX-License-Identifier: BSD-2-Clause */
/* Programs that look whether /dev/netmap is there, and what it is, see a character device. */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "../fd/file.h"
#include "real.h"

/* Names that older programs are linked to. */
int __xstat(int version, const char *path, struct stat *st);
int __xstat64(int version, const char *path, struct stat64 *st);
int __lxstat(int version, const char *path, struct stat *st);
int __lxstat64(int version, const char *path, struct stat64 *st);
int __fxstat(int version, int fd, struct stat *st);
int __fxstat64(int version, int fd, struct stat64 *st);

_Static_assert(sizeof(struct stat) == sizeof(struct stat64), "one layout on this machine");

enum { MISC_MAJOR = 10, SOME_MINOR = 120 };

static int is_netmap(const char *path)
{
	return strcmp(path, "/dev/netmap") == 0;
}

static int describe(struct stat *st)
{
	memset(st, 0, sizeof(*st));
	st->st_mode = S_IFCHR | 0600;
	st->st_nlink = 1;
	st->st_uid = geteuid();
	st->st_gid = getegid();
	st->st_rdev = makedev(MISC_MAJOR, SOME_MINOR);
	st->st_blksize = 4096;
	return 0;
}

static int at(int dir, const char *path, void *st, int flags)
{
	return is_netmap(path) ? describe(st) : RUN_REAL(fstatat)(dir, path, st, flags);
}

static int by_fd(int fd, void *st)
{
	return nmfd_kind_of(fd) == NMFD_FILE ? describe(st) : RUN_REAL(fstat)(fd, st);
}

int stat(const char *path, struct stat *st)
{
	return at(AT_FDCWD, path, st, 0);
}

int stat64(const char *path, struct stat64 *st)
{
	return at(AT_FDCWD, path, st, 0);
}

int lstat(const char *path, struct stat *st)
{
	return at(AT_FDCWD, path, st, AT_SYMLINK_NOFOLLOW);
}

int lstat64(const char *path, struct stat64 *st)
{
	return at(AT_FDCWD, path, st, AT_SYMLINK_NOFOLLOW);
}

int fstat(int fd, struct stat *st)
{
	return by_fd(fd, st);
}

int fstat64(int fd, struct stat64 *st)
{
	return by_fd(fd, st);
}

int __xstat(int version, const char *path, struct stat *st)
{
	(void)version;
	return at(AT_FDCWD, path, st, 0);
}

int __xstat64(int version, const char *path, struct stat64 *st)
{
	(void)version;
	return at(AT_FDCWD, path, st, 0);
}

int __lxstat(int version, const char *path, struct stat *st)
{
	(void)version;
	return at(AT_FDCWD, path, st, AT_SYMLINK_NOFOLLOW);
}

int __lxstat64(int version, const char *path, struct stat64 *st)
{
	(void)version;
	return at(AT_FDCWD, path, st, AT_SYMLINK_NOFOLLOW);
}

int __fxstat(int version, int fd, struct stat *st)
{
	(void)version;
	return by_fd(fd, st);
}

int __fxstat64(int version, int fd, struct stat64 *st)
{
	(void)version;
	return by_fd(fd, st);
}

int access(const char *path, int mode)
{
	if (!is_netmap(path))
		return RUN_REAL(access)(path, mode);
	if (!(mode & X_OK))
		return 0;
	errno = EACCES;
	return -1;
}

int faccessat(int dir, const char *path, int mode, int flags)
{
	return is_netmap(path) ? access(path, mode) : RUN_REAL(faccessat)(dir, path, mode, flags);
}
