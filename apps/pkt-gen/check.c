/* SPDX-License-Identifier: BSD-2-Clause */
#include "check.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static struct seq *stream_of(struct check *c, uint8_t number)
{
	if (!c->stream[number])
		c->stream[number] = calloc(1, sizeof(struct seq));
	return c->stream[number];
}

enum packet_kind check_add(struct check *c, enum stamp_kind kind, const uint8_t *frame,
	uint32_t len, struct packet_info *info)
{
	enum packet_kind result = packet_read(frame, len, c->have_like ? &c->like : NULL, info);
	struct seq *s;

	if (result == PACKET_GOOD && info->kind != kind)
		result = PACKET_OTHER;
	if (result == PACKET_OTHER) {
		c->other++;
		return result;
	}
	s = result == PACKET_GOOD ? stream_of(c, info->stream) : NULL;
	if (!s) {
		c->no_memory |= result == PACKET_GOOD;
		c->corrupt++;
		return PACKET_CORRUPT;
	}
	if (!c->have_like || c->like.len != len || memcmp(c->like.macs, frame, 12) != 0) {
		memcpy(c->like.macs, frame, 12);
		c->like.len = len;
		c->have_like = true;
	}
	seq_add(s, info->seq);
	return result;
}

void check_sum(const struct check *c, uint64_t expected, struct check_sums *sums)
{
	uint64_t unique;

	memset(sums, 0, sizeof(*sums));
	for (unsigned int i = 0; i < STAMP_STREAMS; i++) {
		const struct seq *s = c->stream[i];

		if (!s)
			continue;
		sums->received += s->received;
		sums->lost += s->lost;
		sums->reordered += s->reordered;
		sums->duplicate += s->duplicate;
	}
	unique = sums->received - sums->duplicate;
	/* A corrupt packet leaves a gap in the numbers, but it is not lost. */
	sums->lost -= c->corrupt < sums->lost ? c->corrupt : sums->lost;
	sums->received += c->corrupt;
	sums->corrupt = c->corrupt;
	sums->other = c->other;
	/* What is missing before the first and after the last number shows only in the total. */
	if (expected > unique + c->corrupt && expected - unique - c->corrupt > sums->lost)
		sums->lost = expected - unique - c->corrupt;
}

bool check_passed(const struct check_sums *sums)
{
	return !sums->lost && !sums->reordered && !sums->duplicate && !sums->corrupt;
}

void check_text(const struct check_sums *s, char *text, size_t size)
{
	snprintf(text, size,
		"Check: received %llu lost %llu reordered %llu duplicate %llu corrupt %llu",
		(unsigned long long)s->received, (unsigned long long)s->lost,
		(unsigned long long)s->reordered, (unsigned long long)s->duplicate,
		(unsigned long long)s->corrupt);
}

void check_free(struct check *c)
{
	for (unsigned int i = 0; i < STAMP_STREAMS; i++)
		free(c->stream[i]);
	memset(c->stream, 0, sizeof(c->stream));
}
