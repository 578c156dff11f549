/* SPDX-License-Identifier: BSD-2-Clause */
/* Which backend a port is reached by, and the calls that go straight to it. */
#include "internal.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

const struct nmport_backend *nmlib_choose(struct nm_error *why)
{
	const char *wish = getenv("NETMAP_BACKEND");

	if (!wish || !*wish)
		return access("/dev/netmap", F_OK) == 0 ? &nmlib_kernel : &nmlib_daemon;
	if (strcmp(wish, nmlib_kernel.name) == 0)
		return &nmlib_kernel;
	if (strcmp(wish, nmlib_daemon.name) == 0)
		return &nmlib_daemon;
	nm_error_set(why, -EINVAL, "NETMAP_BACKEND is '%.64s', must be kernel or daemon", wish);
	return NULL;
}

int nmlib_connect(struct nmport_d *d)
{
	struct nmport_priv *priv = d->priv;
	struct nm_error why;
	int ret;

	if (d->fd >= 0)
		return 0;
	priv->backend = nmlib_choose(&why);
	ret = priv->backend ? priv->backend->open(d, &why) : -EINVAL;
	if (ret < 0)
		return nmlib_fail(
			d->ctx, ret, d->hdr.nr_name[0] ? d->hdr.nr_name : "netmap", why.text);
	return 0;
}

const char *nmport_backend(struct nmport_d *d)
{
	const struct nmport_backend *backend = d->priv->backend;
	struct nm_error why;

	if (!backend)
		backend = nmlib_choose(&why);
	if (!backend) {
		nmctx_ferror(d->ctx, "%s", why.text);
		errno = EINVAL;
		return NULL;
	}
	return backend->name;
}

/* The errnos that all requests share, in the words of a user. */
static const char *meaning(uint16_t reqtype, int error)
{
	switch (error) {
	case -ENXIO:
		return "no such port or interface";
	case -EBUSY:
		return reqtype == NETMAP_REQ_REGISTER ? "its rings are in use by another program"
						      : "the port is in use";
	case -EINVAL:
		return "a value of the request is not valid for this port";
	case -EOPNOTSUPP:
		return "not supported";
	case -ENOMEM:
		return "no room in the memory region";
	default:
		return NULL;
	}
}

static const char *request_name(uint16_t reqtype)
{
	static const char *const names[] = {"request 0", "register", "port info", "attach",
		"detach", "list", "set header length", "get header length", "new interface",
		"delete interface", "enable polling", "disable polling", "pools info",
		"start sync loop", "stop sync loop", "enable CSB"};

	return reqtype < sizeof(names) / sizeof(names[0]) ? names[reqtype] : "unknown request";
}

void nmlib_explain(const struct nmreq_header *hdr, int error, struct nm_error *why)
{
	const char *text = meaning(hdr->nr_reqtype, error);
	unsigned int most = NETMAP_REQ_MAXSIZE / sizeof(struct nmreq_option);
	const struct nmreq_option *opt;

	nmreq_foreach_option(hdr, opt)
	{
		if (most-- == 0)
			break; /* a list that loops: that is why it was refused */
		if (!opt->nro_status || opt->nro_status > 4095)
			continue;
		nm_error_set(why, error, "%s: option %s: %s", request_name(hdr->nr_reqtype),
			nmreq_option_name(opt->nro_reqtype), strerror((int)opt->nro_status));
		return;
	}
	if (text)
		nm_error_set(why, error, "%s: %s (%s)", request_name(hdr->nr_reqtype), text,
			strerror(-error));
	else
		nm_error_set(why, error, "%s: %s", request_name(hdr->nr_reqtype), strerror(-error));
}

int nmport_request(struct nmport_d *d, struct nmreq_header *hdr)
{
	struct nm_error why;
	int ret;

	if (hdr->nr_reqtype == NETMAP_REQ_REGISTER)
		return nmlib_fail(
			d->ctx, -EINVAL, hdr->nr_name, "a port is registered by nmport_register()");
	if (nmlib_connect(d) < 0)
		return -1;
	ret = d->priv->backend->request(d, hdr, &why);
	if (ret < 0)
		return nmlib_fail(d->ctx, ret, hdr->nr_name[0] ? hdr->nr_name : "netmap", why.text);
	return 0;
}

static int result(int ret)
{
	if (ret >= 0)
		return ret;
	errno = -ret;
	return -1;
}

int nmport_txsync(struct nmport_d *d)
{
	return result(d->mmap_done ? d->priv->backend->txsync(d) : -EINVAL);
}

int nmport_rxsync(struct nmport_d *d)
{
	return result(d->mmap_done ? d->priv->backend->rxsync(d) : -EINVAL);
}

int nmport_poll(struct nmport_d *d, short events, int timeout_ms)
{
	return result(d->mmap_done ? d->priv->backend->poll(d, events, timeout_ms) : -EINVAL);
}

/* ---- one packet ----------------------------------------------------------------------- */

/* Puts size bytes into the ring's next slots. 0 if they don't fit. */
static int inject_ring(struct netmap_ring *ring, const char *buf, size_t size)
{
	uint32_t i = ring->head, left = nm_ring_space(ring);

	while (left-- > 0) {
		struct netmap_slot *slot = &ring->slot[i];
		size_t offset = NETMAP_ROFFSET(ring, slot);
		size_t room = offset < ring->nr_buf_size ? ring->nr_buf_size - offset : 0;
		size_t part = size < room ? size : room < UINT16_MAX ? room : UINT16_MAX;

		if (!part)
			return 0;
		memcpy(NETMAP_BUF_OFFSET(ring, slot), buf, part);
		buf += part;
		size -= part;
		slot->len = (uint16_t)part;
		slot->flags = size ? NS_MOREFRAG : 0;
		i = nm_ring_next(ring, i);
		if (!size) {
			ring->head = ring->cur = i;
			return 1;
		}
	}
	return 0;
}

int nmport_inject(struct nmport_d *d, const void *buf, size_t size)
{
	uint32_t count, n, i;

	if (!d->mmap_done || !size || size > INT32_MAX || d->first_tx_ring > d->last_tx_ring)
		return 0;
	count = (uint32_t)d->last_tx_ring - d->first_tx_ring + 1;
	for (n = 0; n < count; n++) {
		i = d->cur_tx_ring + n;
		if (i > d->last_tx_ring)
			i -= count;
		if (inject_ring(NETMAP_TXRING(d->nifp, i), buf, size)) {
			d->cur_tx_ring = (uint16_t)i;
			return (int)size;
		}
	}
	return 0;
}
