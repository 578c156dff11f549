/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * control.h - control requests: what NIOCCTRL carries.
 *
 * A request is struct nmreq_header, a body and a chain of options, linked by
 * 64-bit addresses in the memory of the caller. Here an address is opaque: the
 * platform gives two functions that copy from and to it. In the kernel these are
 * copy_from_user() and copy_to_user(); in netmapd addresses are offsets within
 * the message that came in.
 *
 * All parts are copied in once, checked, worked on, and copied out; the total is at
 * most NETMAP_REQ_MAXSIZE bytes and the chain of options is bounded. Results:
 *
 *      -EINVAL      a field out of range, an option twice, or in a loop
 *      -EMSGSIZE    options of too many bytes, which is looked at before their types, or in a loop of
 *                   ones that nobody knows
 *      -EOPNOTSUPP  unknown request, an option that is unknown or not for it, or not served here
 *      -EFAULT      an address can't be reached
 *      others       of the request
 * with one line of text in client->err. nro_status of each option says what is wrong with it,
 * as a positive errno: EINVAL for each copy of one that appears twice; 0 for those that are not
 * the reason. REGISTER with a monitor flag answers with nr_mode ALL_NIC and nr_ringid 0: the
 * rings of the monitor, not of what it watches. A REGISTER whose answer can't be written is undone; other requests then have
 * had their effect.
 *
 * Thread safety: any thread; one call at a time per client, but see kloop_start.
 */
#ifndef CORE_CONTROL_H
#define CORE_CONTROL_H

#include "os.h"
#include "client.h"

struct nm_kloop_request {
	struct nmreq_sync_kloop_start start;
	uint32_t mode;  /* NM_OPT_SYNC_KLOOP_DIRECT_* */
	uint32_t rings; /* entries of eventfds; 0: the option was not given */
	struct {
		int32_t ioeventfd, irqfd;
	} eventfds[2 * NM_RINGS_MAX];
};

/* What the platform of the caller offers. The functions behind `arg` may be NULL: what needs them
 * is refused with -EOPNOTSUPP. */
struct nm_uaccess {
	int (*read)(void *arg, uint64_t addr, void *dst, size_t bytes);        /* 0 or -EFAULT */
	int (*write)(void *arg, uint64_t addr, const void *src, size_t bytes); /* 0 or -EFAULT */
	void *arg;

	/* EXTMEM: the caller's memory, held until os_mem_free(). NULL with err. */
	struct os_mem *(*extmem)(void *arg, uint64_t addr, uint64_t bytes, struct nm_error *err);
	/* CSB: maps two arrays of the caller's, `entries` entries each, for the client's rings (tx
	 * first), and fills them in. The client is exclusive, and the addresses aligned to an
	 * entry. Undone by the platform when nm_control() returns with the client unbound, and when
	 * it is unbound later. -EBUSY: it has a CSB already. */
	int (*csb_enable)(void *arg, struct nm_client *client, uint64_t atok, uint64_t ktoa,
		uint32_t entries);
	/* Returns 0 when the loop was stopped, or an error: -EINVAL no CSB, -EBUSY a loop is
	 * running, -EBADF one of the descriptors is no eventfd. A text in client->err, or none.
	 * Called without core->lock. While the loop runs the platform may let other requests of the
	 * client in: KLOOP_STOP, and those that don't unbind it. */
	int (*kloop_start)(
		void *arg, struct nm_client *client, const struct nm_kloop_request *request);
	/* Returns when no loop runs. When none did, the next one to be started ends at once: the
	 * request that was meant may be on its way. */
	int (*kloop_stop)(void *arg, struct nm_client *client);
};

/* Executes the request whose header is at header_addr. */
int nm_control(struct nm_client *client, const struct nm_uaccess *ua, uint64_t header_addr)
	OS_EXCLUDES(NM_CORE_LOCK);

#endif
