/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * nmd.h - a port of netmapd, as the backend "daemon" holds it.
 *
 *   nmd.c         connection, registration, what comes with it
 *   nmd_msg.c     control requests as messages
 *   nmd_extmem.c  the application's memory as a region
 *   nmd_sync.c    moves packets: it plays the application side of the CSB (core/csb.h)
 *                    for the rings in the region, whose head, cur and tail nobody but the
 *                    application and this library looks at
 *   nmd_kloop.c   CSB_ENABLE and SYNC_KLOOP: a CSB of the application's own
 *
 *      application     head, cur  ->  ring  ->  sync  ->  CSB atok  ->  netmapd
 *                      tail       <-  ring  <-  sync  <-  CSB ktoa  <-
 *
 * The state of a port lies in memory that a child process shares: after fork() parent
 * and child see the same private indices, as they would in the kernel.
 *
 * netmapd is trusted: it could do anything to the application's packets anyway.
 *
 * Thread safety: one thread at a time per port, as libnetmap.h says, except:
 *	- SYNC_KLOOP_STOP comes from another thread than SYNC_KLOOP_START;
 *	- after nmlib_daemon_share() the functions that take a struct nmlib_daemon_port
 *	  may be called by any thread of any process that has it.
 */
#ifndef LIBNETMAP_NMD_H
#define LIBNETMAP_NMD_H

#include <poll.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>
#include <libnetmap.h>

#include "csb.h"
#include "internal.h"
#include "proto.h"

enum nmlib_dir { NMLIB_TX = 0, NMLIB_RX = 1, NMLIB_DIRS = 2 };

enum { NMLIB_EVENTS_IN = POLLIN | POLLRDNORM, NMLIB_EVENTS_OUT = POLLOUT | POLLWRNORM };

struct nmlib_ring {
	struct nm_csb_appl csb;
	struct netmap_ring *ring; /* NULL: not mapped yet */
	int kick;                 /* eventfd; that of ring i % kicks */
	bool timestamps;          /* also without NR_TIMESTAMP: rx rings */
	uint64_t stamped_us;      /* nm_ring_stamp() */

	/* Of the application's own CSB. */
	uint32_t published_hwcur, published_hwtail; /* as last stored there */
	bool stopped;                               /* it stored an illegal head or cur */
};

OS_LOCK_CLASS(NMD_SIDE_LOCK);

/* What all threads of one direction share. */
struct nmlib_side {
	/* Of the direction's rings; only after nmlib_daemon_share(). Nothing else is locked within it, but
	 * `irq_lock` can be. */
	pthread_mutex_t lock;
	/* Threads between prepare_wait and finish_wait. */
	uint32_t sleepers OS_GUARDED_BY(NMD_SIDE_LOCK);
	uint32_t idle OS_GUARDED_BY(NMD_SIDE_LOCK); /* syncs without a result */
	struct nmd_shared *common;                  /* with other programs, in the CSB */

	/* Only one thread waits for the interrupt and clears it: another one that did would take
	 * it from a thread that sleeps without limit. The others look again after wait_ms. */
	pthread_mutex_t irq_lock; /* held by that thread; a dead one's passes on */
	int32_t watcher;          /* its id; atomic */
} __attribute__((aligned(64)));

/* Made by a registration. */
struct nmlib_daemon_port {
	struct nmd_attach at;
	size_t bytes; /* of this structure with its rings */
	int conn;     /* the connection */
	int region_fd;
	int irq[NMLIB_DIRS]; /* eventfds */
	uint32_t kicks;      /* eventfds: one of each ring, or of several */
	int stop;            /* eventfd: ends a wait of the sync loop */
	uint64_t flags;      /* NR_* of the registration */
	char *csb;           /* mapped, at.csb_size bytes */
	bool shared;         /* threads and processes lock */
	uint32_t sharer;     /* among programs that have the same rings; 0: there can be no other */
	bool gone;           /* netmapd is */
	struct nmlib_side side[NMLIB_DIRS];

	/* The application's own CSB; NULL: it has none. */
	struct nm_csb_atok *atok;
	struct nm_csb_ktoa *ktoa;
	uint32_t loop;             /* atomic: enum nmlib_loop */
	int32_t loop_pid;          /* of the process that runs it */
	int32_t loop_tid;          /* and of the thread */
	struct nmlib_ring rings[]; /* at.rings; tx first */
};

enum nmlib_loop {
	NMLIB_LOOP_NONE,
	NMLIB_LOOP_RUNS,
	NMLIB_LOOP_STOPS,   /* it runs, and has been told to stop */
	NMLIB_LOOP_STOPPED, /* told to stop before it has begun: the next start ends at once */
};

/* ---- registration --------------------------------------------------------------------- */

/* From now on several threads and processes may use p. 0 or a negative errno. */
int nmlib_daemon_share(struct nmlib_daemon_port *p);

/* Other programs may have the same rings: done before the first sync. */
void nmlib_daemon_come_second(struct nmlib_daemon_port *p);

/* Takes over the state of the rings from netmapd's CSB; base: of the region. 0 or -EINVAL. */
int nmlib_daemon_init_rings(struct nmlib_daemon_port *p, void *base, uint64_t nifp_offset);

/* What becomes of the application's memory, on REGISTER with option EXTMEM. */
struct nmlib_extmem {
	struct nmreq_opt_extmem *opt; /* NULL: no such option */
	uint64_t addr, bytes;         /* as asked for, up to the end of a page */
	int fd;                       /* a sealed copy of the memory; -1: none */
};

/* Finds the option and copies the memory. 0 or a negative errno with a text. */
int nmlib_extmem_begin(struct nmlib_extmem *e, struct nmreq_header *hdr, struct nm_error *why);
/* The copy takes the place of the memory. The same. */
int nmlib_extmem_replace(struct nmlib_extmem *e, struct nm_error *why);
void nmlib_extmem_end(struct nmlib_extmem *e);

/* ---- a CSB of the application's own ------------------------------------------------------ */

/* Could a registration with these flags (NR_*) have this CSB? 0 or a negative errno with a text. */
int nmlib_csb_check(struct nmreq_opt_csb *opt, uint64_t flags, struct nm_error *why);
/* CSB_ENABLE, and REGISTER with option CSB; d is registered. The same. */
int nmlib_csb_enable(struct nmport_d *d, struct nmreq_opt_csb *opt, struct nm_error *why);
/* SYNC_KLOOP_START: returns when stopped. The same. */
int nmlib_kloop_start(struct nmport_d *d, struct nmreq_header *hdr, struct nm_error *why);
/* SYNC_KLOOP_STOP: returns when it has ended, but in the loop's own thread (a signal handler). */
int nmlib_kloop_stop(struct nmport_d *d);

/* ---- sync and poll ------------------------------------------------------------------------ */

/* All rings of a direction are synced, whatever one of them says; the first error is returned. */
int nmlib_daemon_sync(struct nmlib_daemon_port *p, enum nmlib_dir dir);

/* Syncs what poll() syncs; returns the events that hold. */
short nmlib_daemon_events(struct nmlib_daemon_port *p, short events);

/*
 * A thread that has found no event sleeps:
 *
 *      nmlib_daemon_prepare_wait(p, events)  asks for interrupts. False: there is an event
 *      wait for the descriptors of nmlib_daemon_wait_fds(), at most nmlib_daemon_wait_ms() ms
 *      nmlib_daemon_finish_wait(p, events)   due after each prepare_wait, also one that said false
 *      nmlib_daemon_drain_wait(p, fds)       if the wait ended because of a descriptor
 */
enum { NMLIB_WAIT_FDS = 3 };
bool nmlib_daemon_prepare_wait(struct nmlib_daemon_port *p, short events);
void nmlib_daemon_finish_wait(struct nmlib_daemon_port *p, short events);
void nmlib_daemon_wait_fds(
	const struct nmlib_daemon_port *p, short events, struct pollfd fds[NMLIB_WAIT_FDS]);
void nmlib_daemon_drain_wait(struct nmlib_daemon_port *p, const struct pollfd fds[NMLIB_WAIT_FDS]);
/* Another thread waits for the interrupt: look again after so long. -1: no limit. */
int nmlib_daemon_wait_ms(const struct nmlib_daemon_port *p, short events);

/* The rings of a direction. */
struct nmlib_rings {
	struct nmlib_ring *first;
	uint32_t count;
};

static inline struct nmlib_rings nmlib_rings_of(struct nmlib_daemon_port *p, enum nmlib_dir dir)
{
	if (dir == NMLIB_TX)
		return (struct nmlib_rings){p->rings, p->at.tx_rings};
	return (struct nmlib_rings){p->rings + p->at.tx_rings, p->at.rx_rings};
}

/* Signals an eventfd. */
void nmlib_signal(int fd);

/* ---- of the backend ------------------------------------------------------------------------- */

int nmlib_daemon_attach(struct nmport_d *d);
/* -EINVAL: the ranges of d are not those of the rings that are served. */
int nmlib_daemon_check_ranges(const struct nmport_d *d);
int nmlib_daemon_txsync(struct nmport_d *d);
int nmlib_daemon_rxsync(struct nmport_d *d);
int nmlib_daemon_poll(struct nmport_d *d, short events, int timeout_ms);

/* Executes a request as a message to netmapd; send_fd goes along (-1: none). On REGISTER
 * d->priv->daemon is made. 0 or a negative errno with a text. */
int nmlib_daemon_message(
	struct nmport_d *d, struct nmreq_header *hdr, int send_fd, struct nm_error *why);
/* Takes over the descriptors of a registration: from here on they are d's. */
int nmlib_daemon_keep(struct nmport_d *d, const struct nmd_attach *at, int *fds, unsigned int nfds);

#endif
