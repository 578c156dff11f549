/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * splices.h - who moves the packets of devices on switches (core/splice.h): the workers.
 *
 * All ring pairs of a device go to one worker, or each to the next one (--spread ring), as with
 * ports. VALE_POLLING_ENABLE gives it workers of its own instead, each on its CPU, which
 * never sleep.
 *
 * Thread safety: control thread, core->lock held.
 */
#ifndef NETMAPD_SPLICES_H
#define NETMAPD_SPLICES_H

#include "daemon.h"
#include "splice.h"

/* splice_start, splice_stop and splice_poll of nm_platform_ops. */
int splices_start(struct nm_splice *splice, struct nm_error *err);
void splices_stop(struct nm_splice *splice);
int splices_poll(
	struct nm_splice *splice, uint32_t first_cpu, uint32_t count, struct nm_error *err);

/* Takes all devices off their switches. At the end; without core->lock. */
void splices_end(struct daemon *d);

#endif
