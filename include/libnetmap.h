/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * libnetmap.h - open netmap ports by name and move packets through them.
 *
 * What: nmport_*   a port: parse its name, register, map the region, sync, close
 *	 nmreq_*    control requests: headers, options, parts of names
 *	 nmctx_*    where errors go, and where memory and locks come from
 * Why:	an application names a port ("netmap:ens4", "vale1:10{3/x@conf:slots=512")
 *	and should not care how the port is reached: over /dev/netmap (in a
 *	virtual machine, or on a host with netmap.ko), or over netmapd's socket.
 * How:
 *	    struct nmport_d *d = nmport_open("vale1:10");
 *	    if (!d)
 *		    return 1;			    the reason is on stderr already
 *	    for (;;) {
 *		    if (nmport_poll(d, POLLIN, -1) < 0)
 *			    break;
 *		    for (i = d->first_rx_ring; i <= d->last_rx_ring; i++)
 *			    work_on(NETMAP_RXRING(d->nifp, i));
 *	    }
 *	    nmport_close(d);
 *
 * Backends. $NETMAP_BACKEND is "kernel" or "daemon"; when it is not set,
 *	/dev/netmap is used if it exists, else netmapd ($NETMAPD_SOCKET, else
 *	$XDG_RUNTIME_DIR/netmapd/socket for users that are not root, else
 *	/run/netmapd/socket). With both, d->fd is fit for ioctl(), poll(), select(), epoll,
 *	dup(), close(), fcntl() and mmap(): with the kernel it is a file of /dev/netmap; with
 *	netmapd this library has functions of these names, which stand in the place of the C
 *	library's. nmport_txsync(), nmport_rxsync() and nmport_poll() work with both, too, and
 *	cost less.
 *
 * Errors. Functions return NULL or -1 with errno, and one line of text goes to
 *	the context's error callback (by default: to stderr).
 *
 * Thread safety: a nmport_d belongs to one thread at a time; several threads
 *	use several descriptors (one per pair of rings: nmport_clone()). System calls on
 *	d->fd may come from any thread, as on a file of /dev/netmap, also while the port is closed. Only the request
 *	SYNC_KLOOP_STOP comes from another thread (or a signal handler) than the START
 *	that it ends. After fork() parent and child may both use a port, in turn. The list of
 *	mappings that descriptors of one context share is protected when the context
 *	has a lock, which nmctx_set_threadsafe() gives it; call that before the second
 *	thread starts. nmctx_set_default(), nmport_enable_option() and
 *	nmport_disable_option() are for the start of a program, before there are threads.
 */
#ifndef _LIBNETMAP_H_
#define _LIBNETMAP_H_

#include <stddef.h>
#include <stdint.h>
#include <net/netmap.h>
#include <net/netmap_user.h>

#ifdef __cplusplus
extern "C" {
#endif

struct nmctx;
struct nmem_d;
struct nmport_d;
struct nmport_priv;

/*
 * Contexts
 * ========
 */

/* One line without a newline. */
typedef void (*nmctx_error_cb)(struct nmctx *ctx, const char *text);
typedef void *(*nmctx_malloc_cb)(struct nmctx *ctx, size_t bytes);
typedef void (*nmctx_free_cb)(struct nmctx *ctx, void *mem);
/* lock: 1 to take, 0 to release. */
typedef void (*nmctx_lock_cb)(struct nmctx *ctx, int lock);

/* A program that makes its own must set error, malloc and free, and clear the rest. */
struct nmctx {
	int verbose; /* not 0: registrations are reported, through the error callback, too */
	nmctx_error_cb error;
	nmctx_malloc_cb malloc;
	nmctx_free_cb free;
	nmctx_lock_cb lock; /* may be NULL: one thread */

	struct nmem_d *mem_descs; /* the library's: mappings in use */
};

/* The context that new ports take. */
struct nmctx *nmctx_get(void);
/* Another one; it must live as long as a port that uses it. Returns the one before. */
struct nmctx *nmctx_set_default(struct nmctx *ctx);
/* Gives the default context a lock (a mutex of the process). */
void nmctx_set_threadsafe(void);
/* Reports an error: printf-like, one line without a newline, at most 511 bytes. */
void nmctx_ferror(struct nmctx *ctx, const char *format, ...)
	__attribute__((__format__(__printf__, 2, 3)));
void *nmctx_malloc(struct nmctx *ctx, size_t bytes);
void nmctx_free(struct nmctx *ctx, void *mem);
void nmctx_lock(struct nmctx *ctx);
void nmctx_unlock(struct nmctx *ctx);

/*
 * Ports
 * =====
 */

/* A mapping of a region, shared by the ports of one context that use the region. */
struct nmem_d {
	uint16_t mem_id;
	int refcount;
	void *mem;      /* address */
	size_t size;    /* bytes */
	int is_extmem;  /* the memory is the application's */
	uint64_t inode; /* of the region's file, with netmapd */
	struct nmem_d *next, *prev;
};

struct nmport_d {
	/* What is sent on registration, and, after it, what came back. Between
	 * nmport_prepare() and nmport_open_desc() the application may change them. */
	struct nmreq_header hdr;
	struct nmreq_register reg;

	/* All else is only for reading. */
	struct nmem_d *mem;
	struct nmctx *ctx;
	int register_done;
	int mmap_done;
	struct nmreq_opt_extmem *extmem; /* NULL without @extmem or nmport_extmem() */

	/* Valid after the registration. A range is empty when first > last. */
	int fd;
	struct netmap_if *nifp; /* valid when mapped */
	uint16_t first_tx_ring, last_tx_ring;
	uint16_t first_rx_ring, last_rx_ring;
	uint16_t cur_tx_ring; /* used by nmport_inject() */
	uint16_t cur_rx_ring;

	struct nmport_priv *priv; /* the library's */
};

/* All of it: nmport_prepare() and nmport_open_desc(). */
struct nmport_d *nmport_open(const char *portspec);
/* Undoes it in reverse order and frees d; NULL is allowed. */
void nmport_close(struct nmport_d *d);

/* First half: a descriptor with the name parsed into hdr and reg. */
struct nmport_d *nmport_prepare(const char *portspec);
void nmport_undo_prepare(struct nmport_d *d);

/* Second half: register and map. */
int nmport_open_desc(struct nmport_d *d);
void nmport_undo_open_desc(struct nmport_d *d);

/* The four steps. Each undo is allowed also when its step was not done. */
struct nmport_d *nmport_new(void);
void nmport_delete(struct nmport_d *d);
int nmport_parse(struct nmport_d *d, const char *portspec); /* EINVAL */
void nmport_undo_parse(struct nmport_d *d);
int nmport_register(struct nmport_d *d); /* EBUSY: registered already; and what the backend says */
void nmport_undo_register(struct nmport_d *d);
int nmport_mmap(struct nmport_d *d); /* EINVAL: not registered */
void nmport_undo_mmap(struct nmport_d *d);

/*
 * A descriptor with the request of d (options and mapping excepted), not
 * registered. The caller usually changes reg.nr_ringid and calls nmport_open_desc().
 */
struct nmport_d *nmport_clone(struct nmport_d *d);

/*
 * Queue one packet of size bytes on the first tx ring with room, in as many slots as
 * it takes. It leaves at the next sync. Returns size, or 0 if no ring has room.
 */
int nmport_inject(struct nmport_d *d, const void *buf, size_t size);

/*
 * Before the registration: have the region built on size bytes at base, which
 * stay the caller's, or on a file, which is mapped. Where the pools are is seen
 * in nmport_extmem_getinfo(), which is NULL without one of the two calls; wishes
 * can be written there before the registration.
 * With netmapd, base and size must be whole pages (EINVAL), and a registration replaces the
 * memory, in place, by shared memory with the same contents (no other thread may write
 * to it meanwhile); a file is only read then, and doesn't change.
 */
int nmport_extmem(struct nmport_d *d, void *base, size_t size);
int nmport_extmem_from_file(struct nmport_d *d, const char *path);
struct nmreq_pools_info *nmport_extmem_getinfo(struct nmport_d *d);

/* Before the registration: ask for offsets. Bytes; bits is the width in slot.ptr, 0: all. */
int nmport_offset(
	struct nmport_d *d, uint64_t initial, uint64_t maxoff, uint64_t bits, uint64_t mingap);

/*
 * Options of names ("share", "conf", "extmem", "offset"): a name with a disabled
 * option fails. Unknown ones: ignored, and ENOENT. All are enabled at first.
 */
void nmport_disable_option(const char *option);
int nmport_enable_option(const char *option);

/*
 * Moving packets, with either backend
 * ===================================
 */

/*
 * What ioctl(NIOCTXSYNC) and ioctl(NIOCRXSYNC) do: hand over what is before head,
 * and learn the new tail, on all rings of this descriptor. 0, or -1 with errno:
 * EINVAL if head or cur of a ring is illegal (that ring is put back to its last
 * state) or the port is not mapped; ENXIO if the port is gone.
 */
int nmport_txsync(struct nmport_d *d);
int nmport_rxsync(struct nmport_d *d);

/*
 * What poll() does on /dev/netmap: sync (tx rings always unless NR_NO_TX_POLL, rx
 * rings for POLLIN or with NR_DO_RX_POLL), then wait until there is room (POLLOUT)
 * or there are packets (POLLIN) behind cur. timeout_ms < 0: no limit.
 * Returns the events (with POLLERR for what a sync refuses, or when the port is
 * gone), 0 at the timeout, or -1 with errno (EINTR: a signal came).
 */
int nmport_poll(struct nmport_d *d, short events, int timeout_ms);

/* "kernel" or "daemon": how d is reached, or would be. NULL, with a report, for a bad
 * $NETMAP_BACKEND. */
const char *nmport_backend(struct nmport_d *d);

/*
 * Control requests
 * ================
 */

/*
 * Executes any request over the connection of d (which is made if there is none):
 * ioctl(NIOCCTRL) for both backends. 0, or -1 with errno, reported. EOPNOTSUPP for
 * requests and options that the backend doesn't serve. SYNC_KLOOP_START returns when
 * the loop has ended.
 */
int nmport_request(struct nmport_d *d, struct nmreq_header *hdr);

/* A header for reqtype with this body (or NULL), everything else cleared. */
void nmreq_header_init(struct nmreq_header *hdr, uint16_t reqtype, void *body);

/*
 * Parts of a name at *pifname. They move it behind what they understood and
 * return 0, or report and return -1 with EINVAL:
 * nmreq_header_decode    prefix and name, into nr_name
 * nmreq_register_decode  rings, flags and a region id as number, into nr_mode, nr_ringid,
 *			  nr_flags, nr_mem_id; what follows (@…) is left
 */
int nmreq_header_decode(const char **pifname, struct nmreq_header *hdr, struct nmctx *ctx);
int nmreq_register_decode(const char **pmode, struct nmreq_register *reg, struct nmctx *ctx);

/*
 * Region id of the port whose name (prefix and name, without suffixes) stands at
 * *pportname; it is moved behind that. -1 with errno, reported.
 */
int32_t nmreq_get_mem_id(const char **pportname, struct nmctx *ctx);

/* The list of options of a request. Options pushed stay the caller's until
 * nmreq_free_options(), which gives each to free(). */
void nmreq_push_option(struct nmreq_header *hdr, struct nmreq_option *opt);
void nmreq_remove_option(struct nmreq_header *hdr, struct nmreq_option *opt);
struct nmreq_option *nmreq_find_option(struct nmreq_header *hdr, uint32_t reqtype);
void nmreq_free_options(struct nmreq_header *hdr);
const char *nmreq_option_name(uint32_t reqtype); /* "unknown" for others */

#define nmreq_foreach_option(hdr, opt)                                           \
	for ((opt) = (struct nmreq_option *)(uintptr_t)(hdr)->nr_options; (opt); \
		(opt) = (struct nmreq_option *)(uintptr_t)(opt)->nro_next)

#ifdef __cplusplus
}
#endif

#endif /* _LIBNETMAP_H_ */
