/* SPDX-License-Identifier: BSD-2-Clause */
#include "stats.h"

#include <math.h>
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

/* Bits of packets that hold so many bytes. */
static double bits_of(double packets, double bytes, bool framing)
{
	return 8 * (bytes + (framing ? STATS_FRAMING * packets : 0));
}

void stats_interval(const struct stats *before, const struct stats *now, uint64_t ns,
	struct stats_style style, char *text, size_t size)
{
	double packets = (double)(now->packets - before->packets), s = (double)ns / 1e9;
	double bits = bits_of(packets, (double)(now->bytes - before->bytes), style.framing);
	double batch = per(packets, (double)(now->batches - before->batches));
	double mpps = per(packets, s) / 1e6;

	if (style.raw)
		snprintf(text, size, "%.0f pps (%.0f pkts %.0f bps in %llu usec) %.2f avg_batch",
			mpps * 1e6, packets, per(bits, s), (unsigned long long)(ns / 1000), batch);
	else
		snprintf(text, size, "%.*f Mpps (%.*f Mpkts %.3f Gbps in %llu usec) %.2f avg_batch",
			digits(mpps), mpps, digits(packets / 1e6), packets / 1e6,
			per(bits, s) / 1e9, (unsigned long long)(ns / 1000), batch);
}

void stats_speed(
	const struct stats *total, uint64_t ns, struct stats_style style, char *text, size_t size)
{
	double packets = (double)total->packets, s = (double)ns / 1e9;
	double bps = per(bits_of(packets, (double)total->bytes, style.framing), s);
	double raw = per(bits_of(packets, (double)total->bytes, true), s);
	double pps = per(packets, s), batch = per(packets, (double)total->batches);

	if (style.raw)
		snprintf(text, size,
			"Speed: %.0f pps Bandwidth: %.0f bps (raw %.0f bps). Average batch: %.2f packets",
			pps, bps, raw, batch);
	else
		snprintf(text, size,
			"Speed: %.*f Mpps Bandwidth: %.*f Gbps (raw %.*f Gbps). Average batch: %.2f packets",
			digits(pps / 1e6), pps / 1e6, digits(bps / 1e9), bps / 1e9,
			digits(raw / 1e9), raw / 1e9, batch);
}

void window_add(struct stats_window *w, double rate)
{
	w->rate[w->next] = rate;
	w->next = (w->next + 1) % STATS_WINDOW;
	if (w->count < STATS_WINDOW)
		w->count++;
}

void window_text(const struct stats_window *w, struct stats_style style, char *text, size_t size)
{
	double sum = 0, squares = 0, mean, deviation, unit = style.raw ? 1 : 1e6;

	for (unsigned int i = 0; i < w->count; i++)
		sum += w->rate[i];
	mean = per(sum, w->count);
	for (unsigned int i = 0; i < w->count; i++)
		squares += (w->rate[i] - mean) * (w->rate[i] - mean);
	deviation = sqrt(per(squares, w->count));
	snprintf(text, size, " [mean %.*f stddev %.*f %s]", style.raw ? 0 : 6, mean / unit,
		style.raw ? 0 : 6, deviation / unit, style.raw ? "pps" : "Mpps");
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
