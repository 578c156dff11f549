/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * seq.h - what became of a stream of numbered packets.
 *
 * The first number seen is where the stream starts. A number beyond the expected
 * one leaves a gap, whose packets count as lost; one that arrives later, within
 * the window, counts as reordered instead. One that was there before is a
 * duplicate.
 *
 *	           window of SEQ_WINDOW numbers
 *	  older   |#####.####..########|    beyond
 *	  ------- +---------------------+ ---------->
 *	                                next
 *
 * Older than the window, nothing is remembered: such a packet counts as
 * reordered, and what was counted as lost stays lost.
 *
 * Thread safety: one thread at a time per tracker.
 */
#ifndef PKTGEN_SEQ_H
#define PKTGEN_SEQ_H

#include <stdbool.h>
#include <stdint.h>

enum { SEQ_WINDOW = 65536 };

struct seq {
	bool started;
	uint64_t first; /* first number seen */
	uint64_t next;  /* the highest number seen, plus 1 */
	uint64_t received, lost, reordered, duplicate;
	uint64_t seen[SEQ_WINDOW / 64]; /* bit n % SEQ_WINDOW for next - SEQ_WINDOW <= n < next */
};

/* A cleared struct seq is a fresh tracker. */
void seq_add(struct seq *s, uint64_t number);

#endif
