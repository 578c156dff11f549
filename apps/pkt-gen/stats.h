/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * stats.h - counters of a thread, their report lines, and round-trip times.
 *
 * Thread safety: a worker updates its counters with stats_add(); any thread may
 * read them with stats_read(). A struct rtt belongs to one thread.
 */
#ifndef PKTGEN_STATS_H
#define PKTGEN_STATS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct stats {
	uint64_t packets, bytes, slots, batches;
} __attribute__((aligned(64)));

void stats_add(struct stats *s, uint64_t packets, uint64_t bytes, uint64_t slots);
void stats_read(const struct stats *s, struct stats *out);

struct stats_style {
	bool raw;     /* pps and bps instead of Mpps and Gbps */
	bool framing; /* bits count STATS_FRAMING bytes more per packet */
};

enum { STATS_FRAMING = 24 }; /* bytes around a frame on a wire: CRC, preamble, gap */

/* "1.234 Mpps (1.236 Mpkts 0.593 Gbps in 1001000 usec) 511.9 avg_batch" for what came between. */
void stats_interval(const struct stats *before, const struct stats *now, uint64_t ns,
	struct stats_style style, char *text, size_t size);

/* "Speed: 1.234 Mpps Bandwidth: 0.593 Gbps (raw 0.830 Gbps). Average batch: 511.90 packets" */
void stats_speed(
	const struct stats *total, uint64_t ns, struct stats_style style, char *text, size_t size);

/* Mean and standard deviation of the last STATS_WINDOW rates. One thread. */
enum { STATS_WINDOW = 10 };

struct stats_window {
	double rate[STATS_WINDOW]; /* packets per second */
	unsigned int count, next;
};

void window_add(struct stats_window *w, double rate);
/* " [mean 1.234 stddev 0.012 Mpps]" */
void window_text(const struct stats_window *w, struct stats_style style, char *text, size_t size);

/*
 * Round-trip times in a histogram: RTT_STEPS steps per power of two, so a
 * percentile is right within 1/RTT_STEPS.
 */
enum { RTT_STEP_BITS = 5, RTT_STEPS = 1 << RTT_STEP_BITS, RTT_BUCKETS = 64 * RTT_STEPS };

struct rtt {
	uint64_t count, sum, min, max; /* ns */
	uint64_t bucket[RTT_BUCKETS];
};

void rtt_add(struct rtt *r, uint64_t ns);

/* The time that `percent` of the samples don't exceed, ns; 0 without samples. */
uint64_t rtt_percentile(const struct rtt *r, double percent);

/* "rtt min/avg/p50/p99/max = 1.2/1.5/1.4/2.0/9.9 us" */
void rtt_text(const struct rtt *r, char *text, size_t size);

#endif
