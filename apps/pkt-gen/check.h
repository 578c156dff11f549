/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * check.h - what arrived of numbered packets, over all their streams.
 *
 * Thread safety: one thread at a time per checker.
 */
#ifndef PKTGEN_CHECK_H
#define PKTGEN_CHECK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "packet.h"
#include "seq.h"

struct check {
	struct seq *stream[STAMP_STREAMS]; /* made when first seen */
	uint64_t corrupt, other;
	struct packet_like like; /* of the last good packet */
	bool have_like;
	bool no_memory; /* a stream could not be followed: its packets count as corrupt */
};

/* What a run adds up to. */
struct check_sums {
	uint64_t received; /* numbered packets, the corrupt ones included */
	uint64_t lost, reordered, duplicate, corrupt;
	uint64_t other; /* frames that are not pkt-gen's */
};

/* Looks at one frame. PACKET_GOOD: *info is filled in. Only frames of `kind` are numbered
 * packets here; good ones of another kind are other frames. */
enum packet_kind check_add(struct check *c, enum stamp_kind kind, const uint8_t *frame,
	uint32_t len, struct packet_info *info);

/* expected: how many different packets there should be, 0: not known. */
void check_sum(const struct check *c, uint64_t expected, struct check_sums *sums);
bool check_passed(const struct check_sums *sums);
/* "Check: received 100 lost 0 reordered 0 duplicate 0 corrupt 0" */
void check_text(const struct check_sums *sums, char *text, size_t size);
void check_free(struct check *c);

#endif
