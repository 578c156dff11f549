/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Offsets of packets in their buffers: what a client wishes for, what its port grants, and whether a packet has
 * room behind them.
 */
#include "client_internal.h"

static uint64_t offset_mask(uint32_t bits)
{
	return bits == 0 || bits >= 64 ? UINT64_MAX : (1ULL << bits) - 1;
}

int nm_offsets_check(struct nm_client *client, const char *name, const struct nm_offsets *o)
{
	uint64_t mask = offset_mask(o->bits);

	if (o->bits > 64)
		return nm_error_set(&client->err, -EINVAL,
			"%s: an offset has at most 64 bits, not %u", name, o->bits);
	if (o->max > mask)
		return nm_error_set(&client->err, -EINVAL,
			"%s: %u bits can't hold an offset of %llu", name, o->bits,
			(unsigned long long)o->max);
	if (o->initial > o->max)
		return nm_error_set(&client->err, -EINVAL,
			"%s: initial offset %llu is larger than the largest, %llu", name,
			(unsigned long long)o->initial, (unsigned long long)o->max);
	if (o->tx_align & (o->tx_align - 1))
		return nm_error_set(&client->err, -EINVAL, "%s: alignment %u is not a power of two",
			name, o->tx_align);
	return 0;
}

int nm_offsets_check_buffer(struct nm_client *client, const struct nm_port *port)
{
	uint64_t size = port->region->buf_room;

	if (port->offsets.mask &&
		(port->offsets.max >= size || port->offsets.gap >= size - port->offsets.max))
		return nm_error_set(&client->err, -EINVAL,
			"%s: offset %llu and gap %llu leave nothing of a buffer of %llu bytes",
			port->name, (unsigned long long)port->offsets.max,
			(unsigned long long)port->offsets.gap, (unsigned long long)size);
	if (port->offsets.align > size)
		return nm_error_set(&client->err, -EINVAL,
			"%s: alignment %llu is larger than a buffer of %llu bytes", port->name,
			(unsigned long long)port->offsets.align, (unsigned long long)size);
	return 0;
}

int nm_offsets_join(
	struct nm_client *client, const struct nm_port *port, const struct nm_offsets *o)
{
	if (!o)
		return port->offsets.mask == 0
			       ? 0
			       : nm_error_set(&client->err, -EBUSY,
					 "%s: packets have an offset in their buffers; register with the option OFFSETS",
					 port->name);
	if (port->offsets.mask != offset_mask(o->bits) || o->max > port->offsets.max ||
		o->initial != port->offsets.initial || o->min_gap > port->offsets.gap ||
		o->tx_align > port->offsets.align)
		return nm_error_set(&client->err, -EINVAL,
			"%s: other users have registered without these offsets", port->name);
	return 0;
}

int nm_offsets_grant(struct nm_client *client, struct nm_port *port, const struct nm_offsets *o)
{
	if (!o)
		return 0;
	if (port->region && port->region->foreign)
		return nm_error_set(&client->err, -EOPNOTSUPP,
			"%s: offsets are not possible on a port of another system", port->name);
	port->offsets.max = o->max;
	port->offsets.initial = o->initial;
	port->offsets.mask = offset_mask(o->bits);
	port->offsets.align = o->tx_align;
	port->offsets.gap = o->min_gap;
	if (port->peer)
		memcpy(&port->peer->offsets, &port->offsets, sizeof(port->offsets));
	return 0;
}
