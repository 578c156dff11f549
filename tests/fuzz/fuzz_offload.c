/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Offload planning and segmentation: a packet with any virtio-net header, in fragments of any length, into
 * frames in pieces of any length. Every fragment and piece is heap memory just as long as it says.
 */
#include "offload.h"
#include "world.h"

enum { FRAGS_MOST = 16, PIECES_MOST = 16, LONG_BYTES = 66000, BIG_BYTES = 131072 };

void fuzz_begin(void)
{
}

static uint8_t packet[BIG_BYTES], whole[BIG_BYTES + NM_OFFLOAD_HEAD_MAX + 8];
static uint8_t cut[8]; /* where fragments and pieces end, by turns */

static uint32_t next_cut(uint32_t i, uint32_t left, bool last)
{
	uint32_t n = 1 + cut[i % sizeof(cut)] * (i % 3 ? 1U : 23U);

	return last || n > left ? left : n;
}

static void *exactly(uint32_t bytes)
{
	void *mem = malloc(bytes ? bytes : 1);

	fuzz_check(mem, "%u bytes", bytes);
	return mem;
}

static uint32_t make_frags(struct nm_frag *frags, uint32_t len)
{
	uint32_t at = 0, count = 0;

	do {
		uint32_t n = next_cut(count, len - at, count == FRAGS_MOST - 1);

		frags[count] = (struct nm_frag){.buf = exactly(n), .len = n};
		memcpy((char *)(uintptr_t)frags[count++].buf, packet + at, n);
		at += n;
	} while (at < len);
	return count;
}

/* The frame as a receiver has it. */
static void write_frame(const struct nm_frame *frame, const struct nm_frag *frags)
{
	uint32_t len = frame->head_len + frame->len, at = 0, count = 0;
	struct nm_piece pieces[PIECES_MOST];

	while (at < len) {
		uint32_t n = next_cut(count + 3, len - at, count == PIECES_MOST - 1);

		pieces[count++] = (struct nm_piece){.buf = exactly(n), .len = n};
		at += n;
	}
	nm_frame_write(frame, (struct nm_cursor){frags, 0}, pieces);
	at = 0;
	for (uint32_t i = 0; i < count; i++) {
		memcpy(whole + at, pieces[i].buf, pieces[i].len);
		at += pieces[i].len;
		free(pieces[i].buf);
	}
	/* Headers are whole, and data is the packet's but for a checksum. */
	fuzz_check(memcmp(whole, frame->head, frame->head_len < 12 ? frame->head_len : 12) == 0,
		"the addresses are other ones");
}

static void cut_up(struct nm_offload *o, const struct nm_frag *frags, uint32_t len)
{
	fuzz_check(o->segments >= 1 && o->segments <= NM_OFFLOAD_SEGMENTS_MAX, "%u segments",
		o->segments);
	for (uint32_t i = 0; i < o->segments; i++) {
		struct nm_frame frame;
		uint32_t bytes;

		nm_offload_segment(o, i, &frame);
		bytes = frame.head_len + frame.len;
		fuzz_check(frame.from <= len && frame.len <= len - frame.from,
			"segment %u is %u bytes from %u of %u", i, frame.len, frame.from, len);
		fuzz_check(bytes > 0 && bytes <= nm_offload_longest(o), "segment %u has %u bytes",
			i, bytes);
		fuzz_check(i + 1 < o->segments || bytes == nm_offload_last(o),
			"the last has %u bytes, not %u", bytes, nm_offload_last(o));
		write_frame(&frame, frags);
	}
}

void fuzz_one(struct fuzz_in *in)
{
	struct nm_frag frags[FRAGS_MOST];
	static struct nm_offload o;
	struct nm_vnet_hdr vnet;
	uint32_t len, count;
	uint8_t how = fuzz_u8(in);

	fuzz_bytes(in, &vnet, sizeof(vnet));
	fuzz_bytes(in, cut, sizeof(cut));
	len = world_packet(in, packet, WORLD_PACKET_MAX, 0);
	if (len < 14)
		return;
	if (how & 1) { /* as a sender says who wants it so: the largest packets, too */
		memset(packet + len, how, sizeof(packet) - len);
		if (how & 2)
			len = (how & 4 ? BIG_BYTES : LONG_BYTES) - fuzz_u16(in) % 1024;
		/* No length, of IPv4 or of IPv6, as packets have it that are too long for one. */
		if (how & 8)
			memset(packet + (how & 16 ? 16 : 18), 0, 2);
	}
	memset(&o, 0xa5, sizeof(o)); /* as it was left by another packet */
	count = make_frags(frags, len);
	if (nm_offload_plan(&o, &vnet, (struct nm_cursor){frags, 0}, len, 0x12345678) == NM_DROPS)
		cut_up(&o, frags, len);
	while (count > 0)
		free((void *)(uintptr_t)frags[--count].buf);
}
