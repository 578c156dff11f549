/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * names.h - what may stand in nr_name of a request, taken apart.
 *
 *      NAME           a NIC, a persistent port, …     1 to 63 bytes, printable, no space, no /
 *      valeID:PORT    port of a switch                ID: 0 or more of A-Z a-z 0-9 _
 *                                                     PORT: 1 or more of A-Z a-z 0-9 _ . -
 *                                                     and perhaps ^ at the end (attachment.h)
 *      BASE{PIPE      master end of a pipe of BASE    PIPE: 1 or more of A-Z a-z 0-9 _
 *      BASE}PIPE      slave end
 *
 * The suffixes that users write behind a name (-N, ^, /x, @…) are not part of
 * nr_name: portspec.h takes them off and turns them into fields of the request.
 *
 * Thread safety: pure functions.
 */
#ifndef CORE_NAMES_H
#define CORE_NAMES_H

#include "os.h"
#include "nm_error.h"
#include <net/netmap.h>

enum nm_name_kind { NM_NAME_PLAIN, NM_NAME_VALE };
enum nm_pipe_end { NM_PIPE_NONE, NM_PIPE_MASTER, NM_PIPE_SLAVE };

struct nm_name {
	enum nm_name_kind kind;
	enum nm_pipe_end pipe;
	char base[NETMAP_REQ_IFNAMSIZ];    /* the name without the pipe part */
	char sw_name[NETMAP_REQ_IFNAMSIZ]; /* "valeID", empty unless NM_NAME_VALE */
	char port[NETMAP_REQ_IFNAMSIZ];    /* "PORT", empty unless NM_NAME_VALE */
	char pipe_id[NETMAP_REQ_IFNAMSIZ]; /* empty unless pipe */
};

/*
 * May a user call a port so, of whatever kind? 1 to 63 bytes that are printable ASCII, but neither space nor /.
 * Names are in logs, in JSON and on terminals, so what stands in for others is checked here, once.
 * `name` need not end with 0 within NETMAP_REQ_IFNAMSIZ bytes. 0, or -EINVAL with one line in err.
 */
int nm_name_check(const char *name, struct nm_error *err);

/* The same for a name that the core has made of others, with a / of its own. */
int nm_name_check_made(const char *name, struct nm_error *err);

/* `name` need not end with 0 within NETMAP_REQ_IFNAMSIZ bytes (then it is an error). 0, or
 * -EINVAL with one line in err. */
int nm_name_parse(const char *name, struct nm_name *out, struct nm_error *err);

#endif
