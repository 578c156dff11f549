/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * kloop.h - the sync loop: the rings of an open file in CSB mode, served from inside the call.
 *
 *      sleep       no eventfds, or one is missing: all rings are stepped, then the caller
 *                  sleeps sleep_us; and so on
 *      eventfds    all rings are stepped as long as there is work; then kicks are asked for,
 *                  and the caller sleeps until an ioeventfd is signalled, or a ring has room or
 *                  packets
 *      direct      DIRECT_TX, DIRECT_RX: rings of that direction don't wait for the caller's
 *                  thread. Each is a work item of a high-priority queue of the kernel, which a
 *                  kick, room or a packet starts. (A sync may sleep for a lock, so it can't be
 *                  done in the notification itself, which holds a spin lock.)
 *
 * A ring that was stopped for an illegal index starts again with the next loop: head and cur in
 * the application's array are put back to the last legal ones.
 *
 * irqfds are signalled after a step that moved hwtail while appl_need_kick was set.
 *
 * A loop ends with
 *      0             SYNC_KLOOP_STOP by another thread; also one that came before the loop
 *      -ERESTARTSYS  a signal: a fatal one ends the program, another one the call, or, with
 *                    SA_RESTART, the loop is entered again after the handler. What the application
 *                    has stored in its array counts on
 *      -ENXIO        the port is gone
 *      -EINVAL       all rings were stopped, each for an illegal index
 *
 * Thread safety: start and stop are called with nmk_file.bound held for writing, let go of it
 * while they wait, and return with it held. In between the client stays bound, for its file is
 * open. The fields of struct nmk_kloop change under it; `stop` and `running` are read without.
 */
#ifndef LINUX_KLOOP_H
#define LINUX_KLOOP_H

#include "control.h"

#include <linux/rwsem.h>
#include <linux/wait.h>

struct nmk_csb;

/* Of an open file. */
struct nmk_kloop {
	/* The loop waits for `stop`, or work; those who stop it for !running */
	wait_queue_head_t wq;
	bool running, stop;
};

void nmk_kloop_init(struct nmk_kloop *kloop);

/* `csb` may be NULL: -EINVAL. As kloop_start and kloop_stop of struct nm_uaccess. */
int nmk_kloop_start(struct nmk_kloop *kloop, struct rw_semaphore *bound, struct nmk_csb *csb,
	struct nm_client *client, const struct nm_kloop_request *request);
int nmk_kloop_stop(struct nmk_kloop *kloop, struct rw_semaphore *bound);

/* The queue of the direct modes. Called by main.c only. */
int nmk_kloop_register(void);
void nmk_kloop_unregister(void);

#endif
