/* SPDX-License-Identifier: BSD-2-Clause */
#include "frames.h"

#include <stdio.h>

void frame_cut_parts(const struct worker *w, uint32_t room, struct cut *c)
{
	if (w->o->frags > 1) {
		c->slots = w->o->frags;
		c->part = w->o->frag_size ? w->o->frag_size : c->total / c->slots;
	} else {
		c->slots = (c->total + room - 1) / room;
		c->part = room;
	}
}

uint32_t cut_longest(const struct cut *c)
{
	uint32_t rest = c->total - c->part * (c->slots - 1);

	return c->slots > 1 && c->part > rest ? c->part : rest;
}

uint32_t frame_put_parts(const struct worker *w, struct netmap_ring *ring, uint32_t head,
	const uint8_t *frame, const struct cut *c)
{
	uint32_t left = c->total, hdr = w->hdr_len;

	for (uint32_t i = 0; i < c->slots; i++, head = nm_ring_next(ring, head)) {
		struct netmap_slot *slot = &ring->slot[head];
		uint32_t n = i + 1 < c->slots ? c->part : left;
		uint8_t *to = (uint8_t *)NETMAP_BUF_OFFSET(ring, slot);
		uint32_t clear = hdr < n ? hdr : n;

		left -= n;
		slot->len = (uint16_t)n;
		slot->flags = left ? NS_MOREFRAG : 0;
		if (!frame)
			continue;
		memset(to, 0, clear);
		memcpy(to + clear, frame, n - clear);
		hdr -= clear;
		frame += n - clear;
	}
	return head;
}

void frame_dump(const char *what, const uint8_t *frame, uint32_t len)
{
	printf("%s %u bytes\n", what, len);
	for (uint32_t i = 0; i < len; i += 16) {
		char line[80];
		int at = snprintf(line, sizeof(line), "%5u:", i);

		for (uint32_t k = i; k < i + 16; k++)
			at += snprintf(line + at, sizeof(line) - (size_t)at,
				k < len ? " %02x" : "   ", frame[k < len ? k : 0]);
		line[at++] = ' ';
		for (uint32_t k = i; k < i + 16 && k < len; k++)
			line[at++] = frame[k] >= ' ' && frame[k] < 127 ? (char)frame[k] : '.';
		line[at] = '\0';
		puts(line);
	}
}
