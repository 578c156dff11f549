/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * counted_kind.h - a kind of port that counts its starts and stops, and starts or says "NAME: no". Behind fixture.h.
 *
 * Thread safety: the main thread.
 */
#ifndef TESTS_UNIT_COUNTED_KIND_H
#define TESTS_UNIT_COUNTED_KIND_H

static struct {
	uint32_t starts, stops;
	int start_error;
} kind;

static int kind_start(struct nm_port *port, struct nm_error *err)
{
	kind.starts++;
	return kind.start_error ? nm_error_set(err, kind.start_error, "%s: no", port->name) : 0;
}

static void kind_stop(struct nm_port *port)
{
	kind.stops++;
}

static int kind_sync(struct nm_ring *ring)
{
	return 0;
}

static const struct nm_port_ops kind_ops = {.kind = "test",
	.start = kind_start,
	.stop = kind_stop,
	.txsync = kind_sync,
	.rxsync = kind_sync,
	.chosen_host_rings = true};

#endif
