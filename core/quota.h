/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * quota.h - who pays for what is made: the bounds of what one user, and all together, can have.
 *
 * Before something is made that costs memory or time of everybody its price is taken from the one for whom it is made; it
 * is given back when that ends, whoever ends it. The core takes from core->payer, which the platform sets, and
 * keeps beside the object who paid. Without a payer (NULL) nothing is counted: then the platform has bounds of its
 * own, as the kernel's control groups.
 *
 *      error = nm_quota_take(core->payer, NM_RES_PORTS, 1, err);
 *      ...
 *      nm_quota_give(port->payer, NM_RES_PORTS, 1);
 *
 * A platform has resources of its own behind NM_RESOURCES.
 *
 * Thread safety: core->lock is held, or no other thread makes or frees anything; core->payer is the platform's to
 * protect. netmapd has one thread for all of it.
 */
#ifndef CORE_QUOTA_H
#define CORE_QUOTA_H

#include "nm_error.h"

enum nm_resource {
	NM_RES_PORTS,
	NM_RES_RINGS, /* of ports, used or not */
	NM_RES_SLOTS, /* of rings: each has a buffer when its port is in use */
	NM_RES_EXTRA, /* extra buffers */
	NM_RES_MEMORY, /* bytes: regions of one client, what is taken of regions for all, and private maps */
	NM_RES_EXTMEM, /* bytes of applications' own memory that are mapped */
	NM_RES_SWITCHES,
	NM_RESOURCES,
};

struct nm_quota {
	/* 0, or a negative errno with a text that names the bound and what to do; then nothing is taken. */
	int (*take)(struct nm_quota *quota, uint32_t what, uint64_t amount, struct nm_error *err);
	void (*give)(struct nm_quota *quota, uint32_t what, uint64_t amount);
};

static inline int nm_quota_take(
	struct nm_quota *quota, uint32_t what, uint64_t amount, struct nm_error *err)
{
	return quota && amount ? quota->take(quota, what, amount, err) : 0;
}

static inline void nm_quota_give(struct nm_quota *quota, uint32_t what, uint64_t amount)
{
	if (quota && amount)
		quota->give(quota, what, amount);
}

#endif
