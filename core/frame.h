/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * frame.h - packets in pieces: read through a cursor, written into the pieces of another ring.
 *
 *      fragments of a sender                         pieces of a receiver
 *      | frag 0 | frag 1 |  frag 2  |   -cursor->    |  piece 0  |  piece 1  |
 *
 * slots.h makes fragments of the slots of a packet, and finds pieces for one. The bytes of both
 * lie in shared memory and may change at any moment: they are read once.
 *
 * Thread safety: pure functions on the caller's memory.
 */
#ifndef CORE_FRAME_H
#define CORE_FRAME_H

#include "checksum.h"
#include "os.h"

/* Bytes in a buffer of the sender. */
struct nm_frag {
	const char *buf; /* the first byte */
	uint32_t len;
	uint32_t buf_idx; /* of the buffer; only slots.h and those who exchange buffers ask */
};

/* Bytes in a buffer of the receiver. */
struct nm_piece {
	char *buf;
	uint32_t len;
	uint32_t buf_idx;
};

/* A position in the fragments of a packet. Nobody goes further than the packet's length. */
struct nm_cursor {
	const struct nm_frag *frag;
	uint32_t offset;
};

void nm_cursor_skip(struct nm_cursor *at, uint32_t bytes);
void nm_cursor_copy(struct nm_cursor *from, void *dst, uint32_t bytes);
void nm_cursor_sum(struct nm_cursor *from, struct nm_sum *sum, uint32_t bytes);

/* Writes private bytes from the first byte of the pieces on, which have room for them. */
void nm_pieces_put(const struct nm_piece *pieces, const void *bytes, uint32_t len);

/* Makes the pieces hold just so many bytes, which they take. Returns how many of them it needs, 1 at
 * least. */
static inline uint32_t nm_pieces_trim(struct nm_piece *pieces, uint32_t bytes)
{
	uint32_t n = 0;

	while (pieces[n].len < bytes)
		bytes -= pieces[n++].len;
	pieces[n].len = bytes;
	return n + 1;
}

/* A frame for the receiver: head, then bytes from .. from + len - 1 of the packet. */
struct nm_frame {
	const uint8_t *head; /* private memory, good until the next segment */
	uint32_t head_len;
	uint32_t from, len;
	/* The checksum of `seed` and the data behind its first csum_skip bytes goes to byte csum_at
	 * of the frame. */
	bool csum;
	uint32_t csum_skip, csum_at;
	uint64_t seed; /* as in struct nm_sum */
};

/* Writes a frame. The pieces have room for it: the sum of their len is head_len + len. */
void nm_frame_write(
	const struct nm_frame *frame, struct nm_cursor packet, const struct nm_piece *pieces);

#endif
