/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * netdev.h - the NAPI instances of a device, by the kernel's "netdev" family of generic netlink (Linux 6.13 and later).
 *
 * Each serves the interrupts of a queue, and has its own settings for putting them off. Drivers say which instance is which queue's, or
 * they don't: then those of the device are its queues' in their order, if they are as many.
 *
 * Thread safety: any thread; no state.
 */
#ifndef NIC_NETDEV_H
#define NIC_NETDEV_H

#include <stdint.h>

struct netdev_napi {
	uint32_t id; /* another one each time that the device is reset, with many drivers */
	/*
	 * After a poll that found less than its budget the interrupt stays off and a timer polls again, this often in a row (0: never),
	 * so long afterwards (0: never). Whoever polls busily starts the timer anew each time.
	 */
	uint32_t defer_hard_irqs;
	uint64_t gro_flush_ns;
};

/*
 * What serves the packets that this queue of `queues` receives. 0, or a negative errno: -EOPNOTSUPP: the kernel can't say; -ENOENT: nothing
 * does, as when the interface is down, or nobody knows what.
 */
int netdev_napi(uint32_t ifindex, uint32_t queue, uint32_t queues, struct netdev_napi *napi);

/* Its settings become these. 0, or a negative errno; -ENOENT: it is gone, and another one may be there. */
int netdev_napi_set(const struct netdev_napi *napi);

#endif
