/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * internal.h - what the files of libnetmap share.
 *
 * A port is reached through a backend: a table of a dozen functions, one for
 * /dev/netmap (kernel.c) and one for netmapd (fd/port.c, over nmd.h).
 * nmport.c keeps the order of things and knows nothing of either.
 *
 *      open -> request (any number) -> registered -> map -> attach -> sync, poll
 *      close ends all of it, from any state
 *
 * Functions of backends return 0 or a negative errno; the public ones turn that
 * into -1 and errno, after a report through the context.
 *
 * Thread safety: as libnetmap.h says: a port has one thread at a time.
 */
#ifndef LIBNETMAP_INTERNAL_H
#define LIBNETMAP_INTERNAL_H

#include "nm_error.h"
#include <stddef.h>
#include <stdint.h>
#include <libnetmap.h>

struct nmport_backend {
	const char *name;
	/* Connects: sets d->fd. */
	int (*open)(struct nmport_d *d, struct nm_error *why);
	/* Executes a control request on d->fd. */
	int (*request)(struct nmport_d *d, struct nmreq_header *hdr, struct nm_error *why);
	/* A number that tells regions of the same id apart, once d is registered. */
	uint64_t (*inode)(struct nmport_d *d);
	/* Maps the region, size bytes. */
	int (*map)(struct nmport_d *d, size_t size, void **addr);
	void (*unmap)(void *addr, size_t size);
	/* d->nifp is valid from now on. */
	int (*attach)(struct nmport_d *d);
	/* d->nifp is not valid any longer. */
	void (*detach)(struct nmport_d *d);
	/* Gives everything back and sets d->fd to -1. Allowed in any state. */
	void (*close)(struct nmport_d *d);
	int (*txsync)(struct nmport_d *d);
	int (*rxsync)(struct nmport_d *d);
	/* Events, 0 at the timeout, or a negative errno. */
	int (*poll)(struct nmport_d *d, short events, int timeout_ms);
};

extern const struct nmport_backend nmlib_kernel, nmlib_daemon;
/* What the files of the backend daemon are connected by: no sync and poll of its own. */
extern const struct nmport_backend nmlib_conn;

struct nmlib_daemon_port;

struct nmport_priv {
	const struct nmport_backend *backend; /* NULL: not chosen yet */
	struct nmlib_daemon_port
		*daemon;        /* of the backend daemon; the file's, where there is one */
	struct nmfd_file *file; /* of the backend daemon, kept (fd/file.h) */
	struct nmreq_opt_offsets *offsets; /* in d->hdr's list; NULL: none */
	void *extmem_map;                  /* mapping of nmport_extmem_from_file() */
	size_t extmem_map_size;
};

/* nmport_new() in a context. */
struct nmport_d *nmlib_new(struct nmctx *ctx);

/* The backend that the environment and the machine call for; NULL with a text. */
const struct nmport_backend *nmlib_choose(struct nm_error *why);

/* d->fd is connected afterwards. -1 with errno, reported. */
int nmlib_connect(struct nmport_d *d);

/* Options of names: not 0 if it may be used. */
int nmlib_option_enabled(const char *option);

/* Frees the options that the library has pushed, and what belongs to them. */
void nmlib_free_options(struct nmport_d *d);

/* 1 if an interface of this name exists (for portspec.h). */
struct nm_portspec_env;
extern const struct nm_portspec_env nmlib_env;

/* Reports "what: why", sets errno to -error, returns -1. */
int nmlib_fail(struct nmctx *ctx, int error, const char *what, const char *why);

/* What an errno of a request means to a user. */
void nmlib_explain(const struct nmreq_header *hdr, int error, struct nm_error *why);

/* Body and option sizes by number, bytes; 0: none, or not known. */
size_t nmlib_body_size(uint16_t reqtype);
size_t nmlib_option_size(uint32_t reqtype);
/* Is there an option of this number? */
bool nmlib_option_known(uint32_t reqtype);
/* 0, or the list of options can't be read to its end, and the text says so: -EMSGSIZE it is longer than a
 * request may be, as the core counts it; -EINVAL it is a loop. */
int nmlib_options_check(const struct nmreq_header *hdr, struct nm_error *why);

#endif
