/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * control.h - control requests: what NIOCCTRL carries.
 *
 * A request is struct nmreq_header, a body and a chain of options, linked by
 * 64-bit addresses in the memory of whoever asks. Here an address is opaque: the
 * home gives two functions that copy from and to it. In the kernel these are
 * copy_from_user() and copy_to_user(); in netmapd addresses are offsets within
 * the message that came in.
 *
 * All parts are copied in once, checked, worked on, and copied out; the total is at
 * most NETMAP_REQ_MAXSIZE bytes and the chain of options is bounded. Results:
 *
 *      -EINVAL      a field out of range, an option twice, a chain that loops or is too long
 *      -EOPNOTSUPP  unknown request or option (nro_status says which)
 *      -EFAULT      an address can't be reached
 *      others       of the request
 * with one line of text in client->err.
 *
 * Thread safety: any thread; one call at a time per client.
 */
#ifndef CORE_CONTROL_H
#define CORE_CONTROL_H

#include "os.h"
#include "port.h"

struct nm_kloop_request {
	struct nmreq_sync_kloop_start start;
	uint32_t mode;  /* NM_OPT_SYNC_KLOOP_DIRECT_* */
	uint32_t rings; /* entries of eventfds; 0: the option was not given */
	struct {
		int32_t ioeventfd, irqfd;
	} eventfds[2 * NM_RINGS_MAX];
};

/* What the home of the caller offers. The functions behind `arg` may be NULL: what needs them is
 * refused with -EOPNOTSUPP. */
struct nm_uaccess {
	int (*read)(void *arg, uint64_t addr, void *dst, size_t bytes);        /* 0 or -EFAULT */
	int (*write)(void *arg, uint64_t addr, const void *src, size_t bytes); /* 0 or -EFAULT */
	void *arg;

	/* EXTMEM: the caller's memory, held until os_mem_free(). NULL with *error and a text. */
	struct os_mem *(*extmem)(
		void *arg, uint64_t addr, uint64_t bytes, int *error, char *err, size_t err_size);
	/* CSB: maps two arrays of the caller's, `entries` entries each, for the client's rings (tx
	 * first), and fills them in. Undone by the home when the client is unbound. */
	int (*csb_enable)(void *arg, struct nm_client *client, uint64_t atok, uint64_t ktoa,
		uint32_t entries);
	/* Returns when the loop was stopped, or with an error. Called without core->lock. */
	int (*kloop_start)(
		void *arg, struct nm_client *client, const struct nm_kloop_request *request);
	int (*kloop_stop)(void *arg, struct nm_client *client);
};

/* Executes the request whose header is at header_addr. */
int nm_control(struct nm_client *client, const struct nm_uaccess *ua, uint64_t header_addr);

#endif
