/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * offload.h - what a sender with a virtio-net header has left undone, done in software.
 *
 * A port with a virtio-net header may send packets that are not finished: the checksum
 * is a sum of the pseudo header only (NEEDS_CSUM), or the packet is larger than any
 * frame and says how to cut it (gso_type, gso_size). A receiver that has such a header
 * takes them as they are, but for those that only the sender knows (nm_port.knows). Else they are finished on the way into its buffers:
 *
 *      nm_offload_plan()      reads the headers, once, into private memory; checks them; says
 *                             how many segments there will be, and how long each is
 *      nm_offload_segment(i)  headers of segment i, and which bytes of the packet follow
 *      nm_frame_write()       both into the receiver's buffers (frame.h), summed on the way, and
 *                             the checksum behind it all
 *
 *      TCP over IPv4, IPv6   TSO: sequence numbers, FIN and PSH in the last, CWR in the first
 *      UDP                   USO (one datagram becomes many), UFO (one becomes IP fragments)
 *      anything              NEEDS_CSUM alone
 *
 * with up to two VLAN tags, IPv4 options, and IPv6 extension headers (hop-by-hop, routing
 * without segments left, destination options) as far as they fit NM_OFFLOAD_HEAD_MAX.
 *
 * All input is hostile: the virtio-net header, the packet's headers and every length in them,
 * and the packet changes while it is read. Nothing is read outside the packet, whatever they
 * say; offsets are compared in 32 bits, where sums of 16-bit fields can't wrap. What is wrong is
 * refused as NM_DROP_BAD_HEADER, what can't be done (unknown gso_type, AH, an IP fragment, more
 * than NM_OFFLOAD_SEGMENTS_MAX segments) as NM_DROP_OFFLOAD. A sender that changes a packet
 * while it is sent gets a wrong checksum, or mixed data: its own.
 *
 * Thread safety: pure functions on the caller's memory.
 */
#ifndef CORE_OFFLOAD_H
#define CORE_OFFLOAD_H

#include "frame.h"
#include "os.h"
#include "ring.h"

enum {
	NM_VNET_NEEDS_CSUM = 1, /* in flags; the others need no work */

	NM_VNET_GSO_NONE = 0, /* gso_type */
	NM_VNET_GSO_TCPV4 = 1,
	NM_VNET_GSO_UDP = 3, /* UFO: IP fragments */
	NM_VNET_GSO_TCPV6 = 4,
	NM_VNET_GSO_UDP_L4 = 5, /* USO: datagrams */
	NM_VNET_GSO_ECN = 0x80, /* with TCP */

	NM_OFFLOAD_HEAD_MAX = 256, /* bytes of headers, from Ethernet to TCP or UDP */
	NM_OFFLOAD_HEAD_LEN =
		NM_OFFLOAD_HEAD_MAX + 8, /* of a segment: with an IPv6 fragment header */
	NM_OFFLOAD_SEGMENTS_MAX = 2048,
};

/* nm_port.knows: what not everybody does who has a virtio-net header. */
enum {
	NM_KNOWS_USO = 1, /* UDP segmentation (NM_VNET_GSO_UDP_L4) */
	/* TCP segmentation of IP packets of more than 65535 bytes. What doesn't fit a length field makes it 0 (IPv4: total length, IPv6:
	 * payload length), and there is no jumbo option. */
	NM_KNOWS_BIG_TCP = 2,
};

/* The first 10 bytes of a virtio-net header, in the byte order of the machine. */
struct nm_vnet_hdr {
	uint8_t flags, gso_type;
	uint16_t hdr_len; /* a hint of the sender's; not used */
	uint16_t gso_size;
	uint16_t csum_start, csum_offset;
};

/* ---- segments --------------------------------------------------------------------------- */

struct nm_offload {
	uint32_t segments; /* 1: the packet as a whole, perhaps with its checksum completed */

	/* Private: how it is done. */
	uint8_t kind;    /* enum in offload.c */
	bool ipv6, csum; /* csum: to be computed */
	struct nm_cursor packet;
	uint32_t l3, l4;     /* where the IP and the TCP or UDP header begin */
	uint32_t cut;        /* data of the segments is packet bytes cut .. end - 1 */
	uint32_t end;        /* of the packet, padding left off */
	uint32_t step;       /* data bytes per segment; the last may have less */
	uint32_t head_len;   /* headers repeated in each segment */
	uint32_t first_more; /* UFO: bytes behind them that are in head for the first one */
	uint32_t csum_start, csum_at;
	uint32_t seq; /* TCP: of the first segment */
	uint16_t id;  /* IPv4: of the first segment */
	uint8_t tcp_flags;
	uint8_t head[NM_OFFLOAD_HEAD_LEN];
};

/*
 * `packet` stands at the Ethernet header of a packet of len bytes (at least 14). ident: a number for
 * IPv6 fragments that isn't used again soon. NM_DROPS when it can be done, else the cause.
 */
enum nm_drop nm_offload_plan(struct nm_offload *o, const struct nm_vnet_hdr *vnet,
	struct nm_cursor packet, uint32_t len, uint32_t ident);

/* Bytes of the longest segment (the first) and of the last. */
uint32_t nm_offload_longest(const struct nm_offload *o);
uint32_t nm_offload_last(const struct nm_offload *o);

/* Segment i, 0 <= i < segments, each once and in order. The packet's data is not read before: one
 * that is dropped since there is no room for it has cost no sum. */
void nm_offload_segment(struct nm_offload *o, uint32_t i, struct nm_frame *frame);

#endif
