/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * csb_server.h - the kernel side of a CSB: the step that serves one ring.
 *
 * A platform calls nm_csb_server_step() for its rings round and round, as long as there
 * is work, and for a while after. Then it goes to sleep:
 *
 *      for each ring   if (nm_csb_server_prepare_sleep(r)) -> there is work after all
 *      wait for a kick, or for the ring's wakeup
 *      for each ring   nm_csb_server_awake(r)
 *
 * Everything the other side can write is loaded once per step and checked by
 * nm_ring_sync(). A step of a tx ring takes a share of what is there, so that all rings have
 * their turn. A tx ring whose packets wait for room (a pipe that is full) is stepped
 * like any other; who makes room signals its wakeup. An illegal move stops the ring
 * (NM_CSB_SERVER_STOPPED), once and for all until nm_csb_server_start(), and is counted;
 * nm_csb_server_tell() logs it, from wherever there is time for that.
 * Nothing else stops but the rings of a port that is gone, with their next step.
 *
 * Thread safety: one thread at a time per ring.
 */
#ifndef CORE_CSB_SERVER_H
#define CORE_CSB_SERVER_H

#include "os.h"
#include "csb.h"
#include "ring.h"

struct nm_csb_server {
	struct nm_ring *ring;
	struct nm_csb_atok *atok;
	struct nm_csb_ktoa *ktoa;
	uint32_t published_hwcur, published_hwtail; /* as last stored in ktoa */
	bool irq_pending; /* ktoa was written by resume with news that no interrupt was sent for */
	bool stopped;     /* stored last, with release: `fault` says why */
	bool told;
	struct nm_csb_fault {
		int error;
		uint32_t head, cur;            /* as the other side stored them */
		uint32_t ring_head, ring_tail; /* between which they are not */
	} fault;
	uint64_t steps, work_steps, interrupts; /* statistics */
};

enum nm_csb_server_result {
	NM_CSB_SERVER_IDLE = 0,
	NM_CSB_SERVER_WORK = 1,      /* something moved */
	NM_CSB_SERVER_INTERRUPT = 2, /* with WORK: the other side wants to be notified now */
	NM_CSB_SERVER_STOPPED = 4,
};

/* Binds to the arrays and writes the ring's state into both (head, cur; hwcur, hwtail), as
 * CREATE promises. Asks for no kick, and nm_csb_server_resume() doesn't either: the caller steps at
 * once. */
void nm_csb_server_start(struct nm_csb_server *s, struct nm_ring *ring, struct nm_csb_atok *atok,
	struct nm_csb_ktoa *ktoa);

/* As start, but what the other side has stored in atok meanwhile counts: only ktoa is written.
 * For memory that went away and is back. The next step interrupts for what had come before. */
void nm_csb_server_resume(
	struct nm_csb_server *s, struct nm_csb_atok *atok, struct nm_csb_ktoa *ktoa);

/* A set of enum nm_csb_server_result. */
int nm_csb_server_step(struct nm_csb_server *s);

/* Steps until all that had been published before the call is taken. What the steps returned, together. */
int nm_csb_server_finish(struct nm_csb_server *s);

/* Logs why a ring has stopped, once; nothing for one that hasn't. Any thread, one at a time; the ring exists. */
void nm_csb_server_tell(struct nm_csb_server *s);

/* Asks for kicks as far as they are needed. True: something has moved meanwhile, step again. An rx
 * ring for which packets wait (wants_room) is synced once more, from where it is. */
bool nm_csb_server_prepare_sleep(struct nm_csb_server *s);

/* Packets of this tx ring wait for a receiver, with a bound in time (nm_port.full_wait_us): whoever sleeps looks
 * again before long, though nobody wakes it. */
bool nm_csb_server_waits(const struct nm_csb_server *s);

/*
 * Where the application's head is: as it has published it, also what no step has taken yet (an rx ring of which half is free is left
 * alone), or as the last step left it, when that can't be. For who looks, in any thread, while the arrays are there.
 */
uint32_t nm_csb_server_head(const struct nm_csb_server *s);

/* No kicks, please. */
void nm_csb_server_awake(struct nm_csb_server *s);

#endif
