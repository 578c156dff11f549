/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * client_internal.h - what the parts of binding share.
 *
 *      client.c          which port; bind and unbind
 *      client_rings.c    which rings of it, and who else has them
 *      client_offsets.c  where packets begin in their buffers
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

/* ---- client_rings.c -------------------------------------------------------------------- */

/* Rings of the bind's mode and flags into client->first and count: 0, or -EINVAL with client->err. */
int nm_rings_choose(
	struct nm_client *client, const struct nm_port *port, const struct nm_bind *bind);

/* Those may be had beside what others have: 0, or -EBUSY with client->err. */
int nm_rings_check_free(struct nm_client *client, const struct nm_port *port, bool exclusive)
	OS_REQUIRES(NM_CORE_LOCK);

/* The client's rings have a user more (by: 1), whose they are alone if exclusive, or less (-1). A ring's first user finds it empty,
 * but for pipes. Returns whether one has lost its last user. */
bool nm_rings_count(struct nm_client *client, struct nm_port *port, bool exclusive, int by)
	OS_REQUIRES(NM_CORE_LOCK);

/* Rings of a client that is bound, and stays so without them: nobody is in a sync of them. Taken again,
 * for itself, they are empty; nobody else has any then. */
void nm_client_leave_rings(struct nm_client *client) OS_REQUIRES(NM_CORE_LOCK);
void nm_client_take_rings(struct nm_client *client, const uint32_t count[NM_DIRS])
	OS_REQUIRES(NM_CORE_LOCK);

/* ---- client_offsets.c ------------------------------------------------------------------ */

/* The first client's wish becomes the port's offsets, and its peer's; o may be NULL. 0, or -EOPNOTSUPP with client->err. */
int nm_offsets_grant(struct nm_client *client, struct nm_port *port, const struct nm_offsets *o)
	OS_REQUIRES(NM_CORE_LOCK);

/* A later client's wish, or NULL, agrees with what the port has: 0, -EBUSY or -EINVAL with client->err. */
int nm_offsets_join(
	struct nm_client *client, const struct nm_port *port, const struct nm_offsets *o);

/* The port's offsets, granted or about to be, leave room for a packet: 0, or -EINVAL with client->err. */
int nm_offsets_check_buffer(struct nm_client *client, const struct nm_port *port);

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
