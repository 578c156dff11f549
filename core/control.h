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

struct nm_uaccess {
	int (*read)(void *arg, uint64_t addr, void *dst, size_t bytes);        /* 0 or -EFAULT */
	int (*write)(void *arg, uint64_t addr, const void *src, size_t bytes); /* 0 or -EFAULT */
	void *arg;
};

/* Executes the request whose header is at header_addr. */
int nm_control(struct nm_client *client, const struct nm_uaccess *ua, uint64_t header_addr);

#endif
