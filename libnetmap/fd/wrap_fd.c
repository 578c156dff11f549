/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What stands in the place of the C library's functions on descriptors: those of netmap ports are
 * served here, for all others they are the C library's own.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

#include "file.h"
#include "real.h"
#include "request.h"

/* A name that programs are linked to, but that has no declaration. */
int fcntl64(int fd, int cmd, ...);

static int result(int ret)
{
	if (ret >= 0)
		return ret;
	errno = -ret;
	return -1;
}

/* ---- close and dup -------------------------------------------------------------------- */

NMFD_IN_PLACE int close(int fd)
{
	return nmfd_close(fd);
}

/* What is netmap's in between is closed one by one; what is our own stays. */
NMFD_IN_PLACE int close_range(unsigned int first, unsigned int last, int flags)
{
	unsigned int from = first, fd;
	int highest = nmfd_highest();

	if (first > last || (flags & CLOSE_RANGE_CLOEXEC))
		return REAL(close_range)(first, last, flags);
	for (fd = first; fd <= last && highest >= 0 && fd <= (unsigned int)highest; fd++) {
		enum nmfd_kind kind = nmfd_kind_of((int)fd);

		if (kind == NMFD_NONE)
			continue;
		if (fd > from && REAL(close_range)(from, fd - 1, flags) < 0)
			return -1;
		if (kind != NMFD_INTERNAL)
			nmfd_close((int)fd);
		from = fd + 1;
	}
	return from <= last && from >= first ? REAL(close_range)(from, last, flags) : 0;
}

NMFD_IN_PLACE void closefrom(int low)
{
	close_range(low < 0 ? 0 : (unsigned int)low, ~0U, 0);
}

NMFD_IN_PLACE int dup(int fd)
{
	return nmfd_duplicated(fd, REAL(dup)(fd));
}

NMFD_IN_PLACE int dup3(int fd, int to, int flags)
{
	int ret;

	if (fd == to || REAL(fcntl)(fd, F_GETFD) < 0)
		return REAL(dup3)(fd, to, flags);
	ret = nmfd_before_replace(to);
	return ret < 0 ? result(ret) : nmfd_duplicated(fd, REAL(dup3)(fd, to, flags));
}

NMFD_IN_PLACE int dup2(int fd, int to)
{
	int ret;

	if (fd == to || REAL(fcntl)(fd, F_GETFD) < 0)
		return REAL(dup2)(fd, to);
	ret = nmfd_before_replace(to);
	return ret < 0 ? result(ret) : nmfd_duplicated(fd, REAL(dup2)(fd, to));
}

/* The connection itself never blocks or not as the program wishes: the flag is only kept. */
static int status_flags(int fd, int cmd, void *arg)
{
	struct nmfd_file *f = nmfd_get(fd, NMFD_FILE);
	uint32_t nonblock;

	if (!f)
		return REAL(fcntl)(fd, cmd, arg);
	if (cmd == F_SETFL)
		__atomic_store_n(&f->common->nonblock, (uint32_t)(uintptr_t)arg & O_NONBLOCK,
			__ATOMIC_RELAXED);
	nonblock = __atomic_load_n(&f->common->nonblock, __ATOMIC_RELAXED);
	nmfd_put(f);
	return cmd == F_SETFL ? 0 : O_RDWR | (int)nonblock;
}

static int do_fcntl(int fd, int cmd, void *arg)
{
	switch (cmd) {
	case F_DUPFD:
	case F_DUPFD_CLOEXEC:
		return nmfd_duplicated(fd, REAL(fcntl)(fd, cmd, arg));
	case F_GETFL:
	case F_SETFL:
		if (nmfd_kind_of(fd) == NMFD_FILE)
			return status_flags(fd, cmd, arg);
		return REAL(fcntl)(fd, cmd, arg);
	default:
		return REAL(fcntl)(fd, cmd, arg);
	}
}

/* The third argument is a number or an address; both come as a register. */
NMFD_IN_PLACE int fcntl(int fd, int cmd, ...)
{
	va_list ap;
	void *arg;

	va_start(ap, cmd);
	arg = va_arg(ap, void *);
	va_end(ap);
	return do_fcntl(fd, cmd, arg);
}

NMFD_IN_PLACE int fcntl64(int fd, int cmd, ...)
{
	va_list ap;
	void *arg;

	va_start(ap, cmd);
	arg = va_arg(ap, void *);
	va_end(ap);
	return do_fcntl(fd, cmd, arg);
}

/* ---- ioctl and mmap ------------------------------------------------------------------- */

NMFD_IN_PLACE int ioctl(int fd, unsigned long request, ...)
{
	struct nmfd_file *f = NULL;
	va_list ap;
	void *arg;
	int ret;

	va_start(ap, request);
	arg = va_arg(ap, void *);
	va_end(ap);
	if (nmfd_kind_of(fd) == NMFD_FILE)
		f = nmfd_get(fd, NMFD_FILE);
	if (!f)
		return REAL(ioctl)(fd, request, arg);
	ret = nmfd_ioctl(f, fd, request, arg);
	nmfd_put(f);
	return result(ret);
}

static void *do_mmap(void *addr, size_t len, int prot, int flags, int fd, off64_t offset)
{
	struct nmfd_file *f = NULL;
	int error;

	if (!(flags & MAP_ANONYMOUS) && nmfd_kind_of(fd) == NMFD_FILE)
		f = nmfd_get(fd, NMFD_FILE);
	if (!f)
		return REAL(mmap)(addr, len, prot, flags, fd, offset);
	addr = nmfd_mmap(f, addr, len, prot, flags, offset);
	error = errno;
	nmfd_put(f);
	errno = error;
	return addr;
}

NMFD_IN_PLACE void *mmap(void *addr, size_t len, int prot, int flags, int fd, off_t offset)
{
	return do_mmap(addr, len, prot, flags, fd, offset);
}

NMFD_IN_PLACE void *mmap64(void *addr, size_t len, int prot, int flags, int fd, off64_t offset)
{
	return do_mmap(addr, len, prot, flags, fd, offset);
}
