/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * null.h - null ports: rings and buffers without traffic.
 *
 * What is released for sending stays where it is, and nothing is ever received: a program
 * gets memory with the layout of a port, and can exchange buffers with ports of its region. A
 * placeholder is a null port without rings, for pipes whose parent doesn't exist.
 *
 * Thread safety: core->lock.
 */
#ifndef CORE_NULL_H
#define CORE_NULL_H

#include "os.h"
#include "client.h"

/* Makes a null port, unnamed and ephemeral, with exactly the rings that bind asks for (slots: the
 * default where 0). NULL with err. */
struct nm_port *nm_null_make_locked(struct nm_core *core, const char *name,
	const struct nm_bind *bind, struct nm_error *err) OS_REQUIRES(NM_CORE_LOCK);

/* The placeholder `name`, made when it doesn't exist. The caller pins it. NULL with err. */
struct nm_port *nm_null_placeholder_locked(struct nm_core *core, void *ns, const char *name,
	struct nm_error *err) OS_REQUIRES(NM_CORE_LOCK);
/* The one that there is; NULL: none. */
struct nm_port *nm_null_find_placeholder_locked(
	struct nm_core *core, const void *ns, const char *name) OS_REQUIRES(NM_CORE_LOCK);

#endif
