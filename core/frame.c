/* SPDX-License-Identifier: BSD-2-Clause */
#include "frame.h"

/* ---- packets in pieces ----------------------------------------------------------------- */

/* Bytes that lie in a row at a cursor, at most `want` (not 0). */
static uint32_t run_length(struct nm_cursor *at, uint32_t want)
{
	uint32_t n;

	while (at->offset >= at->frag->len) {
		at->offset -= at->frag->len;
		at->frag++;
	}
	n = at->frag->len - at->offset;
	return n < want ? n : want;
}

void nm_cursor_skip(struct nm_cursor *at, uint32_t bytes)
{
	while (bytes > 0) {
		uint32_t n = run_length(at, bytes);

		at->offset += n;
		bytes -= n;
	}
}

void nm_cursor_copy(struct nm_cursor *from, void *dst, uint32_t bytes)
{
	char *to = dst;

	while (bytes > 0) {
		uint32_t n = run_length(from, bytes);

		memmove(to, from->frag->buf + from->offset, n); /* a hostile slot may name dst */
		from->offset += n;
		to += n;
		bytes -= n;
	}
}

void nm_cursor_sum(struct nm_cursor *from, struct nm_sum *sum, uint32_t bytes)
{
	while (bytes > 0) {
		uint32_t n = run_length(from, bytes);

		nm_sum_add(sum, from->frag->buf + from->offset, n);
		from->offset += n;
		bytes -= n;
	}
}

/* ---- frames ------------------------------------------------------------------------------- */

/* Where the next byte of a frame goes. */
struct out_cursor {
	const struct nm_piece *piece;
	uint32_t offset;
};

static uint32_t room_at(struct out_cursor *to, uint32_t want)
{
	uint32_t n;

	while (to->offset >= to->piece->len) {
		to->offset -= to->piece->len;
		to->piece++;
	}
	n = to->piece->len - to->offset;
	return n < want ? n : want;
}

static void put(struct out_cursor *to, const uint8_t *bytes, uint32_t len)
{
	while (len > 0) {
		uint32_t n = room_at(to, len);

		memcpy(to->piece->buf + to->offset, bytes, n);
		to->offset += n;
		bytes += n;
		len -= n;
	}
}

void nm_pieces_put(const struct nm_piece *pieces, const void *bytes, uint32_t len)
{
	struct out_cursor to = {pieces, 0};

	put(&to, bytes, len);
}

static void copy_data(
	struct out_cursor *to, struct nm_cursor *from, uint32_t len, struct nm_sum *sum)
{
	while (len > 0) {
		uint32_t n = run_length(from, len);
		const char *src = from->frag->buf + from->offset;

		n = room_at(to, n);
		if (sum)
			nm_sum_copy(sum, to->piece->buf + to->offset, src, n);
		else
			memcpy(to->piece->buf + to->offset, src, n);
		from->offset += n;
		to->offset += n;
		len -= n;
	}
}

void nm_frame_write(
	const struct nm_frame *frame, struct nm_cursor packet, const struct nm_piece *pieces)
{
	uint32_t plain = frame->csum ? frame->csum_skip : frame->len;
	struct nm_sum sum = {.sum = frame->seed};
	struct out_cursor to = {pieces, 0};
	uint16_t result;

	put(&to, frame->head, frame->head_len);
	nm_cursor_skip(&packet, frame->from);
	copy_data(&to, &packet, plain, NULL);
	if (!frame->csum)
		return;
	copy_data(&to, &packet, frame->len - plain, &sum);
	result = nm_sum_finish(&sum);
	to = (struct out_cursor){pieces, frame->csum_at};
	put(&to, (const uint8_t *)&result, sizeof(result));
}
