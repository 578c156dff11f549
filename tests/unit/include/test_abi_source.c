/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What applications name in their sources: a table of the functions of
 * libnetmap.h and of the older interface, by type, and of the members that are
 * public. It compiles with warnings as errors and links the shared library, or
 * something that applications need is gone.
 */
#define NETMAP_WITH_LIBS
#include <libnetmap.h>
#include <net/netmap_user.h>
#include <net/netmap_virt.h>

/* The pointer on the right has the type on the left, or the compiler complains. */
struct calls {
	struct nmport_d *(*new)(void);
	void (*of_port[6])(struct nmport_d *);
	struct nmport_d *(*by_name[2])(const char *);
	int (*step[5])(struct nmport_d *);
	int (*parse[2])(struct nmport_d *, const char *);
	struct nmport_d *(*clone)(struct nmport_d *);
	int (*inject)(struct nmport_d *, const void *, size_t);
	int (*extmem)(struct nmport_d *, void *, size_t);
	struct nmreq_pools_info *(*extmem_info)(struct nmport_d *);
	int (*offset)(struct nmport_d *, uint64_t, uint64_t, uint64_t, uint64_t);
	void (*disable)(const char *);
	int (*enable)(const char *);
	int (*poll)(struct nmport_d *, short, int);
	const char *(*backend)(struct nmport_d *);
	int (*request)(struct nmport_d *, struct nmreq_header *);

	void (*header_init)(struct nmreq_header *, uint16_t, void *);
	int (*header_decode)(const char **, struct nmreq_header *, struct nmctx *);
	int (*register_decode)(const char **, struct nmreq_register *, struct nmctx *);
	int32_t (*mem_id)(const char **, struct nmctx *);
	void (*option[2])(struct nmreq_header *, struct nmreq_option *);
	struct nmreq_option *(*find_option)(struct nmreq_header *, uint32_t);
	void (*free_options)(struct nmreq_header *);
	const char *(*option_name)(uint32_t);

	struct nmctx *(*ctx)(void);
	struct nmctx *(*set_ctx)(struct nmctx *);
	void (*threadsafe)(void);
	void (*error)(struct nmctx *, const char *, ...);
	void *(*malloc)(struct nmctx *, size_t);
	void (*free)(struct nmctx *, void *);
	void (*lock[2])(struct nmctx *);

	struct nm_desc *(*open)(
		const char *, const struct nmreq *, uint64_t, const struct nm_desc *);
	int (*close)(struct nm_desc *);
	int (*mmap)(struct nm_desc *, const struct nm_desc *);
	int (*old_inject)(struct nm_desc *, const void *, size_t);
	int (*dispatch)(struct nm_desc *, int, nm_cb_t, unsigned char *);
	unsigned char *(*nextpkt)(struct nm_desc *, struct nm_pkthdr *);

	uint32_t (*next)(struct netmap_ring *, uint32_t);
	uint32_t (*space)(struct netmap_ring *);
	int (*is[2])(struct netmap_ring *);
	void (*copy)(const void *, void *, int);
};

/* Not static, or the compiler would drop what nothing here calls. */
extern const struct calls calls;
const struct calls calls = {
	.new = nmport_new,
	.of_port = {nmport_close, nmport_delete, nmport_undo_prepare, nmport_undo_open_desc,
		nmport_undo_parse, nmport_undo_register},
	.by_name = {nmport_open, nmport_prepare},
	.step = {nmport_open_desc, nmport_register, nmport_mmap, nmport_txsync, nmport_rxsync},
	.parse = {nmport_parse, nmport_extmem_from_file},
	.clone = nmport_clone,
	.inject = nmport_inject,
	.extmem = nmport_extmem,
	.extmem_info = nmport_extmem_getinfo,
	.offset = nmport_offset,
	.disable = nmport_disable_option,
	.enable = nmport_enable_option,
	.poll = nmport_poll,
	.backend = nmport_backend,
	.request = nmport_request,
	.header_init = nmreq_header_init,
	.header_decode = nmreq_header_decode,
	.register_decode = nmreq_register_decode,
	.mem_id = nmreq_get_mem_id,
	.option = {nmreq_push_option, nmreq_remove_option},
	.find_option = nmreq_find_option,
	.free_options = nmreq_free_options,
	.option_name = nmreq_option_name,
	.ctx = nmctx_get,
	.set_ctx = nmctx_set_default,
	.threadsafe = nmctx_set_threadsafe,
	.error = nmctx_ferror,
	.malloc = nmctx_malloc,
	.free = nmctx_free,
	.lock = {nmctx_lock, nmctx_unlock},
	.open = nm_open,
	.close = nm_close,
	.mmap = nm_mmap,
	.old_inject = nm_inject,
	.dispatch = nm_dispatch,
	.nextpkt = nm_nextpkt,
	.next = nm_ring_next,
	.space = nm_ring_space,
	.is = {nm_ring_empty, nm_tx_pending},
	.copy = nm_pkt_copy,
};

#ifndef HAVE_NETMAP_WITH_LIBS
#error "programs ask whether nm_open() is there"
#endif
_Static_assert(MAXERRMSG == 80, "programs give nm_parse() a buffer of this size");
_Static_assert(
	sizeof(NM_BDG_NAME) == 5 && sizeof(PTNETMAP_MEMDEV_NAME) > 1, "names that programs print");

/* Members that applications read. A port's rings, in the words of both interfaces. */
static int is_one_ring(const struct nmport_d *n, const struct nm_desc *o)
{
	return n->first_tx_ring == n->last_tx_ring && n->first_rx_ring == n->last_rx_ring &&
	       n->cur_tx_ring == n->cur_rx_ring && n->fd < 0 && !n->nifp && !n->mem && !n->extmem &&
	       !n->register_done && !n->mmap_done && n->ctx && !n->reg.nr_memsize &&
	       n->hdr.nr_version == NETMAP_API && o->first_tx_ring == o->last_tx_ring &&
	       o->first_rx_ring == o->last_rx_ring && o->cur_tx_ring == o->cur_rx_ring && !o->fd &&
	       !o->nifp && !o->mem && !o->memsize && !o->done_mmap && !o->buf_start &&
	       !o->buf_end && !o->errbuf && !o->msg[0] && !o->st.ps_recv && !o->req.nr_version &&
	       !o->hdr.ts.tv_sec && !o->hdr.caplen && !o->hdr.len && !o->hdr.flags && !o->hdr.d &&
	       !o->hdr.slot && !o->hdr.buf;
}

int main(void)
{
	struct nm_desc older = {0};
	struct nmport_d *d = calls.new();
	struct nmctx *ctx = calls.ctx();
	int ok = d && is_one_ring(d, &older) && ctx->error && ctx->malloc && ctx->free &&
		 !ctx->lock && !ctx->verbose;

	nmport_undo_mmap(d);
	calls.of_port[1](d);
	calls.threadsafe();
	printf("1..2\n%s 1 - a new port is empty\n", ok ? "ok" : "not ok");
	ok = ok && ctx->lock;
	printf("%s 2 - a context gets a lock\n", ctx->lock ? "ok" : "not ok");
	return !ok;
}
