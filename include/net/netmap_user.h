/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * net/netmap_user.h - rings, slots and buffers, as applications reach them.
 *
 * What: macros and functions to find the rings of a registered port, to walk
 *	them and to get at buffers; and, with NETMAP_WITH_LIBS defined before the
 *	include, the older nm_open() interface as static functions.
 * Why:	the region holds offsets, not pointers, for every process maps it at
 *	another address.
 * How:	NETMAP_IF(mem, req.nr_offset) gives the port, NETMAP_TXRING(nifp, i) a
 *	ring, NETMAP_BUF(ring, slot->buf_idx) a buffer. New programs open ports with
 *	libnetmap (libnetmap.h), which also works without /dev/netmap.
 *
 *	    while (!nm_ring_empty(ring)) {
 *		    struct netmap_slot *slot = &ring->slot[ring->head];
 *		    use(NETMAP_BUF_OFFSET(ring, slot), slot->len);
 *		    ring->head = ring->cur = nm_ring_next(ring, ring->head);
 *	    }
 *
 * Thread safety: nothing here locks. One thread at a time per ring; functions
 *	that take a nm_desc use all its rings.
 */
#ifndef _NET_NETMAP_USER_H_
#define _NET_NETMAP_USER_H_

#include <ctype.h>
#include <stdint.h>
#include <stddef.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/types.h>
#include <sys/time.h>
#include <net/if.h>
#include <net/netmap.h>

#define NETMAP_DEVICE_NAME "/dev/netmap"

/* Programs use these without a definition of their own. */
#ifndef likely
#define likely(x)   __builtin_expect(!!(x), 1)
#define unlikely(x) __builtin_expect(!!(x), 0)
#endif

/* Lines to stderr with the time and the place: D() always, RD() at most lps per second, ND() never.
 * For a program that includes stdio.h. */
#ifndef ND
#define ND(...) \
	do {    \
	} while (0)
#define D(format, ...)                                                                          \
	do {                                                                                    \
		struct timeval nm_now_;                                                         \
		gettimeofday(&nm_now_, NULL);                                                   \
		fprintf(stderr, "%03d.%06d %s [%d] " format "\n", (int)(nm_now_.tv_sec % 1000), \
			(int)nm_now_.tv_usec, __func__, __LINE__, ##__VA_ARGS__);               \
	} while (0)
#define RD(lps, format, ...)                            \
	do {                                            \
		static int nm_sec_, nm_lines_;          \
		struct timeval nm_rnow_;                \
		gettimeofday(&nm_rnow_, NULL);          \
		if (nm_sec_ != (int)nm_rnow_.tv_sec) {  \
			nm_sec_ = (int)nm_rnow_.tv_sec; \
			nm_lines_ = 0;                  \
		}                                       \
		if (nm_lines_++ < (lps))                \
			D(format, ##__VA_ARGS__);       \
	} while (0)
#endif

#ifdef __cplusplus
extern "C" {
#endif

#define _NETMAP_OFFSET(type, ptr, offset) ((type)(void *)((char *)(ptr) + (offset)))

/* The port at byte _ofs of the region mapped at _base. */
#define NETMAP_IF(_base, _ofs) _NETMAP_OFFSET(struct netmap_if *, _base, _ofs)

/* Ring number index; the host rings follow the others of their direction. */
#define NETMAP_TXRING(nifp, index) \
	_NETMAP_OFFSET(struct netmap_ring *, nifp, (nifp)->ring_ofs[index])
#define NETMAP_RXRING(nifp, index)                 \
	_NETMAP_OFFSET(struct netmap_ring *, nifp, \
		(nifp)->ring_ofs[(index) + (nifp)->ni_tx_rings + (nifp)->ni_host_tx_rings])

/* Buffer number index, and back. */
#define NETMAP_BUF(ring, index) \
	((char *)(ring) + (ring)->buf_ofs + (size_t)(index) * (ring)->nr_buf_size)
#define NETMAP_BUF_IDX(ring, buf) \
	((uint32_t)(((char *)(buf) - ((char *)(ring) + (ring)->buf_ofs)) / (ring)->nr_buf_size))

/* Offset of the data in the buffer of a slot (0 without the option OFFSETS), read and write. */
#define NETMAP_ROFFSET(ring, slot) ((slot)->ptr & (ring)->offset_mask)
#define NETMAP_WOFFSET(ring, slot, offset)                           \
	((void)((slot)->ptr = ((slot)->ptr & ~(ring)->offset_mask) | \
			      ((uint64_t)(offset) & (ring)->offset_mask)))

/* Where the data of a slot begins. */
#define NETMAP_BUF_OFFSET(ring, slot) \
	(NETMAP_BUF(ring, (slot)->buf_idx) + NETMAP_ROFFSET(ring, slot))

/* The slot after slot i. */
static inline uint32_t nm_ring_next(struct netmap_ring *ring, uint32_t i)
{
	return i + 1 == ring->num_slots ? 0 : i + 1;
}

/* Slots between head and tail: packets to read, or room to send. 0..num_slots - 1. */
static inline uint32_t nm_ring_space(struct netmap_ring *ring)
{
	uint32_t head = ring->head, tail = ring->tail;

	return tail >= head ? tail - head : tail + ring->num_slots - head;
}

/* Not 0 if the application owns no slot. */
static inline int nm_ring_empty(struct netmap_ring *ring)
{
	return ring->head == ring->tail;
}

/* Not 0 if a tx ring has slots that netmap has not taken back yet. */
static inline int nm_tx_pending(struct netmap_ring *ring)
{
	return nm_ring_next(ring, ring->tail) != ring->head;
}

/* Not 0 if [s, e) consists of letters, digits and _, as ids of switches and pipes do. */
static inline int nm_is_identifier(const char *s, const char *e)
{
	for (; s != e; s++)
		if (!isalnum((unsigned char)*s) && *s != '_')
			return 0;
	return 1;
}

/* Copy a packet of l bytes; the buffers must not overlap. */
static inline void nm_pkt_copy(const void *src, void *dst, int l)
{
	if (l > 0)
		memcpy(dst, src, (size_t)l);
}

#ifdef __cplusplus
}
#endif

#ifdef NETMAP_WITH_LIBS
#include <net/netmap_open.h>
#endif

#endif /* _NET_NETMAP_USER_H_ */
