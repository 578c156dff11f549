/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * attach_threads.h - the threads that run attachments (core/attachment.h) in the kernel.
 *
 * An attachment has one thread, which sleeps on the rings; or, while polling, several that never
 * sleep, each bound to a CPU and with its share of the ring pairs.
 *
 * Thread safety: as platform_ops says, core->lock, where nothing else is said. The threads take
 * none of the locks that are held here, but os_wakeup.sync of the rings that they step.
 */
#ifndef LINUX_ATTACH_THREADS_H
#define LINUX_ATTACH_THREADS_H

#include "port.h"

struct net;

/* platform_ops */
int nmk_attachment_start(struct nm_attachment *att, struct nm_error *err);
void nmk_attachment_stop(struct nm_attachment *att);
void nmk_attachment_pause(struct nm_attachment *att, bool on);
int nmk_attachment_poll(
	struct nm_attachment *att, uint32_t first_cpu, uint32_t count, struct nm_error *err);

/* A device is gone: takes it off its switch, soon. Any context. */
void nmk_attachment_reap(void);
/* The same when memory goes with the device: no thread touches a dead port when it returns. core->lock
 * held. */
void nmk_attachment_stop_dead(void);
/* A namespace ends; NULL: all, for unloading. Takes core->lock itself. */
void nmk_attachment_detach_all(const struct net *ns);

#endif
