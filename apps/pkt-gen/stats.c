/* SPDX-License-Identifier: BSD-2-Clause */
#include "stats.h"

#include <stdio.h>

/* One writer: no need for an atomic addition. */
static void bump(uint64_t *p, uint64_t n)
{
	__atomic_store_n(p, *p + n, __ATOMIC_RELAXED);
}

void stats_add(struct stats *s, uint64_t packets, uint64_t bytes, uint64_t slots)
{
	bump(&s->packets, packets);
	bump(&s->bytes, bytes);
	bump(&s->slots, slots);
	bump(&s->batches, 1);
}

void stats_read(const struct stats *s, struct stats *out)
{
	out->packets = __atomic_load_n(&s->packets, __ATOMIC_RELAXED);
	out->bytes = __atomic_load_n(&s->bytes, __ATOMIC_RELAXED);
	out->slots = __atomic_load_n(&s->slots, __ATOMIC_RELAXED);
	out->batches = __atomic_load_n(&s->batches, __ATOMIC_RELAXED);
}

static double per(double x, double y)
{
	return y > 0 ? x / y : 0;
}

/* More digits for what is small: 0.001234 is still a number. */
static int digits(double x)
{
	return x >= 1 ? 3 : 6;
}

void stats_interval(
	const struct stats *before, const struct stats *now, uint64_t ns, char *text, size_t size)
{
	double packets = (double)(now->packets - before->packets);
	double bits = 8 * (double)(now->bytes - before->bytes), s = (double)ns / 1e9;
	double mpps = per(packets, s) / 1e6;

	snprintf(text, size, "%.*f Mpps (%.*f Mpkts %.3f Gbps in %llu usec) %.2f avg_batch",
		digits(mpps), mpps, digits(packets / 1e6), packets / 1e6, per(bits, s) / 1e9,
		(unsigned long long)(ns / 1000),
		per(packets, (double)(now->batches - before->batches)));
}

void stats_speed(const struct stats *total, uint64_t ns, char *text, size_t size)
{
	/* On a wire each frame has 24 bytes more: CRC, preamble, gap. */
	double packets = (double)total->packets, s = (double)ns / 1e9;
	double bits = 8 * (double)total->bytes, raw = bits + 8 * 24 * packets;
	double mpps = per(packets, s) / 1e6;

	snprintf(text, size,
		"Speed: %.*f Mpps Bandwidth: %.*f Gbps (raw %.*f Gbps). Average batch: %.2f packets",
		digits(mpps), mpps, digits(per(bits, s) / 1e9), per(bits, s) / 1e9,
		digits(per(raw, s) / 1e9), per(raw, s) / 1e9, per(packets, (double)total->batches));
}

/* ---- round trips ---------------------------------------------------------------------- */

/* Values below RTT_STEPS have a bucket each; above, the top RTT_STEP_BITS + 1 bits count. */
static unsigned int bucket_of(uint64_t ns)
{
	unsigned int shift;

	if (ns < RTT_STEPS)
		return (unsigned int)ns;
	shift = 63 - (unsigned int)__builtin_clzll(ns) - RTT_STEP_BITS;
	return (shift << RTT_STEP_BITS) + (unsigned int)(ns >> shift);
}

/* The largest value of a bucket. */
static uint64_t bucket_end(unsigned int b)
{
	unsigned int shift;

	if (b < 2 * RTT_STEPS)
		return b;
	shift = (b >> RTT_STEP_BITS) - 1;
	return (((uint64_t)(b & (RTT_STEPS - 1)) + RTT_STEPS + 1) << shift) - 1;
}

void rtt_add(struct rtt *r, uint64_t ns)
{
	if (!r->count || ns < r->min)
		r->min = ns;
	if (ns > r->max)
		r->max = ns;
	r->count++;
	r->sum += ns;
	r->bucket[bucket_of(ns)]++;
}

uint64_t rtt_percentile(const struct rtt *r, double percent)
{
	double want = percent / 100 * (double)r->count;
	uint64_t seen = 0, end;

	if (!r->count)
		return 0;
	for (unsigned int b = 0; b < RTT_BUCKETS; b++) {
		seen += r->bucket[b];
		if (!r->bucket[b] || (double)seen < want)
			continue;
		end = bucket_end(b);
		return end > r->max ? r->max : end;
	}
	return r->max;
}

void rtt_text(const struct rtt *r, char *text, size_t size)
{
	snprintf(text, size, "rtt min/avg/p50/p99/max = %.1f/%.1f/%.1f/%.1f/%.1f us",
		(double)r->min / 1e3, per((double)r->sum, (double)r->count) / 1e3,
		(double)rtt_percentile(r, 50) / 1e3, (double)rtt_percentile(r, 99) / 1e3,
		(double)r->max / 1e3);
}
