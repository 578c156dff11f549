/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * attachments.h - who moves the packets of devices on switches (core/attachment.h): the workers.
 *
 * All ring pairs of a device go to one worker, or each to the next one (--spread ring), as with
 * ports. VALE_POLLING_ENABLE gives it workers of its own instead, each on its CPU, which
 * never sleep.
 *
 * Thread safety: control thread, core->lock held.
 */
#ifndef NETMAPD_ATTACHMENTS_H
#define NETMAPD_ATTACHMENTS_H

#include "daemon.h"
#include "attachment.h"

/* attachment_start, _stop, _pause and _poll of nm_platform_ops. */
int attachments_start(struct nm_attachment *att, struct nm_error *err);
void attachments_stop(struct nm_attachment *att);
void attachments_pause(struct nm_attachment *att, bool on);
int attachments_poll(
	struct nm_attachment *att, uint32_t first_cpu, uint32_t count, struct nm_error *err);

/* As port_services_place(); a device takes two waits for each pair of rings. Without core->lock. */
bool attachments_place(struct daemon *d, bool anew, int *waits);
/* How many threads poll it, from which CPU on; 0: workers serve it. */
uint32_t attachments_polling(const struct nm_attachment *att, uint32_t *first_cpu);

/* Takes all devices off their switches. At the end; without core->lock. */
void attachments_end(struct daemon *d);

#endif
