/* SPDX-License-Identifier: BSD-2-Clause */
#include "null.h"
#include "names.h"

static int null_txsync(struct nm_ring *ring)
{
	return 0; /* neither hwcur nor tail moves */
}

static int null_rxsync(struct nm_ring *ring)
{
	ring->hwcur = ring->head;
	return 0;
}

static bool null_can_send(struct nm_ring *ring)
{
	return false;
}

static const struct nm_port_ops null_ops = {
	.kind = "null",
	.txsync = null_txsync,
	.rxsync = null_rxsync,
	.can_send = null_can_send,
};

/* Another table, so that it isn't mistaken for a null port that an application uses. */
static const struct nm_port_ops placeholder_ops = {
	.kind = "placeholder",
	.txsync = null_txsync,
	.rxsync = null_rxsync,
};

struct nm_port *nm_null_make_locked(
	struct nm_core *core, const char *name, const struct nm_bind *bind, struct nm_error *err)
{
	struct nm_shape shape = {0};
	struct nm_port *port;

	nm_core_assert_locked(core);
	if (name[0] && nm_name_check(name, err) != 0)
		return NULL;
	for (int dir = 0; dir < NM_DIRS; dir++) {
		shape.rings[dir] = bind->num_rings[dir];
		shape.host_rings[dir] = bind->num_host_rings[dir];
		shape.slots[dir] = bind->num_slots[dir] ? bind->num_slots[dir] : NM_SLOTS_DEFAULT;
	}
	port = nm_port_add_unnamed_locked(core, name[0] ? name : "null", &null_ops, &shape, err);
	if (port)
		port->ephemeral = true;
	return port;
}

struct nm_port *nm_null_find_placeholder_locked(
	struct nm_core *core, const void *ns, const char *name)
{
	struct nm_port *port = core->ports;

	nm_core_assert_locked(core);
	while (port &&
		(port->ops != &placeholder_ops || port->ns != ns || strcmp(port->name, name) != 0))
		port = port->next;
	return port;
}

struct nm_port *nm_null_placeholder_locked(
	struct nm_core *core, void *ns, const char *name, struct nm_error *err)
{
	static const struct nm_shape shape;
	struct nm_port *port = nm_null_find_placeholder_locked(core, ns, name);

	if (port)
		return port;
	port = nm_port_add_unnamed_locked(core, name, &placeholder_ops, &shape, err);
	if (port) {
		port->ephemeral = true;
		port->ns = ns;
	}
	return port;
}
