/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Backend "daemon": a port of netmapd, through an open file (file.h), so that the program can use its
 * descriptor as one of /dev/netmap. What the file has mapped is what the program sees.
 */
#include <errno.h>
#include <fcntl.h>

#include "file.h"
#include "request.h"
#include "wait.h"

/* Once: whoever polls the descriptor gets an error, and should know why. */
static void warn_out_of_place(struct nmport_d *d)
{
	static bool warned;

	if (nmfd_is_in_place() || __atomic_exchange_n(&warned, true, __ATOMIC_RELAXED))
		return;
	nmctx_ferror(d->ctx,
		"poll(), select(), epoll and ioctl() on a port's descriptor can't work in this program, for libnetmap came after the C library (dlopen?): use nmport_poll(), nmport_rxsync(), nmport_txsync(), or start it with LD_PRELOAD=libnetmap.so.1");
}

static int daemon_open(struct nmport_d *d, struct nm_error *why)
{
	int fd = nmfd_open(O_CLOEXEC, why);

	if (fd < 0)
		return fd;
	d->fd = fd;
	d->priv->file = nmfd_get(fd, NMFD_FILE);
	warn_out_of_place(d);
	return 0;
}

static int daemon_request(struct nmport_d *d, struct nmreq_header *hdr, struct nm_error *why)
{
	int ret = nmfd_request(d->priv->file, hdr, why);

	if (ret == 0 && hdr->nr_reqtype == NETMAP_REQ_REGISTER)
		d->priv->daemon = d->priv->file->daemon;
	return ret;
}

static uint64_t daemon_inode(struct nmport_d *d)
{
	return nmlib_conn.inode(d->priv->file->port);
}

static int daemon_map(struct nmport_d *d, size_t size, void **addr)
{
	const struct nmem_d *mem = d->priv->file->port->mem;

	if (mem->size != size)
		return -EPROTO;
	*addr = mem->mem;
	return 0;
}

/* Files of one region have one mapping, as long as there is one of them. */
static void daemon_unmap(void *addr, size_t size)
{
	(void)addr;
	(void)size;
}

/* The rings came with the registration. */
static int daemon_attach(struct nmport_d *d)
{
	return nmlib_daemon_check_ranges(d);
}

static void daemon_detach(struct nmport_d *d)
{
	(void)d;
}

/* Is d->fd still the file's? The program may have closed it. */
static bool has_fd(const struct nmport_d *d)
{
	struct nmfd_file *f = nmfd_get(d->fd, NMFD_FILE);

	if (f)
		nmfd_put(f);
	return f && f == d->priv->file;
}

static void daemon_close(struct nmport_d *d)
{
	if (d->priv->file) {
		if (has_fd(d))
			nmfd_close(d->fd);
		nmfd_put(d->priv->file);
	}
	d->priv->file = NULL;
	d->priv->daemon = NULL;
	d->fd = -1;
}

const struct nmport_backend nmlib_daemon = {
	.name = "daemon",
	.open = daemon_open,
	.request = daemon_request,
	.inode = daemon_inode,
	.map = daemon_map,
	.unmap = daemon_unmap,
	.attach = daemon_attach,
	.detach = daemon_detach,
	.close = daemon_close,
	.txsync = nmlib_daemon_txsync,
	.rxsync = nmlib_daemon_rxsync,
	.poll = nmlib_daemon_poll,
};
