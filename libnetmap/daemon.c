/* SPDX-License-Identifier: BSD-2-Clause */
/* Backend "daemon": connection to netmapd, control requests, descriptors. */
#include "internal.h"
#include "daemon.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "proto_client.h"

_Static_assert((int)NMLIB_WHY == (int)NMD_TEXT_MAX, "texts of netmapd are handed on as they are");

static int daemon_open(struct nmport_d *d, char why[NMLIB_WHY])
{
	int fd = nmd_connect(NULL, NULL, why);

	if (fd < 0)
		return fd;
	d->fd = fd;
	return 0;
}

/* ---- requests as messages ------------------------------------------------------------- */

enum { PARTS_MAX = 2 + NETMAP_REQ_OPT_MAX };

/* A request in the application's memory and in a message. */
struct flat {
	struct {
		void *mem;       /* the application's */
		uint32_t offset; /* in the payload */
		uint32_t size;
	} part[PARTS_MAX];
	unsigned int parts; /* header, body if any, options */
	int has_body;
	uint32_t size; /* of the payload */
};

struct message {
	struct nmd_hdr hdr;
	char payload[NETMAP_REQ_MAXSIZE];
};

static int add_part(struct flat *f, void *mem, size_t size)
{
	uint32_t room = (uint32_t)(size + 7) & ~7u;

	if (f->parts == PARTS_MAX || f->size + room > NETMAP_REQ_MAXSIZE)
		return -EINVAL;
	f->part[f->parts].mem = mem;
	f->part[f->parts].offset = f->size;
	f->part[f->parts].size = (uint32_t)size;
	f->parts++;
	f->size += room;
	return 0;
}

/* Finds the parts. Options whose meaning is an address or a descriptor can't be sent. */
static int find_parts(struct flat *f, struct nmreq_header *hdr, char why[NMLIB_WHY])
{
	size_t body = nmlib_body_size(hdr->nr_reqtype);
	struct nmreq_option *opt;
	int ret;

	memset(f, 0, sizeof(*f));
	ret = add_part(f, hdr, sizeof(*hdr));
	if (!ret && hdr->nr_body && body) {
		ret = add_part(f, (void *)(uintptr_t)hdr->nr_body, body);
		f->has_body = 1;
	}
	nmreq_foreach_option(hdr, opt)
	{
		if (ret)
			break;
		if (opt->nro_reqtype != NETMAP_REQ_OPT_OFFSETS) {
			opt->nro_status = EOPNOTSUPP;
			snprintf(why, NMLIB_WHY, "netmapd does not serve the option %s (number %u)",
				nmreq_option_name(opt->nro_reqtype), opt->nro_reqtype);
			return -EOPNOTSUPP;
		}
		ret = add_part(f, opt, nmlib_option_size(opt->nro_reqtype));
	}
	if (ret)
		snprintf(why, NMLIB_WHY, "too many options, or larger than %d bytes together",
			NETMAP_REQ_MAXSIZE);
	return ret;
}

/* Copies the parts into the payload; addresses become offsets in it. */
static void flatten(const struct flat *f, char *payload)
{
	unsigned int first = 1 + (f->has_body ? 1u : 0), i;
	struct nmreq_header hdr;

	memset(payload, 0, f->size);
	for (i = 0; i < f->parts; i++)
		memcpy(payload + f->part[i].offset, f->part[i].mem, f->part[i].size);
	memcpy(&hdr, payload, sizeof(hdr));
	hdr.nr_body = f->has_body ? f->part[1].offset : 0;
	hdr.nr_options = first < f->parts ? f->part[first].offset : 0;
	memcpy(payload, &hdr, sizeof(hdr));
	for (i = first; i < f->parts; i++) {
		uint64_t next = i + 1 < f->parts ? f->part[i + 1].offset : 0;

		memcpy(payload + f->part[i].offset + offsetof(struct nmreq_option, nro_next), &next,
			sizeof(next));
	}
}

/* Copies the payload back; the addresses stay what they were. */
static void unflatten(const struct flat *f, const char *payload)
{
	unsigned int first = 1 + (f->has_body ? 1u : 0), i;
	struct nmreq_header *hdr = f->part[0].mem;
	uint64_t body = hdr->nr_body, options = hdr->nr_options;

	memcpy(hdr, payload, sizeof(*hdr));
	hdr->nr_body = body;
	hdr->nr_options = options;
	if (f->has_body)
		memcpy(f->part[1].mem, payload + f->part[1].offset, f->part[1].size);
	for (i = first; i < f->parts; i++) {
		struct nmreq_option *opt = f->part[i].mem;
		uint64_t next = opt->nro_next;

		memcpy(opt, payload + f->part[i].offset, f->part[i].size);
		opt->nro_next = next;
	}
}

/* ---- what a registration brings ------------------------------------------------------- */

static void close_fds(int *fds, unsigned int n)
{
	for (unsigned int i = 0; i < n; i++)
		close(fds[i]);
}

/* The numbers of a reply fit together? */
static int check_attach(const struct nmd_attach *at, unsigned int nfds)
{
	uint64_t rings = at->rings;

	if (rings != (uint64_t)at->tx_rings + at->rx_rings || nfds != 4 + rings)
		return -EPROTO;
	if (at->ktoa_offset > at->csb_size ||
		at->ktoa_offset < rings * sizeof(struct nm_csb_atok) ||
		at->csb_size - at->ktoa_offset < rings * sizeof(struct nm_csb_ktoa))
		return -EPROTO;
	return 0;
}

/* Takes over the descriptors of a registration: from here on they are d's. */
static int keep_attach(struct nmport_d *d, const struct nmd_attach *at, int *fds, unsigned int nfds)
{
	struct nmlib_daemon_port *p;
	void *csb;
	int ret;

	ret = check_attach(at, nfds);
	if (ret < 0)
		return ret;
	csb = mmap(NULL, at->csb_size, PROT_READ | PROT_WRITE, MAP_SHARED, fds[1], 0);
	if (csb == MAP_FAILED)
		return -errno;
	p = nmctx_malloc(d->ctx, sizeof(*p) + at->rings * sizeof(p->rings[0]));
	if (!p) {
		munmap(csb, at->csb_size);
		return -ENOMEM;
	}
	memset(p, 0, sizeof(*p) + at->rings * sizeof(p->rings[0]));
	p->at = *at;
	p->csb = csb;
	p->region_fd = fds[0];
	p->irq[0] = fds[2];
	p->irq[1] = fds[3];
	for (uint32_t i = 0; i < at->rings; i++)
		p->rings[i].kick = fds[4 + i];
	close(fds[1]);
	d->priv->daemon = p;
	return 0;
}

static void drop_attach(struct nmport_d *d)
{
	struct nmlib_daemon_port *p = d->priv->daemon;

	if (!p)
		return;
	for (uint32_t i = 0; i < p->at.rings; i++)
		close(p->rings[i].kick);
	close(p->irq[0]);
	close(p->irq[1]);
	close(p->region_fd);
	munmap(p->csb, p->at.csb_size);
	nmctx_free(d->ctx, p);
	d->priv->daemon = NULL;
}

/* ---- one request ---------------------------------------------------------------------- */

struct answer {
	char bytes[NMD_MSG_MAX];
	struct nmd_nmreq_reply r; /* the beginning of bytes; zeros behind a shorter reply */
	const char *payload;      /* NULL: none */
	int fds[NMD_FDS_MAX];
	unsigned int nfds;
};

/* Sends and receives. 0 or a negative errno of the transport. */
static int exchange(int fd, const struct message *msg, uint32_t size, struct answer *a)
{
	ssize_t n;

	memset(&a->r, 0, sizeof(a->r));
	a->payload = NULL;
	a->nfds = NMD_FDS_MAX;
	n = nmd_request(fd, msg, a->bytes, sizeof(a->bytes), a->fds, &a->nfds);
	if (n < 0) {
		a->nfds = 0;
		return (int)n;
	}
	memcpy(&a->r, a->bytes, (size_t)n < sizeof(a->r) ? (size_t)n : sizeof(a->r));
	if ((size_t)n == sizeof(a->r) + size && a->r.payload == size)
		a->payload = a->bytes + sizeof(a->r);
	else if (a->r.reply.hdr.status == 0)
		return -EPROTO;
	return 0;
}

static int finish_request(struct nmport_d *d, struct nmreq_header *hdr, const struct flat *f,
	struct answer *a, char why[NMLIB_WHY])
{
	int ret = a->r.reply.hdr.status;

	if (a->payload)
		unflatten(f, a->payload);
	if (ret < 0) {
		if (a->r.reply.text[0])
			snprintf(why, NMLIB_WHY, "%s", a->r.reply.text);
		else
			nmlib_explain(hdr, ret, why);
		return ret;
	}
	if (hdr->nr_reqtype != NETMAP_REQ_REGISTER)
		return a->nfds ? -EPROTO : 0;
	ret = keep_attach(d, &a->r.attach, a->fds, a->nfds);
	if (ret == 0)
		a->nfds = 0;
	else
		snprintf(why, NMLIB_WHY, "can't use what netmapd gave: %s", strerror(-ret));
	return ret;
}

static int daemon_request(struct nmport_d *d, struct nmreq_header *hdr, char why[NMLIB_WHY])
{
	struct message msg;
	struct answer *a;
	struct flat f;
	int ret;

	ret = find_parts(&f, hdr, why);
	if (ret < 0)
		return ret;
	a = nmctx_malloc(d->ctx, sizeof(*a));
	if (!a) {
		snprintf(why, NMLIB_WHY, "no memory for a message");
		return -ENOMEM;
	}
	nmd_hdr_init(&msg.hdr, NMD_NMREQ, sizeof(msg.hdr) + f.size);
	flatten(&f, msg.payload);
	ret = exchange(d->fd, &msg, f.size, a);
	if (ret < 0)
		snprintf(why, NMLIB_WHY, "netmapd: %s",
			ret == -ECONNRESET ? "it closed the connection" : strerror(-ret));
	else
		ret = finish_request(d, hdr, &f, a, why);
	close_fds(a->fds, a->nfds);
	nmctx_free(d->ctx, a);
	return ret;
}

/* ---- the rest ------------------------------------------------------------------------- */

static uint64_t daemon_inode(struct nmport_d *d)
{
	struct stat st;

	return fstat(d->priv->daemon->region_fd, &st) < 0 ? 0 : st.st_ino;
}

static int daemon_map(struct nmport_d *d, size_t size, void **addr)
{
	struct nmlib_daemon_port *p = d->priv->daemon;

	if (p->at.region_size != size)
		return -EPROTO;
	*addr = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, p->region_fd, 0);
	return *addr == MAP_FAILED ? -errno : 0;
}

static void daemon_detach(struct nmport_d *d)
{
	struct nmlib_daemon_port *p = d->priv->daemon;

	for (uint32_t i = 0; p && i < p->at.rings; i++)
		p->rings[i].ring = NULL;
}

static void daemon_close(struct nmport_d *d)
{
	drop_attach(d);
	if (d->fd >= 0)
		close(d->fd);
	d->fd = -1;
}

const struct nmport_backend nmlib_daemon = {
	.name = "daemon",
	.open = daemon_open,
	.request = daemon_request,
	.inode = daemon_inode,
	.map = daemon_map,
	.attach = nmlib_daemon_attach,
	.detach = daemon_detach,
	.close = daemon_close,
	.txsync = nmlib_daemon_txsync,
	.rxsync = nmlib_daemon_rxsync,
	.poll = nmlib_daemon_poll,
};
