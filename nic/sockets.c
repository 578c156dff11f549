/* SPDX-License-Identifier: BSD-2-Clause */
#include "sockets.h"

#include <fcntl.h>
#include <linux/if_xdp.h>
#include <net/if.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include "waiting.h"
#include "xsk.h"

enum {
	PROBE_CHUNK = 4096,
	PROBE_RING = 64,
};

/* Newer than the oldest headers that this builds with. */
#ifndef XDP_USE_SG
#define XDP_USE_SG (1 << 4)
#endif
#ifndef SO_PREFER_BUSY_POLL
#define SO_PREFER_BUSY_POLL 69
#define SO_BUSY_POLL_BUDGET 70
#endif

/* ---- making ---------------------------------------------------------------------------------- */

static int set(int fd, int option, const void *value, socklen_t bytes)
{
	return setsockopt(fd, SOL_XDP, option, value, bytes) < 0 ? -errno : 0;
}

static int set_ring(int fd, int option, uint32_t entries)
{
	int size = (int)entries;

	return set(fd, option, &size, sizeof(size));
}

/* Pins the memory; that it is mapped here is needed for this call only. */
static int register_memory(int fd, int memory, uint64_t offset, uint64_t bytes, uint32_t chunk)
{
	void *at = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, memory, (off_t)offset);
	struct xdp_umem_reg reg = {
		.addr = (uintptr_t)at, .len = bytes, .chunk_size = chunk, .headroom = 0};
	int error;

	if (at == MAP_FAILED)
		return -errno;
	error = set(fd, XDP_UMEM_REG, &reg, sizeof(reg));
	munmap(at, bytes);
	return error;
}

static int add_rings(int fd, uint32_t fill, uint32_t completion, uint32_t rx, uint32_t tx)
{
	int error = set_ring(fd, XDP_UMEM_FILL_RING, fill);

	if (!error)
		error = set_ring(fd, XDP_UMEM_COMPLETION_RING, completion);
	if (!error)
		error = set_ring(fd, XDP_RX_RING, rx);
	if (!error && tx)
		error = set_ring(fd, XDP_TX_RING, tx);
	return error;
}

static int prefer_polling(int fd, const struct nic_open *o)
{
	int one = 1, us = (int)o->busy_poll_us, budget = (int)o->busy_poll_budget;

	if (!us)
		return 0;
	if (setsockopt(fd, SOL_SOCKET, SO_PREFER_BUSY_POLL, &one, sizeof(one)) < 0 ||
		setsockopt(fd, SOL_SOCKET, SO_BUSY_POLL, &us, sizeof(us)) < 0 ||
		(budget && setsockopt(fd, SOL_SOCKET, SO_BUSY_POLL_BUDGET, &budget,
				   sizeof(budget)) < 0))
		return -errno;
	return 0;
}

static int fail(struct nm_error *err, int error, const char *ifname, const char *what)
{
	switch (error) {
	case -EPERM:
		return nm_error_set(err, error,
			"%s: netmapd-nic lacks a privilege (%s): it needs CAP_BPF, CAP_NET_ADMIN, CAP_NET_RAW and CAP_IPC_LOCK",
			ifname, what);
	case -EAFNOSUPPORT:
		return nm_error_set(
			err, error, "%s: this kernel has no AF_XDP (CONFIG_XDP_SOCKETS)", ifname);
	case -ENOBUFS:
	case -ENOMEM:
		return nm_error_set(err, -ENOMEM,
			"%s: the kernel has no memory for it (%s), or may not pin so much", ifname,
			what);
	}
	return nm_error_set(err, error, "%s: %s: %s", ifname, what, strerror(-error));
}

static int make_one(struct sockets *s, uint32_t i, const char *ifname, const struct nic_open *o,
	int memory, struct nm_error *err)
{
	int fd = socket(AF_XDP, SOCK_RAW | SOCK_CLOEXEC, 0), error;

	if (fd < 0)
		return fail(err, -errno, ifname, "AF_XDP socket");
	s->fd[i] = fd;
	error = i > 0 ? 0 : register_memory(fd, memory, o->umem_offset, o->umem_bytes, o->chunk);
	if (error)
		return fail(err, error, ifname, "registering the memory");
	error = add_rings(fd, o->fill, o->completion, o->rx, o->tx);
	if (error)
		return fail(err, error, ifname, "rings of an AF_XDP socket");
	error = prefer_polling(fd, o);
	return error ? fail(err, error, ifname, "busy polling") : 0;
}

int sockets_make(struct sockets *s, const char *ifname, const struct nic_open *o, int memory,
	struct nm_error *err)
{
	int error = 0;

	s->bound = 0;
	for (uint32_t i = 0; i < s->count; i++)
		s->fd[i] = -1;
	for (uint32_t i = 0; i < s->count && !error; i++)
		error = make_one(s, i, ifname, o, memory, err);
	if (error)
		sockets_close(s);
	return error;
}

void sockets_close(struct sockets *s)
{
	for (uint32_t i = 0; i < s->count; i++)
		if (s->fd[i] >= 0) {
			close(s->fd[i]);
			s->fd[i] = -1;
		}
}

/* ---- posting ---------------------------------------------------------------------------------- */

/* The kernel checks each address. The mapping is gone afterwards: it would keep the socket. */
static int post(int fd, const uint64_t *addrs, uint32_t count, uint32_t fill)
{
	struct xsk x;
	int error = xsk_init(&x, fd, 0, &(struct xsk_sizes){.fill = fill});

	if (error)
		return error;
	count = xsk_room(&x.fill, count);
	for (uint32_t i = 0; i < count; i++)
		xsk_put_addr(&x.fill, i, addrs[i]);
	xsk_submit(&x.fill, count);
	x.fd = -1; /* it stays */
	xsk_destroy(&x);
	return 0;
}

static int post_queue(
	struct sockets *s, uint32_t i, int file, uint32_t fill, uint32_t count, uint64_t *addrs)
{
	off_t at = (off_t)i * (NIC_POSTED_HEAD + (off_t)fill * (off_t)sizeof(*addrs)) +
		   NIC_POSTED_HEAD;
	ssize_t bytes = (ssize_t)(count * sizeof(*addrs));

	/* A memfd: reading another file could wait for whoever made it. */
	if (count > fill || fcntl(file, F_GET_SEALS) < 0 ||
		(count > 0 && pread(file, addrs, (size_t)bytes, at) != bytes))
		return -EINVAL;
	return post(s->fd[i], addrs, count, fill);
}

int sockets_post(struct sockets *s, const char *ifname, int file, uint32_t fill,
	const uint32_t *posted, struct nm_error *err)
{
	uint64_t *addrs = calloc(fill, sizeof(*addrs));
	int error = addrs ? 0 : -ENOMEM;

	for (uint32_t i = 0; i < s->count && !error; i++) {
		error = post_queue(s, i, file, fill, posted[i], addrs);
		if (error)
			nm_error_set(err, error,
				"%s: queue %u: %u chunks can't be posted to its fill ring of %u: %s",
				ifname, s->first + i, posted[i], fill, strerror(-error));
	}
	if (!addrs)
		nm_error_set(err, error, "%s: out of memory", ifname);
	free(addrs);
	return error;
}

/* ---- binding --------------------------------------------------------------------------------- */

/* Waits as long as the kernel has not let go of who had the queue before. */
static int bind_queue(int fd, const struct sockaddr_xdp *addr, const char *ifname)
{
	struct waiting waiting = {.ifname = ifname, .what = "for the kernel to let go of a queue"};
	int error;

	do {
		error = bind(fd, (const struct sockaddr *)addr, sizeof(*addr)) < 0 ? -errno : 0;
	} while (error == -EBUSY && waiting_more(&waiting, NIC_BUSY_MS));
	return error;
}

static uint16_t bind_flags(uint32_t mode, bool sg)
{
	return (uint16_t)(XDP_USE_NEED_WAKEUP | (sg ? XDP_USE_SG : 0) |
			  (mode == NIC_MODE_ZEROCOPY ? XDP_ZEROCOPY : XDP_COPY));
}

/* What was granted is what was asked for, and the kernel takes a kick. */
static int verify(
	int fd, const struct nic_facts *f, uint32_t queue, uint32_t mode, struct nm_error *err)
{
	struct xdp_options options = {0};
	socklen_t len = sizeof(options);

	if (getsockopt(fd, SOL_XDP, XDP_OPTIONS, &options, &len) < 0)
		return fail(err, -errno, f->ifname, "XDP_OPTIONS");
	if (!!(options.flags & XDP_OPTIONS_ZEROCOPY) != (mode == NIC_MODE_ZEROCOPY))
		return nm_error_set(err, -EOPNOTSUPP,
			"%s: queue %u: the kernel copies although it was asked not to", f->ifname,
			queue);
	/* cppcheck-suppress nullPointer ; no bytes: it is only a kick */
	if (sendto(fd, NULL, 0, MSG_DONTWAIT, NULL, 0) < 0 &&
		(errno == EINVAL || errno == EOPNOTSUPP))
		return nm_error_set(err, -EOPNOTSUPP, "%s: queue %u: driver %s can't send: %s",
			f->ifname, queue, f->driver, strerror(errno));
	return 0;
}

static int bind_error(int error, const struct nic_facts *f, uint32_t queue, uint32_t mode, bool sg,
	struct nm_error *err)
{
	if (error == -EBUSY)
		return nm_error_set(err, error,
			"%s: queue %u: another program has an AF_XDP socket there, and still had after %d ms; end it",
			f->ifname, queue, NIC_BUSY_MS);
	if (error == -EOPNOTSUPP && mode == NIC_MODE_ZEROCOPY)
		return nm_error_set(err, error,
			"%s: driver %s has no zero copy on this kernel (queue %u: %s)", f->ifname,
			f->driver, queue, strerror(-error));
	if (error == -EINVAL && sg)
		return nm_error_set(err, error,
			"%s: this kernel has no packets over several chunks (6.6 and later have)",
			f->ifname);
	return nm_error_set(err, error, "%s: queue %u can't be bound in mode %s: %s", f->ifname,
		queue, mode == NIC_MODE_ZEROCOPY ? "zero-copy" : "copy", strerror(-error));
}

int sockets_bind(struct sockets *s, const struct nic_facts *f, uint32_t mode, bool sg, bool *spoilt,
	struct nm_error *err)
{
	struct sockaddr_xdp addr = {.sxdp_family = AF_XDP,
		.sxdp_flags = bind_flags(mode, sg),
		.sxdp_ifindex = f->ifindex};
	int error;

	*spoilt = false;
	for (uint32_t i = 0; i < s->count; i++) {
		addr.sxdp_queue_id = s->first + i;
		error = bind_queue(s->fd[i], &addr, f->ifname);
		if (error) {
			/* EOPNOTSUPP of the first: the driver wasn't even asked, or has refused at once. */
			*spoilt = i > 0 || error != -EOPNOTSUPP;
			return bind_error(error, f, addr.sxdp_queue_id, mode, sg, err);
		}
		*spoilt = true;
		s->bound = i + 1;
		error = verify(s->fd[i], f, addr.sxdp_queue_id, mode, err);
		if (error)
			return error;
		/* The mode of the first is that of all who share its memory. */
		addr.sxdp_flags = XDP_SHARED_UMEM;
		addr.sxdp_shared_umem_fd = (uint32_t)s->fd[0];
	}
	return 0;
}

/* ---- gone ------------------------------------------------------------------------------------ */

/* A socket that can be bound to a queue, with a memory of its own; or a negative errno. */
static int make_probe(void *chunk)
{
	struct xdp_umem_reg reg = {
		.addr = (uintptr_t)chunk, .len = PROBE_CHUNK, .chunk_size = PROBE_CHUNK};
	int fd = socket(AF_XDP, SOCK_RAW | SOCK_CLOEXEC, 0), error;

	if (fd < 0)
		return -errno;
	error = set(fd, XDP_UMEM_REG, &reg, sizeof(reg));
	if (!error)
		error = add_rings(fd, PROBE_RING, PROBE_RING, PROBE_RING, 0);
	if (!error)
		return fd;
	close(fd);
	return error;
}

/* 0: the queue, or the whole device, is nobody's. */
static int probe(uint32_t ifindex, uint32_t queue, void *chunk)
{
	struct sockaddr_xdp addr = {.sxdp_family = AF_XDP,
		.sxdp_flags = XDP_COPY,
		.sxdp_ifindex = ifindex,
		.sxdp_queue_id = queue};
	int fd = make_probe(chunk), error = 0;

	if (fd < 0)
		return fd;
	if (bind(fd, (struct sockaddr *)&addr, sizeof(addr)) < 0)
		error = -errno;
	close(fd);
	return error == -ENODEV ? 0 : error;
}

int sockets_wait_gone(const struct nic_facts *f, uint32_t first, uint32_t count)
{
	void *chunk =
		mmap(NULL, PROBE_CHUNK, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	struct waiting waiting = {
		.ifname = f->ifname, .what = "for the kernel to let go of its queues"};
	int error = 0;

	if (chunk == MAP_FAILED)
		return -errno;
	for (uint32_t i = 0; i < count && !error; i++)
		while ((error = probe(f->ifindex, first + i, chunk)) == -EBUSY &&
			waiting_more(&waiting, NIC_GONE_MS))
			;
	munmap(chunk, PROBE_CHUNK);
	return error == -EBUSY ? -ETIMEDOUT : error;
}
