/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * control_internal.h - one control request on its way through the files of control.h.
 *
 *      control.c            in, dispatch, out
 *      control_options.c    the chain of options: read, judged, written back
 *      control_requests.c   what each request does
 *
 * A struct request is a private copy of all that the caller has in its memory, made once.
 *
 * Thread safety: a struct request belongs to the thread that runs it.
 */
#ifndef CORE_CONTROL_INTERNAL_H
#define CORE_CONTROL_INTERNAL_H

#include "control.h"

enum {
	/* More can't be in a request: each takes the bytes of its header. */
	NM_OPTIONS_MAX = NETMAP_REQ_MAXSIZE / sizeof(struct nmreq_option),
};

/* What of an option is the core's to know, whatever its type. */
struct option {
	uint64_t addr;
	uint64_t size; /* nro_size */
	uint32_t type;
	uint32_t status; /* nro_status to be: 0 or a positive errno */
};

struct request {
	const struct nm_uaccess *ua;
	uint64_t addr; /* of the header */
	struct nmreq_header hdr;
	union {
		struct nmreq_register reg;
		struct nmreq_port_info_get info;
		struct nmreq_vale_attach attach;
		struct nmreq_vale_detach detach;
		struct nmreq_vale_list list;
		struct nmreq_port_hdr hdr;
		struct nmreq_vale_newif newif;
		struct nmreq_vale_polling polling;
		struct nmreq_pools_info pools;
		struct nmreq_sync_kloop_start kloop;
	} body;

	uint32_t num_options;
	struct option options[NM_OPTIONS_MAX];
	struct option *given[NETMAP_REQ_OPT_MAX]; /* by type; NULL: not given */
	/* What the options hold; valid where given[] is not NULL. */
	struct nmreq_opt_extmem extmem;
	struct nmreq_opt_csb csb;
	struct nmreq_opt_sync_kloop_mode mode;
	struct nmreq_opt_offsets offsets;
	struct nm_kloop_request kloop; /* its eventfds */
};

struct request_type {
	uint16_t body_size; /* bytes; 0: the request has none */
	uint32_t options;   /* a set of 1 << NETMAP_REQ_OPT_*: what may come with it */
	int (*run)(struct nm_client *client, struct request *rq);
};

/* NULL: there is no such request. */
const struct request_type *nm_request_type(uint16_t reqtype);

/*
 * Reads the chain and the contents of the options, after `used` bytes of header and body, and
 * judges which may be here. 0 or a negative errno with a text; the status of each is set.
 */
int nm_options_read(struct nm_client *client, struct request *rq, size_t used, uint32_t allowed);

/* Writes the status of each option, and after success what they say in return. 0 or -EFAULT. */
int nm_options_write(const struct request *rq, bool success);

/* The option `type`, which was given, is why the request fails. Returns `error`. */
int nm_option_failed(struct request *rq, uint32_t type, int error);

#endif
