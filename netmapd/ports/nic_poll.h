/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * nic_poll.h - a thread that wakes whoever serves a ring of a NIC, when he sleeps.
 *
 * Who serves a ring looks at it without a system call, as long as he is awake. Before he sleeps he asks to be woken, once: by the
 * next packet that comes to a socket, or after a while, for what the kernel tells nobody: that it has sent something.
 *
 *      thread that syncs                       this thread
 *        nic_poll_arm()   EPOLLONESHOT  --->     a packet is there, or comes: signals the rx ring's wakeup
 *        nic_poll_later() in 1 to 64 ms --->     signals the tx ring's wakeup
 *
 * It is not the control thread, which may be busy with clients.
 *
 * Thread safety: nic_poll_init(), _exit(), _add(), _remove(), _barrier(): control thread; nic_poll_arm(), _later(): the thread that
 * syncs the ring.
 */
#ifndef NETMAPD_NIC_POLL_H
#define NETMAPD_NIC_POLL_H

#include "ring.h"

/* Of a socket. */
struct nic_poll {
	struct nic_poll *next;
	int fd;
	struct nm_ring *rx, *tx;
	bool added;
	uint64_t due_ms;   /* when to wake tx; 0: not at all */
	uint32_t delay_ms; /* the last one; the thread that syncs tx */
};

/* Starts the thread. 0 or a negative errno. */
int nic_poll_init(void);
void nic_poll_exit(void);

/* fd, rx and tx are set. 0 or a negative errno. */
int nic_poll_add(struct nic_poll *p);
/* On return nobody is woken by it any more. May be called when it was not added. */
void nic_poll_remove(struct nic_poll *p);

/* On return everybody who is being woken has been. */
void nic_poll_barrier(void);

/* The next packet wakes, or one that is there. */
void nic_poll_arm(struct nic_poll *p);

/* Something is under way, and nobody will tell. progress: since the last time some of it was done. Once until it is due. */
void nic_poll_later(struct nic_poll *p, bool progress);

/* Asked for, and not due yet? */
static inline bool nic_poll_waits(const struct nic_poll *p)
{
	return OS_LOAD(&p->due_ms) != 0;
}

#endif
