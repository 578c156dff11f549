/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * portspec.h - a port as users write it: prefix, name, suffixes and options.
 *
 *      netmap:NAME  or  valeID:PORT     then, in this order, any of
 *        {PIPE  or  }PIPE               an end of a pipe; stays part of the name
 *        -N | ^ | ^N | *                ring pair N, host rings, host pair N, all of both
 *        @ID/FLAGS or /FLAGS            letters x t r z T R
 *        @ID  @share=PORT  @conf:K=V,…  @extmem:K=V,…  @offset:K=V,…
 *        @extmem=PATH,…  @offset=N,…    the same with the key file, initial
 *
 * Words of a key are joined by - or _. A number of rings, slots or objects that is 0 means the default; full-wait-ms=0 means 0.
 *
 * What the library, the daemon and the tools make of such a text must be the
 * same, so it is done here, once. The result is what goes into a REGISTER
 * request (the name into nr_name, see names.h; struct nmreq_register for the
 * rest), and plain structures for what goes into options of the request.
 *
 *      struct nm_portspec spec;
 *      struct nm_error err;
 *      if (nm_portspec_parse("netmap:ens4-1/x@conf:slots=512", NULL, &spec, &err))
 *              complain(err.text);
 *
 * An interface may have a '-' in its name (br-lan). Only digits behind the last
 * '-' can be a ring number, and an interface that exists by the whole name wins.
 *
 * Thread safety: pure functions.
 */
#ifndef PROTO_PORTSPEC_H
#define PROTO_PORTSPEC_H

#include "os.h"
#include "nm_error.h"
#include <net/netmap.h>

enum {
	NM_PORTSPEC_FILE = 256,
	NM_PORTSPEC_FULL_WAIT_MAX = 10000, /* ms */
};

/* Options that a text can hold; struct nm_portspec.given is a set of them. */
enum nm_portspec_option {
	NM_SPEC_MEM_ID = 1,
	NM_SPEC_SHARE = 2,
	NM_SPEC_CONF = 4,
	NM_SPEC_EXTMEM = 8,
	NM_SPEC_OFFSET = 16,
	NM_SPEC_FULL_WAIT = 32, /* @conf:full-wait-ms */
};

/* @offset: */
struct nm_portspec_offset {
	uint64_t initial; /* bytes */
	uint32_t bits;    /* of slot.ptr; 0: all */
};

struct nm_portspec {
	char name[NETMAP_REQ_IFNAMSIZ]; /* for nr_name */
	struct nmreq_register reg; /* nr_mode, nr_ringid, nr_flags, nr_mem_id, counts; else 0 */
	uint32_t given;            /* enum nm_portspec_option */
	/* @share=: the port, for nr_name; prefix checked, taken off. */
	char share[NETMAP_REQ_IFNAMSIZ];
	char extmem_file[NM_PORTSPEC_FILE]; /* @extmem:file= */
	struct nmreq_pools_info extmem;     /* @extmem:, requested; 0: none */
	struct nm_portspec_offset offset;
	/* @conf:full-wait-ms=, of a machine's port: how long its packets wait for a receiver that is full, and others for it. */
	uint32_t full_wait_ms;
};

/* Asks the platform whether an interface `name` exists. */
struct nm_portspec_env {
	bool (*exists)(void *arg, const char *name);
	void *arg;
};

/*
 * All of it. env: NULL if no interface can exist here. 0, or -EINVAL with one line
 * in err ("TEXT: what is wrong with which part"); *out is undefined then.
 */
int nm_portspec_parse(const char *text, const struct nm_portspec_env *env, struct nm_portspec *out,
	struct nm_error *err);

/*
 * The same in three steps; each takes what it understands at *p and moves *p
 * behind it. nm_portspec_name() writes out->name, nm_portspec_rings() out->reg
 * (nr_mode, nr_ringid, nr_flags), nm_portspec_options() the rest, to the end of the
 * text. The caller clears *out first. Their error texts don't repeat the text.
 */
int nm_portspec_name(const char **p, const struct nm_portspec_env *env, struct nm_portspec *out,
	struct nm_error *err);
int nm_portspec_rings(const char **p, struct nm_portspec *out, struct nm_error *err);
int nm_portspec_options(const char **p, struct nm_portspec *out, struct nm_error *err);

/* Name of one option ("share", …); NULL for anything else. */
const char *nm_portspec_option_name(enum nm_portspec_option option);

#endif
