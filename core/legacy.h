/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * legacy.h - the older requests, NIOCREGIF and NIOCGINFO (struct nmreq), as control requests.
 *
 * They are translated: a struct nmreq becomes a header with a body, that is executed as
 * any other, and its result goes back into the struct nmreq.
 *
 *      struct nm_legacy l;
 *      error = nm_legacy_request(&nmr, true, &l, &err);
 *      … execute l.hdr with l.body (no options; l.hdr.nr_body is for the caller to set) …
 *      nm_legacy_result(&l, error == 0, &nmr);
 *
 * Thread safety: pure functions.
 */
#ifndef CORE_LEGACY_H
#define CORE_LEGACY_H

#include "os.h"
#include "nm_error.h"
#include <net/netmap.h>

struct nm_legacy {
	struct nmreq_header hdr;
	/* Bytes of the member of body that belongs to hdr.nr_reqtype; may be 0 */
	uint32_t body_size;
	union {
		struct nmreq_register reg;
		struct nmreq_port_info_get info;
		struct nmreq_vale_attach attach;
		struct nmreq_vale_detach detach;
		struct nmreq_vale_list list;
		struct nmreq_port_hdr hdr;
		struct nmreq_vale_newif newif;
		struct nmreq_vale_polling polling;
	} body;
	bool regif; /* it was NIOCREGIF */
};

/*
 * 0, or a negative errno with a text: -EINVAL version, -EOPNOTSUPP nr_cmd. Versions from 11 on are
 * served, also those that will come: this structure doesn't change any more. NIOCREGIF: by
 * nr_cmd. NIOCGINFO: NETMAP_BDG_LIST steps through switches, anything else asks about a port.
 * Whether names and numbers make sense is for the request to say.
 */
int nm_legacy_request(
	const struct nmreq *nmr, bool regif, struct nm_legacy *out, struct nm_error *err);

/* After success: the output fields; nr_ringid and nr_flags stay as they are, but for a monitor, whose
 * rings are all its own: then they say so. nr_offset and
 * nr_memsize have 32 bits here: the low ones. After a failure only nr_version is set. */
void nm_legacy_result(const struct nm_legacy *l, bool success, struct nmreq *nmr);

#endif
