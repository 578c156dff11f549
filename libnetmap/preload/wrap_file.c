/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What stands in the place of the C library's functions on files: for descriptors of
 * /dev/netmap they are served here, for all others they are the C library's own.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/uio.h>
#include <unistd.h>

#include "file.h"
#include "real.h"
#include "request.h"

/* Names that programs are linked to, but that have no declaration. */
int __open_2(const char *path, int flags);
int __open64_2(const char *path, int flags);
int __openat_2(int dir, const char *path, int flags);
int __openat64_2(int dir, const char *path, int flags);
ssize_t __read_chk(int fd, void *buf, size_t bytes, size_t room);
int fcntl64(int fd, int cmd, ...);

static int result(int ret)
{
	if (ret >= 0)
		return ret;
	errno = -ret;
	return -1;
}

static int is_netmap(const char *path)
{
	return strcmp(path, "/dev/netmap") == 0;
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
	return is_netmap(path) ? result(run_open(flags)) : REAL(open)(path, flags, mode);
}

static int openat_mode(int dir, const char *path, int flags, mode_t mode)
{
	return is_netmap(path) ? result(run_open(flags)) : REAL(openat)(dir, path, flags, mode);
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

/* ---- close and dup -------------------------------------------------------------------- */

int close(int fd)
{
	return run_close(fd);
}

/* What is netmap's in between is closed one by one; what is our own stays. */
int close_range(unsigned int first, unsigned int last, int flags)
{
	unsigned int from = first, fd;
	int highest = run_highest();

	if (first > last || (flags & CLOSE_RANGE_CLOEXEC))
		return REAL(close_range)(first, last, flags);
	for (fd = first; fd <= last && highest >= 0 && fd <= (unsigned int)highest; fd++) {
		enum run_kind kind = run_kind_of((int)fd);

		if (kind == RUN_NONE)
			continue;
		if (fd > from && REAL(close_range)(from, fd - 1, flags) < 0)
			return -1;
		if (kind != RUN_INTERNAL)
			run_close((int)fd);
		from = fd + 1;
	}
	return from <= last && from >= first ? REAL(close_range)(from, last, flags) : 0;
}

void closefrom(int low)
{
	close_range(low < 0 ? 0 : (unsigned int)low, ~0U, 0);
}

int dup(int fd)
{
	return run_duplicated(fd, REAL(dup)(fd));
}

int dup3(int fd, int to, int flags)
{
	int ret;

	if (fd == to || REAL(fcntl)(fd, F_GETFD) < 0)
		return REAL(dup3)(fd, to, flags);
	ret = run_before_replace(to);
	return ret < 0 ? result(ret) : run_duplicated(fd, REAL(dup3)(fd, to, flags));
}

int dup2(int fd, int to)
{
	int ret;

	if (fd == to || REAL(fcntl)(fd, F_GETFD) < 0)
		return REAL(dup2)(fd, to);
	ret = run_before_replace(to);
	return ret < 0 ? result(ret) : run_duplicated(fd, REAL(dup2)(fd, to));
}

/* The connection itself never blocks or not as the program wishes: the flag is only kept. */
static int status_flags(int fd, int cmd, void *arg)
{
	struct run_file *f = run_get(fd, RUN_FILE);
	uint32_t nonblock;

	if (!f)
		return REAL(fcntl)(fd, cmd, arg);
	if (cmd == F_SETFL)
		__atomic_store_n(&f->common->nonblock, (uint32_t)(uintptr_t)arg & O_NONBLOCK,
			__ATOMIC_RELAXED);
	nonblock = __atomic_load_n(&f->common->nonblock, __ATOMIC_RELAXED);
	run_put(f);
	return cmd == F_SETFL ? 0 : O_RDWR | (int)nonblock;
}

static int do_fcntl(int fd, int cmd, void *arg)
{
	switch (cmd) {
	case F_DUPFD:
	case F_DUPFD_CLOEXEC:
		return run_duplicated(fd, REAL(fcntl)(fd, cmd, arg));
	case F_GETFL:
	case F_SETFL:
		if (run_kind_of(fd) == RUN_FILE)
			return status_flags(fd, cmd, arg);
		return REAL(fcntl)(fd, cmd, arg);
	default:
		return REAL(fcntl)(fd, cmd, arg);
	}
}

/* The third argument is a number or an address; both come as a register. */
int fcntl(int fd, int cmd, ...)
{
	va_list ap;
	void *arg;

	va_start(ap, cmd);
	arg = va_arg(ap, void *);
	va_end(ap);
	return do_fcntl(fd, cmd, arg);
}

int fcntl64(int fd, int cmd, ...)
{
	va_list ap;
	void *arg;

	va_start(ap, cmd);
	arg = va_arg(ap, void *);
	va_end(ap);
	return do_fcntl(fd, cmd, arg);
}

/* A child of vfork() runs in our memory, and would close our files with its own. */
pid_t vfork(void)
{
	return fork();
}

/* ---- ioctl and mmap ------------------------------------------------------------------- */

int ioctl(int fd, unsigned long request, ...)
{
	struct run_file *f = NULL;
	va_list ap;
	void *arg;
	int ret;

	va_start(ap, request);
	arg = va_arg(ap, void *);
	va_end(ap);
	if (run_kind_of(fd) == RUN_FILE)
		f = run_get(fd, RUN_FILE);
	if (!f)
		return REAL(ioctl)(fd, request, arg);
	ret = run_ioctl(f, fd, request, arg);
	run_put(f);
	return result(ret);
}

static void *do_mmap(void *addr, size_t len, int prot, int flags, int fd, off_t offset)
{
	struct run_file *f = NULL;
	int error;

	if (!(flags & MAP_ANONYMOUS) && run_kind_of(fd) == RUN_FILE)
		f = run_get(fd, RUN_FILE);
	if (!f)
		return REAL(mmap)(addr, len, prot, flags, fd, offset);
	addr = run_mmap(f, addr, len, prot, flags, offset);
	error = errno;
	run_put(f);
	errno = error;
	return addr;
}

void *mmap(void *addr, size_t len, int prot, int flags, int fd, off_t offset)
{
	return do_mmap(addr, len, prot, flags, fd, offset);
}

void *mmap64(void *addr, size_t len, int prot, int flags, int fd, off64_t offset)
{
	return do_mmap(addr, len, prot, flags, fd, offset);
}

/* ---- read and write: /dev/netmap has none --------------------------------------------- */

static int refuse(int fd)
{
	if (run_kind_of(fd) != RUN_FILE)
		return 0;
	errno = EINVAL;
	return 1;
}

ssize_t read(int fd, void *buf, size_t bytes)
{
	return refuse(fd) ? -1 : REAL(read)(fd, buf, bytes);
}

ssize_t __read_chk(int fd, void *buf, size_t bytes, size_t room)
{
	if (bytes > room)
		__builtin_trap();
	return refuse(fd) ? -1 : REAL(read)(fd, buf, bytes);
}

ssize_t write(int fd, const void *buf, size_t bytes)
{
	return refuse(fd) ? -1 : REAL(write)(fd, buf, bytes);
}

ssize_t readv(int fd, const struct iovec *iov, int n)
{
	return refuse(fd) ? -1 : REAL(readv)(fd, iov, n);
}

ssize_t writev(int fd, const struct iovec *iov, int n)
{
	return refuse(fd) ? -1 : REAL(writev)(fd, iov, n);
}
