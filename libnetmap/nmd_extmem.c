/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Backend "daemon": the application's memory as a region (option EXTMEM).
 *
 * netmapd can't map the memory of another process. So the memory is copied into a
 * sealed memfd, which netmapd maps, and when the registration has succeeded the
 * memfd is mapped in the place of the memory: the same address, the same contents.
 * Until then nothing has changed for the application.
 */
#include "nmd.h"
#include "usermem.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

enum { PART = 65536 }; /* bytes that are copied at a time */

static int fail(struct nmlib_extmem *e, int error, struct nm_error *why, const char *text)
{
	nm_error_set(why, error, "external memory of %llu bytes at 0x%llx: %.150s",
		(unsigned long long)e->bytes, (unsigned long long)e->addr, text);
	e->opt->nro_opt.nro_status = (uint32_t)-error;
	return error;
}

static int write_all(int fd, const char *from, size_t bytes, uint64_t at)
{
	size_t done = 0;

	while (done < bytes) {
		ssize_t n = pwrite(fd, from + done, bytes - done, (off_t)(at + done));

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return n < 0 ? -errno : -EIO;
		done += (size_t)n;
	}
	return 0;
}

/* Memory that can't be read is an error, not a crash; zeros are there already, and take no room. */
static int copy_memory(int fd, uint64_t addr, uint64_t bytes)
{
	char *part = malloc(PART);
	int ret = part ? 0 : -ENOMEM;

	for (uint64_t done = 0; done < bytes && ret == 0; done += PART) {
		size_t n = bytes - done < PART ? (size_t)(bytes - done) : (size_t)PART;

		ret = nmlib_user_read(part, addr + done, n);
		if (ret == 0 && (part[0] || memcmp(part, part + 1, n - 1) != 0))
			ret = write_all(fd, part, n, done);
	}
	free(part);
	return ret;
}

static int make_copy(struct nmlib_extmem *e)
{
	int ret;

	e->fd = memfd_create("netmap-extmem", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	if (e->fd < 0)
		return -errno;
	if (ftruncate(e->fd, (off_t)e->bytes) < 0)
		return -errno;
	ret = copy_memory(e->fd, e->addr, e->bytes);
	if (ret < 0)
		return ret;
	return fcntl(e->fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL) < 0 ? -errno
											: 0;
}

int nmlib_extmem_begin(struct nmlib_extmem *e, struct nmreq_header *hdr, struct nm_error *why)
{
	struct nmreq_option *opt = NULL;
	uint64_t page = (uint64_t)sysconf(_SC_PAGESIZE);
	unsigned int most = NETMAP_REQ_MAXSIZE / sizeof(*opt);
	int ret;

	e->opt = NULL;
	e->fd = -1;
	for (opt = (struct nmreq_option *)(uintptr_t)hdr->nr_options; opt && most-- > 0;
		opt = (struct nmreq_option *)(uintptr_t)opt->nro_next)
		if (opt->nro_reqtype == NETMAP_REQ_OPT_EXTMEM)
			break;
	if (!opt || opt->nro_reqtype != NETMAP_REQ_OPT_EXTMEM)
		return 0;
	e->opt = (struct nmreq_opt_extmem *)opt;
	e->addr = e->opt->nro_usrptr;
	e->bytes = e->opt->nro_info.nr_memsize;
	if (!e->addr || e->addr % page)
		return fail(e, -EINVAL, why, "the address is not that of a page");
	if (!e->bytes || e->bytes > INT64_MAX - page || e->addr + e->bytes + page < e->addr)
		return fail(e, -EINVAL, why, "there is no memory of this size (nr_memsize)");
	/* A mapping is whole pages, and so is what takes its place. */
	e->bytes = (e->bytes + page - 1) / page * page;
	ret = make_copy(e);
	return ret < 0 ? fail(e, ret, why, ret == -EFAULT ? "it can't be read" : strerror(-ret))
		       : 0;
}

int nmlib_extmem_replace(struct nmlib_extmem *e, struct nm_error *why)
{
	void *addr;

	if (!e->opt)
		return 0;
	/* Fails, and changes nothing, where a part of a huge page would be left over. */
	addr = mmap((void *)(uintptr_t)e->addr, e->bytes, PROT_READ | PROT_WRITE,
		MAP_SHARED | MAP_FIXED, e->fd, 0);
	if (addr != MAP_FAILED)
		return 0; /* cppcheck-suppress memleak; the mapping is in the place of the program's */
	return fail(e, -errno, why,
		errno == EINVAL
			? "it can't be replaced; memory on huge pages must be all of a mapping"
			: strerror(errno));
}

void nmlib_extmem_end(struct nmlib_extmem *e)
{
	if (e->fd >= 0)
		close(e->fd);
	e->fd = -1;
}
