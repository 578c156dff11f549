/* SPDX-License-Identifier: BSD-2-Clause */
#include "tap_io.h"

#include <stdio.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

enum {
	ETH_HEADER = 14,
	VLAN_TAGS = 8,  /* bytes of two */
	READS_MAX = 64, /* packets of one sync, so that other rings get their turn */
};

static void count_drop(struct nm_ring *ring, enum nm_drop cause)
{
	ring->stats.drops[cause]++;
}

/* ---- to the stack -------------------------------------------------------------------------- */

/* One packet on its way. */
struct packet {
	struct iovec iov[1 + NETMAP_MAX_FRAGS]; /* [0]: the header, where the port has none */
	uint32_t frags, len;
	enum nm_drop cause; /* NM_DROPS: it is good */
};

/* The packet that begins at slot *at, which moves behind it. False: its end is not there yet. */
static bool collect(struct nm_ring *ring, uint32_t *at, struct packet *p)
{
	uint32_t i = *at, slots = 0;
	struct nm_slot_copy slot;

	p->frags = p->len = 0;
	p->cause = NM_DROPS;
	do {
		uint64_t offset;

		if (i == ring->head)
			return false;
		slot = nm_slot_load(&ring->slots[i]);
		offset = nm_slot_offset(ring, &ring->slots[i]);
		i = nm_ring_advance(i, 1, ring->num_slots);
		if (++slots > NETMAP_MAX_FRAGS && p->cause == NM_DROPS)
			p->cause = NM_DROP_FRAGMENTS;
		if (p->cause == NM_DROPS)
			p->cause = nm_slot_check(ring, slot, offset);
		if (p->cause == NM_DROPS) {
			p->iov[1 + p->frags++] = (struct iovec){
				(char *)nm_region_buf(ring->region, slot.buf_idx) + offset,
				slot.len};
			p->len += slot.len;
		}
	} while (slot.flags & NS_MOREFRAG);
	*at = i;
	return true;
}

static enum nm_drop write_error(int error, uint32_t hdr_len)
{
	switch (error) {
	case EIO: /* the device is not up */
	case EBADFD:
	case ENETDOWN:
		return NM_DROP_LINK_DOWN;
	case EAGAIN:
	case ENOMEM:
	case ENOBUFS:
		return NM_DROP_NO_MEMORY;
	case EINVAL:
		return hdr_len ? NM_DROP_BAD_HEADER : NM_DROP_REFUSED;
	default:
		return NM_DROP_REFUSED;
	}
}

static enum nm_drop send_packet(int fd, struct packet *p, uint32_t hdr_len)
{
	static const char no_header[TAP_HDR_MIN];
	ssize_t n;

	if (p->len < hdr_len + ETH_HEADER)
		return NM_DROP_TOO_SHORT;
	p->iov[0] = (struct iovec){(void *)(uintptr_t)no_header, hdr_len ? 0 : TAP_HDR_MIN};
	do {
		n = writev(fd, p->iov, 1 + (int)p->frags);
	} while (n < 0 && errno == EINTR);
	return n < 0 ? write_error(errno, hdr_len) : NM_DROPS;
}

/* One slot of a packet whose beginning was dropped. False: there is none. */
static bool skip_slot(struct nm_ring *ring, uint32_t *at)
{
	if (!ring->dropping || *at == ring->head)
		return false;
	ring->dropping = (nm_slot_load(&ring->slots[*at]).flags & NS_MOREFRAG) ? 1 : 0;
	*at = nm_ring_advance(*at, 1, ring->num_slots);
	return true;
}

/* Will the unfinished packet from slot `at` on still be of use when its end comes? */
static bool worth_waiting(const struct nm_ring *ring, uint32_t at)
{
	uint32_t slots = nm_ring_distance(at, ring->head, ring->num_slots);

	return slots <= NETMAP_MAX_FRAGS && slots + 1 < ring->num_slots;
}

/* The number of a ring among those of its sort. */
static uint32_t number_of(const struct nm_ring *ring)
{
	return ring->host ? ring->id - ring->port->num_rings[ring->dir] : ring->id;
}

/* Where this ring's packets are written to. */
static int fd_of(const struct nm_ring *ring)
{
	const struct tap *tap = ring->port->priv;

	return tap->queues[number_of(ring) % tap->num_queues].fd;
}

int tap_txsync(struct nm_ring *ring)
{
	int fd = fd_of(ring);
	uint32_t hdr_len = OS_LOAD(&ring->port->hdr_len);
	uint32_t at = ring->hwcur;
	struct packet p;

	while (skip_slot(ring, &at))
		;
	while (at != ring->head) {
		if (!collect(ring, &at, &p)) {
			if (worth_waiting(ring, at))
				break;
			p.cause = NM_DROP_FRAGMENTS;
			ring->dropping = 1;
			at = ring->head;
		}
		ring->stats.packets++;
		if (p.cause == NM_DROPS)
			p.cause = send_packet(fd, &p, hdr_len);
		if (p.cause == NM_DROPS)
			ring->stats.bytes += p.len;
		else
			count_drop(ring, p.cause);
	}
	nm_ring_sent(ring, at);
	return 0;
}

/* ---- and back to it ------------------------------------------------------------------------ */

/* The packet that begins at slot *at of an rx ring. False: its end was not given back with it. */
static bool forward_packet(struct nm_ring *ring, uint32_t *at, int fd, uint32_t hdr_len)
{
	struct packet p;

	if (!collect(ring, at, &p)) {
		count_drop(ring, NM_DROP_FRAGMENTS);
		return false;
	}
	if (p.cause == NM_DROPS)
		p.cause = send_packet(fd, &p, hdr_len);
	if (p.cause != NM_DROPS)
		count_drop(ring, p.cause);
	return true;
}

/* Slots hwcur..head of an rx ring are about to be given back. */
static void forward(struct nm_ring *ring)
{
	uint32_t hdr_len = OS_LOAD(&ring->port->hdr_len), at = ring->hwcur;
	int fd;

	if (likely(!(OS_LOAD(&ring->shared->flags) & NR_FORWARD)))
		return;
	fd = fd_of(ring);
	while (at != ring->head) {
		struct netmap_slot *slot = &ring->slots[at];
		uint16_t flags = nm_slot_load(slot).flags;

		if (!(flags & NS_FORWARD)) {
			at = nm_ring_advance(at, 1, ring->num_slots);
			continue;
		}
		OS_STORE(&slot->flags, (uint16_t)(flags & ~NS_FORWARD));
		if (!forward_packet(ring, &at, fd, hdr_len))
			return;
	}
}

/* ---- from the stack ------------------------------------------------------------------------ */

/* Room in the ring for one packet: header (if the port has none), slots, scratch. */
struct room {
	struct iovec iov[2 + NETMAP_MAX_FRAGS];
	uint32_t slots, bytes;
	enum nm_drop limit; /* why it isn't larger */
	char hdr[TAP_HDR_MIN];
};

/* The largest packet that can come: bytes. */
static uint32_t longest(struct tap_queue *q, uint32_t hdr_len) OS_REQUIRES(TAP_QUEUE_LOCK)
{
	uint64_t now = os_time_s();
	struct ifreq ifr = {0};
	int fd;

	if (hdr_len)
		return 65536 + hdr_len;
	if (q->mtu_time == now && q->mtu)
		return q->mtu + ETH_HEADER + VLAN_TAGS;
	fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	memcpy(ifr.ifr_name, q->tap->ifname, sizeof(ifr.ifr_name));
	q->mtu = fd >= 0 && ioctl(fd, SIOCGIFMTU, &ifr) == 0 ? (uint32_t)ifr.ifr_mtu : 1500;
	q->mtu_time = now;
	if (fd >= 0)
		close(fd);
	return q->mtu + ETH_HEADER + VLAN_TAGS;
}

/* Where slot i can take bytes, and how many; false: the application wrote nonsense there. */
static bool slot_room(const struct nm_ring *ring, uint32_t i, struct iovec *iov)
{
	uint32_t index = OS_LOAD(&ring->slots[i].buf_idx);
	uint64_t offset = nm_slot_offset(ring, &ring->slots[i]);
	uint64_t size = ring->region->pool[NM_POOL_BUF].size, gap = ring->port->offsets.gap;

	if (!nm_region_buf_valid(ring->region, index) || gap >= size || offset >= size - gap)
		return false;
	iov->iov_base = (char *)nm_region_buf(ring->region, index) + offset;
	iov->iov_len = size - gap - offset;
	if (iov->iov_len > UINT16_MAX)
		iov->iov_len = UINT16_MAX; /* what the len of a slot can say */
	return true;
}

static void make_room(struct nm_ring *ring, uint32_t at, uint32_t free, uint32_t want,
	uint32_t hdr_len, char *scratch, struct room *room)
{
	room->slots = room->bytes = 0;
	room->iov[0] = (struct iovec){room->hdr, hdr_len ? 0 : TAP_HDR_MIN};
	room->limit = NM_DROP_TOO_LONG;
	while (room->bytes < want && room->slots < NETMAP_MAX_FRAGS) {
		if (room->slots == free) {
			room->limit = NM_DROP_RX_FULL;
			break;
		}
		if (!slot_room(ring, at, &room->iov[1 + room->slots])) {
			room->limit = NM_DROP_BAD_BUFFER;
			break;
		}
		room->bytes += (uint32_t)room->iov[1 + room->slots].iov_len;
		room->slots++;
		at = nm_ring_advance(at, 1, ring->num_slots);
	}
	room->iov[1 + room->slots] = (struct iovec){scratch, TAP_PACKET_MAX};
}

/* Describes a packet of `len` bytes that was read into the room; returns the slot behind it. */
static uint32_t fill_slots(struct nm_ring *ring, uint32_t at, const struct room *room, uint32_t len)
{
	uint32_t frags = 0, sum = 0;

	while (sum < len)
		sum += (uint32_t)room->iov[1 + frags++].iov_len;
	for (uint32_t i = 0; i < frags; i++) {
		uint32_t n = (uint32_t)room->iov[1 + i].iov_len;

		if (n > len)
			n = len;
		len -= n;
		OS_STORE(&ring->slots[at].len, (uint16_t)n);
		OS_STORE(&ring->slots[at].flags,
			(uint16_t)(frags << NS_PORT_SHIFT | (len ? NS_MOREFRAG : 0)));
		at = nm_ring_advance(at, 1, ring->num_slots);
	}
	return at;
}

/* The kernel fills the first 10 bytes of a header and skips the rest. */
static void clear_header(const struct room *room, uint32_t hdr_len)
{
	if (hdr_len > TAP_HDR_MIN && room->slots > 0 && room->iov[1].iov_len >= hdr_len)
		memset((char *)room->iov[1].iov_base + TAP_HDR_MIN, 0, hdr_len - TAP_HDR_MIN);
}

/* One packet into the ring, or dropped and counted. False: there was none. */
static bool read_packet(struct nm_ring *ring, struct tap_queue *q, uint32_t *at, uint32_t free,
	uint32_t want, uint32_t hdr_len) OS_REQUIRES(TAP_QUEUE_LOCK)
{
	struct room room;
	uint32_t len;
	ssize_t n;

	make_room(ring, *at, free, want, hdr_len, q->scratch, &room);
	clear_header(&room, hdr_len);
	do {
		n = readv(q->fd, room.iov, 2 + (int)room.slots);
	} while (n < 0 && errno == EINTR);
	if (n < (ssize_t)room.iov[0].iov_len + 1)
		return false;
	len = (uint32_t)n - (uint32_t)room.iov[0].iov_len;
	if (len > room.bytes) {
		count_drop(ring, room.limit);
		q->mtu = 0; /* perhaps it has changed */
		return true;
	}
	*at = fill_slots(ring, *at, &room, len);
	ring->stats.packets++;
	ring->stats.bytes += len;
	return true;
}

/* The queue is empty: the next packet is an event. */
static void wait_for_more(struct tap_queue *q)
{
	struct epoll_event event = {.events = EPOLLIN | EPOLLONESHOT, .data.ptr = q};

	OS_STORE_RELEASE(&q->ready, 0);
	epoll_ctl(q->tap->epoll, EPOLL_CTL_MOD, q->fd, &event);
}

/*
 * A packet is read when the longest that can come finds room, or half the ring is free: that
 * much is always free when a worker sleeps without having asked the application for a kick.
 */
static void receive(struct nm_ring *ring, struct tap_queue *q) OS_REQUIRES(TAP_QUEUE_LOCK)
{
	uint32_t hdr_len = OS_LOAD(&ring->port->hdr_len), at = ring->produce.hwtail;
	uint32_t size = ring->region->pool[NM_POOL_BUF].size, want = longest(q, hdr_len);
	uint32_t need = (want + size - 1) / size, reads = 0;

	if (need > (ring->num_slots + 1) / 2)
		need = (ring->num_slots + 1) / 2;
	for (; reads < READS_MAX; reads++) {
		uint32_t free =
			ring->num_slots - 1 - nm_ring_distance(ring->hwcur, at, ring->num_slots);

		if (free < need)
			break;
		if (!read_packet(ring, q, &at, free, want, hdr_len)) {
			wait_for_more(q);
			break;
		}
	}
	/* All were dropped: whoever serves the ring sees no work and sleeps, so the rest is an event. */
	if (reads == READS_MAX && at == ring->produce.hwtail)
		wait_for_more(q);
	OS_STORE_RELEASE(&ring->produce.hwtail, at);
}

void tap_set_reader(struct tap_queue *q, struct nm_ring *ring)
{
	if (OS_LOAD(&q->reader) == ring)
		return;
	tap_queue_lock(q);
	OS_STORE(&q->reader, ring);
	tap_queue_unlock(q);
	if (ring) /* what the former one has left is ready; else there will be an event */
		os_wakeup_signal(&ring->wakeup);
}

static bool has_packets_for(const struct tap_queue *q, const struct nm_ring *ring)
{
	return OS_LOAD_ACQUIRE(&q->ready) && OS_LOAD(&q->reader) == ring;
}

/* The end of waiting is an event. */
bool tap_wants_room(struct nm_ring *ring)
{
	const struct tap *tap = ring->port->priv;

	for (uint32_t i = 0; i < tap->num_queues; i++)
		if (has_packets_for(&tap->queues[i], ring))
			return true;
	return false;
}

static void read_queue(struct nm_ring *ring, struct tap_queue *q)
{
	if (!has_packets_for(q, ring))
		return;
	tap_queue_lock(q);
	if (q->reader == ring)
		receive(ring, q);
	tap_queue_unlock(q);
}

/* Of all queues those that are its own now; each is the first in its turn. */
static void read_queues(struct nm_ring *ring, struct tap *tap)
{
	uint32_t *turn = &tap->turn[number_of(ring)];

	for (uint32_t i = 0; i < tap->num_queues; i++)
		read_queue(ring, &tap->queues[(*turn + i) % tap->num_queues]);
	*turn = (*turn + 1) % tap->num_queues;
}

int tap_rxsync(struct nm_ring *ring)
{
	struct tap *tap = ring->port->priv;

	forward(ring);
	OS_STORE_RELEASE(&ring->hwcur, ring->head);
	if (ring->host)
		read_queues(ring, tap);
	else
		read_queue(ring, &tap->queues[ring->id]);
	ring->tail = ring->produce.hwtail;
	return 0;
}
