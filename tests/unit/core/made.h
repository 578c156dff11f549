/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * made.h - packets for the tests of offload.h: made with all that may be in front of TCP and UDP, and
 * sent through the module, with every buffer just as long as it is said to be.
 *
 *      made_prng = prng_new(1);
 *      make(true, TCP, 3000);                         made: over IPv6, 3000 bytes of data
 *      vnet = vnet_of(NM_VNET_GSO_TCPV6, 1000);       what a sender says of it
 *      cause = finish_made(&vnet);                    -> made_frames[0 .. made_num_frames - 1]
 *      made_forget();
 *
 * Checksums are those of a reference that adds up byte by byte.
 *
 * Thread safety: none; the main thread's.
 */
#ifndef TESTS_UNIT_MADE_H
#define TESTS_UNIT_MADE_H

#include "offload.h"
#include "util.h"

enum { MADE_MOST = 70000, MADE_FRAMES_MOST = NM_OFFLOAD_SEGMENTS_MAX };

enum proto { TCP = 6, UDP = 17 };

struct made {
	uint8_t bytes[MADE_MOST];
	uint32_t len;
	uint32_t l3, l4, data; /* where IP, TCP or UDP, and the data begin */
	uint32_t fragment_at;  /* IPv6: where fragmentable headers begin */
	bool v6;
	enum proto proto;
};

struct made_frame {
	uint8_t *bytes;
	uint32_t len;
};

extern struct prng made_prng;
extern struct made made;                                /* by the last make() */
extern struct made_frame made_frames[MADE_FRAMES_MOST]; /* by the last finish() */
extern uint32_t made_num_frames;

/*
 * An Ethernet frame of up to two tags, IPv4 options or IPv6 extension headers, TCP options, and
 * `data` bytes. Lengths are right; the checksum of TCP or UDP is what a sender leaves: the sum
 * of the pseudo header.
 */
void make(bool v6, enum proto proto, uint32_t data);
struct nm_vnet_hdr vnet_of(uint8_t gso_type, uint16_t gso_size);

/* Through nm_offload_plan() and all that follows. */
enum nm_drop finish(const uint8_t *bytes, uint32_t len, const struct nm_vnet_hdr *vnet);
enum nm_drop finish_made(const struct nm_vnet_hdr *vnet);
void made_forget(void);

/* Big endian. */
void put16(uint8_t *p, uint32_t value);
uint32_t get16(const uint8_t *p);
uint32_t get32(const uint8_t *p);

/* Sum of 16-bit words, folded; of the pseudo header of an IP packet with `len` bytes of payload. */
uint32_t slow_sum(const uint8_t *p, uint32_t len, uint32_t sum);
uint32_t slow_pseudo(const uint8_t *ip, bool v6, enum proto proto, uint32_t len);

#endif
