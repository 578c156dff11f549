/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * bare.h - the bare loop: packets from one ring to another, and nothing else.
 *
 * What the machine can do at best, for limit.c (packets per second) and budget.c (instructions, and lines
 * that change cores): no checks, no lookup, no counters.
 *
 * Thread safety: one thread per side of a ring.
 */
#ifndef BENCH_BARE_H
#define BENCH_BARE_H

#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#include "ring.h"

enum { BARE_SLOTS = 1024, BARE_BUF = 2048 };

/* One ring as the two threads share it: positions on lines of their own, as in a CSB. */
struct bare_ring {
	uint32_t head __attribute__((aligned(NM_CACHE_LINE))); /* the application's */
	uint32_t tail __attribute__((
		aligned(NM_CACHE_LINE))); /* the mover's: sent up to, received up to */
	struct netmap_slot slot[BARE_SLOTS] __attribute__((aligned(NM_CACHE_LINE)));
};

/* A ring, and the buffers that its slots name. */
struct bare_side {
	struct bare_ring *ring;
	char *bufs;
};

static inline uint32_t bare_distance(uint32_t a, uint32_t b)
{
	return (b - a) & (BARE_SLOTS - 1);
}

/* The copy of the switch's fast path, without its check for the shortest packets. */
static inline void bare_copy(char *dst, const char *src, uint32_t len)
{
	uint32_t done;

	if (len > 512) {
		memcpy(dst, src, len);
		return;
	}
	if (len < 64) {
		memcpy(dst, src, 32);
		memcpy(dst + len - 32, src + len - 32, 32);
		return;
	}
	for (done = 0; done + 64 < len; done += 64)
		memcpy(dst + done, src + done, 64);
	memcpy(dst + len - 64, src + len - 64, 64);
}

static inline void bare_move(struct bare_side *from, struct bare_side *to, uint32_t at,
	uint32_t out, uint32_t n, bool exchange)
{
	struct netmap_slot *src = from->ring->slot, *dst = to->ring->slot;

	for (uint32_t i = 0; i < n; i++) {
		struct netmap_slot *s = &src[(at + i) & (BARE_SLOTS - 1)];
		struct netmap_slot *d = &dst[(out + i) & (BARE_SLOTS - 1)];

		if (exchange) {
			uint32_t index = d->buf_idx;

			d->buf_idx = s->buf_idx;
			s->buf_idx = index;
		} else {
			__builtin_prefetch(
				from->bufs +
				(size_t)src[(at + i + 8) & (BARE_SLOTS - 1)].buf_idx * BARE_BUF);
			bare_copy(to->bufs + (size_t)d->buf_idx * BARE_BUF,
				from->bufs + (size_t)s->buf_idx * BARE_BUF, s->len);
		}
		d->len = s->len;
		d->flags = 0;
	}
}

#endif
