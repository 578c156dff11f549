/* SPDX-License-Identifier: BSD-2-Clause */
/* Ports: the steps from a name to mapped rings, and back. */
#include "internal.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "portspec.h"

/* ---- descriptor ----------------------------------------------------------------------- */

struct nmport_d *nmlib_new(struct nmctx *ctx)
{
	struct nmport_priv *priv;
	struct nmport_d *d;

	d = nmctx_malloc(ctx, sizeof(*d) + sizeof(*priv));
	if (!d) {
		nmctx_ferror(ctx, "no memory for a port descriptor");
		errno = ENOMEM;
		return NULL;
	}
	memset(d, 0, sizeof(*d) + sizeof(*priv));
	d->priv = (struct nmport_priv *)(d + 1);
	nmreq_header_init(&d->hdr, NETMAP_REQ_REGISTER, &d->reg);
	d->ctx = ctx;
	d->fd = -1;
	return d;
}

struct nmport_d *nmport_new(void)
{
	return nmlib_new(nmctx_get());
}

void nmport_delete(struct nmport_d *d)
{
	if (!d)
		return;
	if (d->priv->backend)
		d->priv->backend->close(d);
	nmctx_free(d->ctx, d);
}

struct nmport_d *nmport_clone(struct nmport_d *d)
{
	struct nmport_d *c = nmlib_new(d->ctx);

	if (!c)
		return NULL;
	c->hdr = d->hdr;
	c->hdr.nr_options = 0;
	c->hdr.nr_body = (uintptr_t)&c->reg;
	c->reg = d->reg;
	c->reg.nr_extra_bufs = 0;
	return c;
}

/* ---- name ----------------------------------------------------------------------------- */

/* "extmem", "offset", … are allowed? */
static int check_enabled(const struct nm_portspec *spec, struct nm_error *why)
{
	static const enum nm_portspec_option known[] = {
		NM_SPEC_SHARE, NM_SPEC_CONF, NM_SPEC_EXTMEM, NM_SPEC_OFFSET};

	for (size_t i = 0; i < sizeof(known) / sizeof(known[0]); i++) {
		const char *name = nm_portspec_option_name(known[i]);

		if (!(spec->given & known[i]) || nmlib_option_enabled(name))
			continue;
		return nm_error_set(
			why, -EINVAL, "the option @%s is disabled in this program", name);
	}
	return 0;
}

/* @share=PORT */
static int apply_share(struct nmport_d *d, const char *share)
{
	char text[NETMAP_REQ_IFNAMSIZ + 8];
	const char *p = text;
	int32_t id;

	snprintf(text, sizeof(text), "%s%s", strchr(share, ':') ? "" : "netmap:", share);
	id = nmreq_get_mem_id(&p, d->ctx);
	if (id < 0)
		return -1;
	d->reg.nr_mem_id = (uint16_t)id;
	return 0;
}

/* @extmem: */
static int apply_extmem(struct nmport_d *d, const struct nm_portspec *spec)
{
	uint64_t size;

	if (nmport_extmem_from_file(d, spec->extmem_file) < 0)
		return -1;
	size = d->extmem->nro_info.nr_memsize;
	d->extmem->nro_info = spec->extmem;
	d->extmem->nro_info.nr_memsize = size;
	return 0;
}

int nmport_parse(struct nmport_d *d, const char *portspec)
{
	struct nm_error why;
	struct nm_portspec spec;

	if (nm_portspec_parse(portspec, &nmlib_env, &spec, &why)) {
		nmctx_ferror(d->ctx, "%s", why.text);
		errno = EINVAL;
		return -1;
	}
	if (spec.given & NM_SPEC_FULL_WAIT)
		return nmlib_fail(d->ctx, -EINVAL, portspec,
			"full-wait-ms is for ports of virtual machines; netmapctl full-wait sets it for others");
	if (check_enabled(&spec, &why))
		return nmlib_fail(d->ctx, -EINVAL, portspec, why.text);
	memcpy(d->hdr.nr_name, spec.name, sizeof(d->hdr.nr_name));
	d->reg = spec.reg;
	if ((spec.given & NM_SPEC_SHARE) && apply_share(d, spec.share) < 0)
		return -1;
	if ((spec.given & NM_SPEC_EXTMEM) && apply_extmem(d, &spec) < 0)
		return -1;
	if ((spec.given & NM_SPEC_OFFSET) &&
		nmport_offset(d, spec.offset.initial, spec.offset.initial, spec.offset.bits, 0) < 0)
		return -1;
	return 0;
}

void nmport_undo_parse(struct nmport_d *d)
{
	nmlib_free_options(d);
	memset(&d->reg, 0, sizeof(d->reg));
	memset(d->hdr.nr_name, 0, sizeof(d->hdr.nr_name));
}

struct nmport_d *nmport_prepare(const char *portspec)
{
	struct nmport_d *d = nmport_new();
	int error;

	if (!d)
		return NULL;
	if (nmport_parse(d, portspec) < 0) {
		error = errno;
		nmport_undo_prepare(d);
		errno = error;
		return NULL;
	}
	return d;
}

void nmport_undo_prepare(struct nmport_d *d)
{
	if (!d)
		return;
	nmport_undo_parse(d);
	nmport_delete(d);
}

/* ---- registration --------------------------------------------------------------------- */

/* In a direction that has fewer rings than the number says, it is ring 0. */
static uint16_t ring_of(uint16_t number, uint16_t rings)
{
	return number < rings ? number : 0;
}

/* Which rings the registration gave. */
static void set_ranges(struct nmport_d *d)
{
	const struct nmreq_register *reg = &d->reg;
	uint64_t only = reg->nr_flags & (NR_TX_RINGS_ONLY | NR_RX_RINGS_ONLY);
	uint16_t tx = reg->nr_tx_rings, rx = reg->nr_rx_rings;

	d->first_tx_ring = d->first_rx_ring = 0;
	d->last_tx_ring = tx - 1;
	d->last_rx_ring = rx - 1;
	switch (reg->nr_mode) {
	case NR_REG_SW:
		d->first_tx_ring = tx;
		d->first_rx_ring = rx;
		/* fall through */
	case NR_REG_NIC_SW:
		d->last_tx_ring = tx + reg->nr_host_tx_rings - 1;
		d->last_rx_ring = rx + reg->nr_host_rx_rings - 1;
		break;
	case NR_REG_ONE_NIC:
		d->first_tx_ring = d->last_tx_ring = ring_of(reg->nr_ringid, tx);
		d->first_rx_ring = d->last_rx_ring = ring_of(reg->nr_ringid, rx);
		break;
	case NR_REG_ONE_SW:
		d->first_tx_ring = d->last_tx_ring =
			tx + ring_of(reg->nr_ringid, reg->nr_host_tx_rings);
		d->first_rx_ring = d->last_rx_ring =
			rx + ring_of(reg->nr_ringid, reg->nr_host_rx_rings);
		break;
	default:
		break;
	}
	/* Empty ranges are written as 1..0. */
	if (only == NR_RX_RINGS_ONLY || d->last_tx_ring == UINT16_MAX ||
		d->last_tx_ring < d->first_tx_ring) {
		d->first_tx_ring = 1;
		d->last_tx_ring = 0;
	}
	if (only == NR_TX_RINGS_ONLY || d->last_rx_ring == UINT16_MAX ||
		d->last_rx_ring < d->first_rx_ring) {
		d->first_rx_ring = 1;
		d->last_rx_ring = 0;
	}
	d->cur_tx_ring = d->first_tx_ring;
	d->cur_rx_ring = d->first_rx_ring;
}

int nmport_register(struct nmport_d *d)
{
	struct nm_error why;
	int ret;

	if (d->register_done)
		return nmlib_fail(d->ctx, -EBUSY, d->hdr.nr_name, "registered already");
	if (nmlib_connect(d) < 0)
		return -1;
	d->hdr.nr_reqtype = NETMAP_REQ_REGISTER;
	d->hdr.nr_body = (uintptr_t)&d->reg;
	ret = d->priv->backend->request(d, &d->hdr, &why);
	if (ret < 0) {
		nmlib_fail(d->ctx, ret, d->hdr.nr_name, why.text);
		nmport_undo_register(d);
		errno = -ret;
		return -1;
	}
	d->register_done = 1;
	set_ranges(d);
	if (d->ctx->verbose)
		nmctx_ferror(d->ctx,
			"%s: registered over %s: rings %u tx %u rx, slots %u tx %u rx, region %u of %llu bytes",
			d->hdr.nr_name, d->priv->backend->name, d->reg.nr_tx_rings,
			d->reg.nr_rx_rings, d->reg.nr_tx_slots, d->reg.nr_rx_slots,
			d->reg.nr_mem_id, (unsigned long long)d->reg.nr_memsize);
	return 0;
}

void nmport_undo_register(struct nmport_d *d)
{
	if (d->priv->backend)
		d->priv->backend->close(d);
	d->register_done = 0;
}

/* ---- mapping -------------------------------------------------------------------------- */

/* Drops a reference; the last one unmaps. The context's lock is held. */
static void put_mem(struct nmport_d *d, struct nmem_d *m)
{
	struct nmctx *ctx = d->ctx;

	if (--m->refcount > 0)
		return;
	if (!m->is_extmem)
		d->priv->backend->unmap(m->mem, m->size);
	if (m->prev)
		m->prev->next = m->next;
	else
		ctx->mem_descs = m->next;
	if (m->next)
		m->next->prev = m->prev;
	nmctx_free(ctx, m);
}

/* Makes a new mapping and puts it on the list. The context's lock is held. */
static int new_mem(struct nmport_d *d, uint64_t inode, struct nmem_d **out)
{
	struct nmem_d *m = nmctx_malloc(d->ctx, sizeof(*m));
	int ret;

	if (!m)
		return -ENOMEM;
	memset(m, 0, sizeof(*m));
	m->refcount = 1;
	m->mem_id = d->reg.nr_mem_id;
	m->inode = inode;
	m->size = (size_t)d->reg.nr_memsize;
	if (m->size != d->reg.nr_memsize) { /* more than a program of 32 bits can map */
		nmctx_free(d->ctx, m);
		return -EFBIG;
	}
	if (d->extmem) {
		m->is_extmem = 1;
		m->mem = (void *)(uintptr_t)d->extmem->nro_usrptr;
	} else {
		ret = d->priv->backend->map(d, m->size, &m->mem);
		if (ret < 0) {
			nmctx_free(d->ctx, m);
			return ret;
		}
	}
	m->next = d->ctx->mem_descs;
	if (m->next)
		m->next->prev = m;
	d->ctx->mem_descs = m;
	*out = m;
	return 0;
}

/* The mapping of the region of d, ours or new. */
static int get_mem(struct nmport_d *d)
{
	uint64_t inode = d->priv->backend->inode(d);
	struct nmem_d *m;
	int ret = 0;

	nmctx_lock(d->ctx);
	for (m = d->ctx->mem_descs; m; m = m->next)
		if (m->mem_id == d->reg.nr_mem_id && m->inode == inode &&
			m->size == d->reg.nr_memsize)
			break;
	if (m)
		m->refcount++;
	else
		ret = new_mem(d, inode, &m);
	nmctx_unlock(d->ctx);
	d->mem = ret ? NULL : m;
	return ret;
}

/* -EINVAL: what the registration said lies outside of the region. */
static int set_nifp(struct nmport_d *d)
{
	if (d->reg.nr_offset % __alignof__(struct netmap_if) || d->reg.nr_offset > d->mem->size ||
		d->mem->size - d->reg.nr_offset < sizeof(struct netmap_if))
		return -EINVAL;
	d->nifp = NETMAP_IF(d->mem->mem, d->reg.nr_offset);
	return 0;
}

int nmport_mmap(struct nmport_d *d)
{
	struct nm_error why;
	int ret;

	if (d->mmap_done)
		return nmlib_fail(d->ctx, -EBUSY, d->hdr.nr_name, "mapped already");
	if (!d->register_done)
		return nmlib_fail(d->ctx, -EINVAL, d->hdr.nr_name, "mmap before registration");
	ret = get_mem(d);
	if (ret < 0) {
		nm_error_set(&why, ret, "mmap of the region, %llu bytes: %s",
			(unsigned long long)d->reg.nr_memsize, strerror(-ret));
		return nmlib_fail(d->ctx, ret, d->hdr.nr_name, why.text);
	}
	d->mmap_done = 1;
	ret = set_nifp(d);
	if (ret == 0)
		ret = d->priv->backend->attach(d);
	if (ret < 0) {
		nmport_undo_mmap(d);
		return nmlib_fail(
			d->ctx, ret, d->hdr.nr_name, "the state of its rings is not valid");
	}
	return 0;
}

void nmport_undo_mmap(struct nmport_d *d)
{
	if (!d->mem)
		return;
	d->priv->backend->detach(d);
	nmctx_lock(d->ctx);
	put_mem(d, d->mem);
	nmctx_unlock(d->ctx);
	d->mem = NULL;
	d->nifp = NULL;
	d->mmap_done = 0;
}

/* ---- all of it ------------------------------------------------------------------------ */

int nmport_open_desc(struct nmport_d *d)
{
	int error;

	if (nmport_register(d) < 0)
		return -1;
	if (nmport_mmap(d) < 0) {
		error = errno;
		nmport_undo_register(d);
		errno = error;
		return -1;
	}
	return 0;
}

void nmport_undo_open_desc(struct nmport_d *d)
{
	nmport_undo_mmap(d);
	nmport_undo_register(d);
}

struct nmport_d *nmport_open(const char *portspec)
{
	struct nmport_d *d = nmport_prepare(portspec);
	int error;

	if (!d)
		return NULL;
	if (nmport_open_desc(d) < 0) {
		error = errno;
		nmport_undo_prepare(d);
		errno = error;
		return NULL;
	}
	return d;
}

void nmport_close(struct nmport_d *d)
{
	if (!d)
		return;
	nmport_undo_open_desc(d);
	nmport_undo_prepare(d);
}
