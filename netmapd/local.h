/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * local.h - an application on this host: control requests, and its port when it has
 * registered one.
 *
 * The application maps the region and a CSB of its own, and is served exactly like
 * a guest (port_service.h). Instead of a kick over a vfio-user socket it signals an
 * eventfd per ring, and two eventfds, one for all tx and one for all rx rings, wake it.
 *
 * Thread safety: control thread.
 */
#ifndef NETMAPD_LOCAL_H
#define NETMAPD_LOCAL_H

#include <stddef.h>

#include "daemon.h"
#include "accounts.h"
#include "proto.h"
#include "port_service.h"

struct local;

/* NULL: no memory. `user` pays for it, and outlives it. */
struct local *local_new(struct daemon *d, struct account *user);
void local_free(struct local *l); /* releases the port; NULL is allowed */

bool local_bound(const struct local *l);
const char *local_port_name(const struct local *l); /* "" when not bound */
uint32_t local_port_number(const struct local *l);  /* nm_port.owner; 0 when not bound */
const struct port_service *local_service(const struct local *l); /* NULL when not bound */

/*
 * Executes the flattened request in payload (`bytes` long, updated in place). `extmem_fd` came with it:
 * memory for option EXTMEM, or -1; it stays the caller's. Returns 0 or a negative errno, with the reason in *err;
 * -EINPROGRESS: somebody else is about to open the port, so the request may succeed a little later. After a REGISTER
 * that succeeded *more is true: the reply has to wait until local_go_on() is done.
 */
int local_request(struct local *l, void *payload, size_t bytes, int extmem_fd, bool *more,
	struct nm_error *err);

/* Gives the port back; the application may register another. */
void local_release(struct local *l);

/*
 * A part of what is left of a REGISTER, bounded in time. 1: there is more of it. 0: *attach is filled in, and fds
 * holds *nfds descriptors, which stay local's: send them, don't close them. Or a negative errno with *err: nothing is
 * registered.
 */
int local_go_on(struct local *l, struct nmd_attach *attach, int fds[NMD_FDS_MAX], uint32_t *nfds,
	struct nm_error *err);

#endif
