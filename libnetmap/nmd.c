/* SPDX-License-Identifier: BSD-2-Clause */
/* A connection to netmapd, registration and what comes with it: what is below the backend "daemon". */
#include "nmd.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "proto_client.h"

static int conn_open(struct nmport_d *d, struct nm_error *why)
{
	int fd = nmd_connect(NULL, NULL, why);

	if (fd < 0)
		return fd;
	d->fd = fd;
	return 0;
}

/* ---- what a registration brings ------------------------------------------------------- */

/* The numbers of a reply fit together? */
static int check_attach(const struct nmd_attach *at, unsigned int nfds)
{
	uint64_t rings = at->rings, kicks = rings < NMD_KICKS_MAX ? rings : NMD_KICKS_MAX;

	if (rings != (uint64_t)at->tx_rings + at->rx_rings || rings > NMD_RINGS_MAX ||
		nfds != 4 + kicks)
		return -EPROTO;
	if (at->ktoa_offset % __alignof__(struct nm_csb_ktoa) || at->ktoa_offset > at->csb_size ||
		at->ktoa_offset < (rings + 1) * sizeof(struct nm_csb_atok) ||
		at->csb_size - at->ktoa_offset < (rings + 1) * sizeof(struct nm_csb_ktoa))
		return -EPROTO;
	return 0;
}

/* A mapping of a file that is too short would fault later. */
static bool is_long_enough(int fd, uint64_t bytes)
{
	struct stat st;

	return fstat(fd, &st) == 0 && st.st_size >= 0 && (uint64_t)st.st_size >= bytes;
}

/* The state of a port, in memory that stays common after fork(). NULL: none. */
static struct nmlib_daemon_port *new_port(uint32_t rings)
{
	struct nmlib_daemon_port *p;
	size_t bytes = sizeof(*p) + rings * sizeof(p->rings[0]);

	p = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (p == MAP_FAILED)
		return NULL;
	p->bytes = bytes;
	return p;
}

/* The times of syncs on rx rings, unless the environment says no. */
static bool wants_timestamps(void)
{
	const char *wish = getenv("NETMAP_TIMESTAMPS");

	return !wish || strcmp(wish, "0") != 0;
}

int nmlib_daemon_keep(struct nmport_d *d, const struct nmd_attach *at, int *fds, unsigned int nfds)
{
	struct nmlib_daemon_port *p;
	int ret;

	ret = check_attach(at, nfds);
	if (ret == 0 &&
		(!is_long_enough(fds[0], at->region_size) || !is_long_enough(fds[1], at->csb_size)))
		ret = -EPROTO;
	if (ret < 0)
		return ret;
	p = new_port(at->rings);
	if (!p)
		return -ENOMEM;
	p->at = *at;
	p->csb = mmap(NULL, at->csb_size, PROT_READ | PROT_WRITE, MAP_SHARED, fds[1], 0);
	p->stop = p->csb == MAP_FAILED ? -1 : eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (p->stop < 0) {
		ret = -errno;
		if (p->csb != MAP_FAILED)
			munmap(p->csb, at->csb_size);
		munmap(p, p->bytes);
		return ret;
	}
	p->sharer = at->sharer;
	p->side[NMLIB_TX].common =
		(struct nmd_shared *)(void *)(p->csb + at->rings * sizeof(struct nm_csb_atok));
	p->side[NMLIB_RX].common =
		(struct nmd_shared *)(void *)(p->csb + at->ktoa_offset +
					      at->rings * sizeof(struct nm_csb_ktoa));
	p->conn = d->fd;
	p->region_fd = fds[0];
	p->irq[NMLIB_TX] = fds[2];
	p->irq[NMLIB_RX] = fds[3];
	p->kicks = nfds - 4;
	for (uint32_t i = 0; i < at->rings; i++)
		p->rings[i].kick = fds[4 + i % p->kicks];
	for (uint32_t i = at->tx_rings; i < at->rings && wants_timestamps(); i++)
		p->rings[i].timestamps = true;
	close(fds[1]);
	nmlib_daemon_come_second(p);
	d->priv->daemon = p;
	return 0;
}

static void drop_attach(struct nmport_d *d)
{
	struct nmlib_daemon_port *p = d->priv->daemon;

	if (!p)
		return;
	for (uint32_t i = 0; i < p->kicks; i++)
		close(p->rings[i].kick);
	close(p->irq[NMLIB_TX]);
	close(p->irq[NMLIB_RX]);
	close(p->stop);
	close(p->region_fd);
	munmap(p->csb, p->at.csb_size);
	munmap(p, p->bytes);
	d->priv->daemon = NULL;
}

/* A mutex that processes share, and that survives the death of its owner. */
static int make_lock(pthread_mutex_t *lock)
{
	pthread_mutexattr_t attr;
	int error;

	error = pthread_mutexattr_init(&attr);
	if (error)
		return -error;
	pthread_mutexattr_setpshared(&attr, PTHREAD_PROCESS_SHARED);
	pthread_mutexattr_setrobust(&attr, PTHREAD_MUTEX_ROBUST);
	pthread_mutexattr_settype(&attr, PTHREAD_MUTEX_ERRORCHECK);
	error = pthread_mutex_init(lock, &attr);
	pthread_mutexattr_destroy(&attr);
	return -error;
}

int nmlib_daemon_share(struct nmlib_daemon_port *p)
{
	int ret = 0;

	for (int dir = 0; dir < NMLIB_DIRS && ret == 0; dir++) {
		ret = make_lock(&p->side[dir].lock);
		if (ret == 0)
			ret = make_lock(&p->side[dir].irq_lock);
	}
	if (ret == 0)
		p->shared = true;
	return ret;
}

/* ---- requests ------------------------------------------------------------------------- */

/* The one option CSB of a request, NULL if there is none; -EINVAL if there are two. */
static int find_csb(struct nmreq_header *hdr, struct nmreq_opt_csb **csb, struct nm_error *why)
{
	struct nmreq_option *opt;

	*csb = NULL;
	nmreq_foreach_option(hdr, opt)
	{
		if (opt->nro_reqtype != NETMAP_REQ_OPT_CSB)
			continue;
		if (*csb) {
			opt->nro_status = (*csb)->nro_opt.nro_status = EINVAL;
			return nm_error_set(why, -EINVAL, "the option csb stands twice");
		}
		*csb = (struct nmreq_opt_csb *)opt;
	}
	return 0;
}

static int do_register(struct nmport_d *d, struct nmreq_header *hdr, struct nm_error *why)
{
	const struct nmreq_register *reg = (struct nmreq_register *)(uintptr_t)hdr->nr_body;
	struct nmlib_extmem extmem;
	struct nmreq_opt_csb *csb;
	int ret;

	ret = find_csb(hdr, &csb, why);
	if (ret == 0 && csb && reg)
		ret = nmlib_csb_check(csb, reg->nr_flags, why);
	if (ret < 0)
		return ret;
	ret = nmlib_extmem_begin(&extmem, hdr, why);
	if (ret == 0)
		ret = nmlib_daemon_message(d, hdr, extmem.fd, why);
	if (ret == 0 && reg && extmem.opt && reg->nr_memsize > extmem.bytes)
		ret = nm_error_set(why, -EPROTO, "a region of %llu bytes on memory of %llu bytes",
			(unsigned long long)reg->nr_memsize, (unsigned long long)extmem.bytes);
	if (ret == 0)
		ret = nmlib_extmem_replace(&extmem, why);
	nmlib_extmem_end(&extmem);
	if (ret == 0) /* NOLINTNEXTLINE(clang-analyzer-core*): a request without its body fails */
		d->priv->daemon->flags = reg->nr_flags;
	if (ret == 0 && csb) {
		d->reg = *reg;
		ret = nmlib_csb_enable(d, csb, why);
	}
	return ret;
}

static int do_csb_enable(struct nmport_d *d, struct nmreq_header *hdr, struct nm_error *why)
{
	struct nmreq_option *opt = (struct nmreq_option *)(uintptr_t)hdr->nr_options;
	struct nmreq_opt_csb *csb;
	int ret;

	ret = find_csb(hdr, &csb, why);
	if (ret < 0)
		return ret;
	if (!csb) {
		return nm_error_set(why, -EINVAL, "CSB_ENABLE needs the option csb");
	}
	for (; opt; opt = (struct nmreq_option *)(uintptr_t)opt->nro_next) {
		if (opt == &csb->nro_opt)
			continue;
		opt->nro_status = EOPNOTSUPP;
		return nm_error_set(why, -EOPNOTSUPP, "CSB_ENABLE takes the option csb only");
	}
	return nmlib_csb_enable(d, csb, why);
}

static bool good_version(const struct nmreq_header *hdr)
{
	return hdr->nr_version >= NETMAP_MIN_API && hdr->nr_version <= NETMAP_MAX_API;
}

static int local_request(struct nmport_d *d, struct nmreq_header *hdr, struct nm_error *why)
{
	int ret;

	if (!good_version(hdr) || hdr->nr_reserved) {
		nm_error_set(why, -EINVAL,
			"API version %u with nr_reserved %u: %d to %d with 0 are served",
			hdr->nr_version, hdr->nr_reserved, NETMAP_MIN_API, NETMAP_MAX_API);
		hdr->nr_version = NETMAP_API;
		return -EINVAL;
	}
	if (!d->priv->daemon) {
		nm_error_set(why, -ENXIO, "no port is registered");
		ret = -ENXIO;
	} else if (hdr->nr_reqtype == NETMAP_REQ_CSB_ENABLE) {
		ret = do_csb_enable(d, hdr, why);
	} else if (hdr->nr_reqtype == NETMAP_REQ_SYNC_KLOOP_START) {
		ret = nmlib_kloop_start(d, hdr, why);
	} else {
		ret = nmlib_kloop_stop(d);
	}
	hdr->nr_version = NETMAP_API;
	return ret;
}

static int conn_request(struct nmport_d *d, struct nmreq_header *hdr, struct nm_error *why)
{
	int ret = nmlib_options_check(hdr, why);

	if (ret < 0)
		return ret;
	switch (hdr->nr_reqtype) {
	case NETMAP_REQ_REGISTER:
		return do_register(d, hdr, why);
	case NETMAP_REQ_CSB_ENABLE:
	case NETMAP_REQ_SYNC_KLOOP_START:
	case NETMAP_REQ_SYNC_KLOOP_STOP:
		return local_request(d, hdr, why);
	default:
		return nmlib_daemon_message(d, hdr, -1, why);
	}
}

/* ---- the rest ------------------------------------------------------------------------- */

static uint64_t conn_inode(struct nmport_d *d)
{
	struct stat st;

	return fstat(d->priv->daemon->region_fd, &st) < 0 ? 0 : st.st_ino;
}

static int conn_map(struct nmport_d *d, size_t size, void **addr)
{
	struct nmlib_daemon_port *p = d->priv->daemon;

	if (p->at.region_size != size)
		return -EPROTO;
	*addr = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, p->region_fd, 0);
	return *addr == MAP_FAILED ? -errno : 0;
}

/* The state stays what it is: another process may have it, too. */
static void conn_detach(struct nmport_d *d)
{
	(void)d;
}

static void conn_close(struct nmport_d *d)
{
	drop_attach(d);
	if (d->fd >= 0)
		close(d->fd);
	d->fd = -1;
}

static void conn_unmap(void *addr, size_t size)
{
	munmap(addr, size);
}

const struct nmport_backend nmlib_conn = {
	.name = "connection",
	.open = conn_open,
	.request = conn_request,
	.inode = conn_inode,
	.map = conn_map,
	.unmap = conn_unmap,
	.attach = nmlib_daemon_attach,
	.detach = conn_detach,
	.close = conn_close,
};
