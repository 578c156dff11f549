/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * packet.h - the frames that pkt-gen makes and recognises.
 *
 * An Ethernet frame with IPv4 or IPv6 and UDP, checksums correct. Numbered frames (tx
 * --check, ping, pong) carry a stamp in front of their payload, big-endian; it
 * ends at byte 60, so that the shortest frame has room for it (with IPv6, where all of
 * UDP is OFS_V6 bytes further, at byte 80):
 *
 *	42  kind, 16 bits: STAMP_*
 *	44  stream, 8 bits: thread of the sender
 *	45  number in the stream, 40 bits
 *	50  time of sending, 48 bits, ns of the sender's monotonic clock
 *	56  sum, 32 bits: over the frame, without this field and the UDP checksum
 *
 * and, in each further 64 bytes, a word made from the number, so that a frame put
 * together from two is found out.
 *
 * Thread safety: a struct packet belongs to one thread; the rest are pure functions.
 */
#ifndef PKTGEN_PACKET_H
#define PKTGEN_PACKET_H

#include <stdbool.h>
#include <stdint.h>

#include "options.h"

enum {
	OFS_ETHERTYPE = 12,
	OFS_IP = 14,
	OFS_UDP = 34,
	OFS_UDP_SUM = 40,
	OFS_STAMP = 42,
	OFS_TIME = 50,
	OFS_SUM = 56,
	OFS_FILL = 60,
	OFS_V6 = 20, /* add to those from OFS_UDP on */
};

enum stamp_kind { STAMP_DATA = 0x6e44, STAMP_PING = 0x6e50, STAMP_PONG = 0x6e51 };

enum { STAMP_STREAMS = 256 };
#define STAMP_SEQ_MASK 0xffffffffffULL

/* A frame to be sent over and over, with changing addresses. */
struct packet {
	uint8_t bytes[GEN_LEN_MAX];
	uint32_t len;
	const struct gen_options *o;
	gen_ip ip[2];     /* now: source, destination */
	uint16_t port[2]; /* now */
	bool changes;     /* the ranges hold more than one, or addresses are random */
	uint32_t udp;     /* where the UDP header begins */
	uint32_t udp_sum; /* of what doesn't change */
	uint64_t random;  /* state */
};

/* A frame, as recognised. */
enum packet_kind {
	PACKET_OTHER,   /* not from a pkt-gen that numbers */
	PACKET_CORRUPT, /* it was, but its sums don't fit */
	PACKET_GOOD,
};

struct packet_info {
	enum stamp_kind kind;
	uint8_t stream;
	uint64_t seq;  /* 40 bits */
	uint64_t time; /* ns, 48 bits */
};

/* The first frame of the ranges, unnumbered, checksums in place. */
void packet_init(struct packet *p, const struct gen_options *o, const uint8_t src_mac[6]);

/* Goes on to the next addresses: ports first, then addresses; or to random ones. */
void packet_next(struct packet *p);

/* Makes the frame len bytes long: at most o->len, and not shorter than its headers. */
void packet_set_len(struct packet *p, uint32_t len);

/* A random number below `below` (not 0). */
uint32_t packet_random(struct packet *p, uint32_t below);

/* Writes the stamp and the sums into a frame of len bytes, 60 or more. */
void packet_stamp(uint8_t *frame, uint32_t len, const struct packet_info *info);

/*
 * What the len bytes at frame are; *info is filled in if PACKET_GOOD. A frame
 * whose stamp is damaged counts as corrupt, not as other, when it has the MAC
 * addresses and the length of `like` (NULL: no such frame is known).
 */
struct packet_like {
	uint8_t macs[12];
	uint32_t len;
};
enum packet_kind packet_read(const uint8_t *frame, uint32_t len, const struct packet_like *like,
	struct packet_info *info);

/* Turns a good PING into the PONG that goes back. */
void packet_turn(uint8_t *frame, uint32_t len, const struct packet_info *info);

#endif
