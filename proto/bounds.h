/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * bounds.h - what users can have so many of: the names, and how a bound is written (--max, limit, netmapctl limit).
 *
 *      ports=100           of each user, or of one
 *      memory=2G/8G        of each user, and of all together; bytes end in K, M, G or T, or don't
 *
 * Thread safety: no state.
 */
#ifndef PROTO_BOUNDS_H
#define PROTO_BOUNDS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "nm_error.h"
#include "quota.h"

/* Behind those of the core. */
enum limit {
	LIMIT_CONNECTIONS = NM_RESOURCES,
	LIMIT_MACHINES,
	LIMIT_DMA_RANGES,
	LIMIT_DESCRIPTORS, /* open files, also those that may come: eventfds and memory of guests */
	LIMIT_REQUESTS,    /* that take more than a turn of the control thread, at a time */
	LIMITS,
};

struct bound_wanted {
	uint32_t what;      /* enum nm_resource, enum limit */
	uint64_t user, all; /* all 0: isn't said */
};

const char *bound_name(uint32_t what);
/* Are they bytes? */
bool bound_is_bytes(uint32_t what);
/* LIMITS: there is none of this name, which has `length` bytes. */
uint32_t bound_find(const char *name, size_t length);

/* A bound; of one user: without a part for all. 0, -ENOENT for a name, or -EINVAL, with a text. */
int bound_parse(const char *text, bool one_user, struct bound_wanted *wanted, struct nm_error *err);

#endif
