/* SPDX-License-Identifier: BSD-2-Clause */
/* Backend "kernel": a file of /dev/netmap. */
#include "internal.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

static int kernel_open(struct nmport_d *d, struct nm_error *why)
{
	int error;

	d->fd = open("/dev/netmap", O_RDWR | O_CLOEXEC);
	if (d->fd >= 0)
		return 0;
	error = errno;
	nm_error_set(why, -error, "can't open /dev/netmap: %s%s", strerror(error),
		error == ENOENT ? " (is the module netmap loaded?)" : "");
	return -error;
}

static int kernel_request(struct nmport_d *d, struct nmreq_header *hdr, struct nm_error *why)
{
	int error;

	if (ioctl(d->fd, NIOCCTRL, hdr) >= 0)
		return 0;
	error = -errno;
	nmlib_explain(hdr, error, why);
	return error;
}

/* Region ids of the kernel are unique. */
static uint64_t kernel_inode(struct nmport_d *d)
{
	(void)d;
	return 0;
}

static int kernel_map(struct nmport_d *d, size_t size, void **addr)
{
	*addr = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, d->fd, 0);
	return *addr == MAP_FAILED ? -errno : 0;
}

static void kernel_unmap(void *addr, size_t size)
{
	munmap(addr, size);
}

static int kernel_attach(struct nmport_d *d)
{
	(void)d;
	return 0;
}

static void kernel_detach(struct nmport_d *d)
{
	(void)d;
}

static void kernel_close(struct nmport_d *d)
{
	if (d->fd >= 0)
		close(d->fd);
	d->fd = -1;
}

static int kernel_txsync(struct nmport_d *d)
{
	return ioctl(d->fd, NIOCTXSYNC, NULL) < 0 ? -errno : 0;
}

static int kernel_rxsync(struct nmport_d *d)
{
	return ioctl(d->fd, NIOCRXSYNC, NULL) < 0 ? -errno : 0;
}

static int kernel_poll(struct nmport_d *d, short events, int timeout_ms)
{
	struct pollfd p = {.fd = d->fd, .events = events};
	int n = poll(&p, 1, timeout_ms);

	return n < 0 ? -errno : n == 0 ? 0 : p.revents;
}

const struct nmport_backend nmlib_kernel = {
	.name = "kernel",
	.open = kernel_open,
	.request = kernel_request,
	.inode = kernel_inode,
	.map = kernel_map,
	.unmap = kernel_unmap,
	.attach = kernel_attach,
	.detach = kernel_detach,
	.close = kernel_close,
	.txsync = kernel_txsync,
	.rxsync = kernel_rxsync,
	.poll = kernel_poll,
};
