/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * client_internal.h - what the parts of binding share.
 *
 *      client.c          which port, which rings; bind and unbind
 *      client_region.c   in which region a port lies
 *      client_memory.c   rings and buffers of a port
 *      client_nifp.c     what one client gets: its netmap_if, its extra buffers
 *
 * Thread safety: all of it under core->lock.
 */
#ifndef CORE_CLIENT_INTERNAL_H
#define CORE_CLIENT_INTERNAL_H

#include "client.h"

/* Memory that is still the caller's. */
static inline bool nm_bind_has_extmem(const struct nm_bind *bind)
{
	return bind->extmem && *bind->extmem;
}

/* ---- client.c -------------------------------------------------------------------------- */

/* Rings of a client that is bound, and stays so without them: nobody is in a sync of them. Taken again,
 * for itself, they are empty; nobody else has any then. */
void nm_client_leave_rings(struct nm_client *client) OS_REQUIRES(NM_CORE_LOCK);
void nm_client_take_rings(struct nm_client *client, const uint32_t count[NM_DIRS])
	OS_REQUIRES(NM_CORE_LOCK);

/* ---- client_region.c ------------------------------------------------------------------- */

/* A reference to the region of a port that has none yet, as port.h says; NULL with client->err. */
struct nm_region *nm_client_region_choose(struct nm_client *client, struct nm_port *port,
	const struct nm_bind *bind) OS_REQUIRES(NM_CORE_LOCK);

/* May the client use what lies in this region? 0, or -EPERM with client->err. */
int nm_client_region_admitted(
	struct nm_client *client, const struct nm_port *port, const struct nm_region *region);

/* A region for a port that has none, and for as many more that mirror it: a device, and its ports on
 * switches (attachment.h). A reference; NULL with client->err. */
struct nm_region *nm_client_region_mirror(struct nm_client *client, const struct nm_port *port,
	uint32_t mirrors) OS_REQUIRES(NM_CORE_LOCK);

/* Must the port's region be one for NICs: is it one, or does it lie with one? */
bool nm_client_region_nic(const struct nm_port *port);

/* Objects that a port takes for its rings and its device, with its peer. */
void nm_client_region_need(const struct nm_port *port, uint64_t *rings, uint64_t *bufs);

/* ---- client_memory.c ------------------------------------------------------------------- */

/* Region and rings for a port, and its pipe peer, that has none; buffers are promised, and put into the slots by
 * nm_memory_fill(): *most slots at most, taken off *most. True: there are more. */
bool nm_memory_fill(struct nm_client *client, uint32_t *most) OS_REQUIRES(NM_CORE_LOCK);
int nm_memory_take(struct nm_client *client, struct nm_port *port, const struct nm_bind *bind)
	OS_REQUIRES(NM_CORE_LOCK);

/* Gives them back; no client is left on the port or its peer. */
void nm_memory_release(struct nm_port *port) OS_REQUIRES(NM_CORE_LOCK);

/* Host rings that the client has chosen, of a port whose kind brings its own hardware rings. */
int nm_memory_take_host_rings(struct nm_client *client, struct nm_port *port)
	OS_REQUIRES(NM_CORE_LOCK);

int nm_memory_pool_error(struct nm_client *client, const struct nm_port *port, enum nm_pool pool,
	uint64_t wanted) OS_REQUIRES(NM_CORE_LOCK);

/* ---- client_nifp.c --------------------------------------------------------------------- */

/* netmap_if and extra buffers; client->first and count are set. nm_nifp_link() makes a list of these, as nm_memory_fill(). */
bool nm_nifp_link(struct nm_client *client, struct nm_port *port, uint32_t *most)
	OS_REQUIRES(NM_CORE_LOCK);
int nm_nifp_make(struct nm_client *client, struct nm_port *port, uint32_t extra_bufs)
	OS_REQUIRES(NM_CORE_LOCK);
/* The region is reconciled already. */
void nm_nifp_free(struct nm_client *client, struct nm_port *port) OS_REQUIRES(NM_CORE_LOCK);

/* The extra buffers that a client's list names, as far as it makes sense: the first, and the one behind another, or 0. None when its
 * head is still the first one, for then it does not say what the application has exchanged. It may go on for ever. */
uint32_t nm_nifp_first_extra(const struct nm_client *client) OS_REQUIRES(NM_CORE_LOCK);
uint32_t nm_nifp_next_extra(const struct nm_client *client, uint32_t index)
	OS_REQUIRES(NM_CORE_LOCK);

/* All of them, client->extra_bufs at most. Returns how many. */
uint32_t nm_nifp_list_extra(const struct nm_client *client, uint32_t *refs)
	OS_REQUIRES(NM_CORE_LOCK);

#endif
