/* SPDX-License-Identifier: BSD-2-Clause */
#include "tap_io.h"
#include "slots.h"

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
	nm_count(&ring->stats.drops[cause], 1);
}

/* ---- to the stack -------------------------------------------------------------------------- */

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

/* All of a packet; what was wrong with it before comes back. */
static enum nm_drop send_packet(
	const struct tap *tap, uint32_t queue, const struct nm_pkt *pkt, uint32_t hdr_len)
{
	static const char no_header[TAP_HDR_MIN];
	struct iovec iov[1 + NETMAP_MAX_FRAGS];
	ssize_t n;

	if (pkt->cause != NM_DROPS)
		return pkt->cause;
	if (pkt->bytes < hdr_len + ETH_HEADER)
		return NM_DROP_TOO_SHORT;
	if (unlikely(tap->longest && pkt->bytes > tap->longest))
		return NM_DROP_TOO_LONG;
	iov[0] = (struct iovec){(void *)(uintptr_t)no_header, hdr_len ? 0 : TAP_HDR_MIN};
	for (uint32_t i = 0; i < pkt->slots; i++)
		iov[1 + i] =
			(struct iovec){(void *)(uintptr_t)pkt->frags[i].buf, pkt->frags[i].len};
	do {
		n = writev(tap->queues[queue].fd, iov, 1 + (int)pkt->slots);
	} while (n < 0 && errno == EINTR);
	return n < 0 ? write_error(errno, hdr_len) : NM_DROPS;
}

/* The number of a ring among those of its sort. */
static uint32_t number_of(const struct nm_ring *ring)
{
	return ring->host ? ring->id - ring->port->num_rings[ring->dir] : ring->id;
}

/* Where this ring's packets are written to. */
static uint32_t queue_of(const struct nm_ring *ring)
{
	const struct tap *tap = ring->priv;

	return number_of(ring) % tap->num_queues;
}

int tap_txsync(struct nm_ring *ring)
{
	uint32_t queue = queue_of(ring);
	uint32_t hdr_len = OS_LOAD(&ring->port->hdr_len);
	struct nm_frag frags[NETMAP_MAX_FRAGS];
	struct nm_pkt pkt = {.frags = frags};
	uint32_t at = ring->hwcur;
	struct nm_slots slots;

	nm_slots_init_ring(&slots, ring, 0);
	while (nm_pkt_next(&slots, &at, ring->head, &pkt) != NM_PKT_PARTIAL) {
		enum nm_drop cause = send_packet(ring->priv, queue, &pkt, hdr_len);

		nm_count(&ring->stats.packets, 1);
		if (cause == NM_DROPS)
			nm_count(&ring->stats.bytes, pkt.bytes);
		else
			count_drop(ring, cause);
		at = pkt.next;
	}
	nm_ring_sent(ring, at);
	return 0;
}

/* ---- and back to it ------------------------------------------------------------------------ */

void tap_forward(struct nm_ring *ring, const struct tap *tap, uint32_t queue)
{
	uint32_t hdr_len = OS_LOAD(&ring->port->hdr_len), at = ring->hwcur;
	struct nm_frag frags[NETMAP_MAX_FRAGS];
	struct nm_pkt pkt = {.frags = frags};
	struct nm_slots slots;

	if (likely(!(OS_LOAD(&ring->shared->flags) & NR_FORWARD)))
		return;
	nm_slots_init_ring(&slots, ring, 0);
	while (nm_pkt_next_forward(&slots, &at, ring->head, &pkt)) {
		enum nm_drop cause = send_packet(tap, queue, &pkt, hdr_len);

		if (cause != NM_DROPS)
			count_drop(ring, cause);
		at = pkt.next;
	}
}

/* ---- from the stack ------------------------------------------------------------------------ */

/* The largest packet that can come: bytes. */
static uint32_t longest(struct tap_queue *q, uint32_t hdr_len) OS_REQUIRES(TAP_QUEUE_LOCK)
{
	uint64_t now = os_time_s();
	struct ifreq ifr = {0};
	int fd;

	if (hdr_len)
		return 65536 + hdr_len;
	if (q->tap->mtu)
		return OS_LOAD(q->tap->mtu) + ETH_HEADER + VLAN_TAGS;
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

/* One packet into the ring, or dropped and counted. False: there was none. */
static bool read_packet(struct nm_rxq *rx, struct tap_queue *q, uint32_t want, uint32_t hdr_len)
	OS_REQUIRES(NM_PRODUCE_LOCK) OS_REQUIRES(TAP_QUEUE_LOCK)
{
	static const char no_header[NM_PORT_HDR_MAX];
	char hdr[TAP_HDR_MIN]; /* of the kernel's, when the port has none */
	struct nm_piece pieces[NETMAP_MAX_FRAGS];
	struct iovec iov[2 + NETMAP_MAX_FRAGS];
	uint32_t count, room = 0, len;
	enum nm_drop limit = nm_rxq_reserve_some(rx, want, pieces, &count);
	ssize_t n;

	iov[0] = (struct iovec){hdr, hdr_len ? 0 : TAP_HDR_MIN};
	for (uint32_t i = 0; i < count; room += pieces[i++].len)
		iov[1 + i] = (struct iovec){pieces[i].buf, pieces[i].len};
	iov[1 + count] = (struct iovec){q->scratch, TAP_PACKET_MAX};
	if (room >= hdr_len) /* the kernel fills in 10 bytes of it, and passes over the rest */
		nm_pieces_put(pieces, no_header, hdr_len);
	do {
		n = readv(q->fd, iov, 2 + (int)count);
	} while (n < 0 && errno == EINTR);
	if (n < (ssize_t)iov[0].iov_len + 1)
		return false;
	len = (uint32_t)n - (uint32_t)iov[0].iov_len;
	if (len <= room) {
		nm_rxq_commit(rx, pieces, nm_pieces_trim(pieces, len), 0);
		return true;
	}
	count_drop(rx->ring, limit == NM_DROPS ? NM_DROP_TOO_LONG : limit);
	q->mtu = 0; /* perhaps it has changed */
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
	uint32_t hdr_len = OS_LOAD(&ring->port->hdr_len), want = longest(q, hdr_len);
	uint32_t size = ring->region->buf_room, need = (want + size - 1) / size;
	uint32_t reads = 0;
	struct nm_rxq rx;

	nm_rxq_alone(ring);
	nm_rxq_begin(&rx, ring);
	nm_rxq_look(&rx);
	if (need > (ring->num_slots + 1) / 2)
		need = (ring->num_slots + 1) / 2;
	for (; reads < READS_MAX && rx.room >= need; reads++) {
		if (!read_packet(&rx, q, want, hdr_len)) {
			wait_for_more(q);
			break;
		}
	}
	/* All were dropped: whoever serves the ring sees no work and sleeps, so the rest is an event. */
	if (reads == READS_MAX && rx.packets == 0)
		wait_for_more(q);
	nm_rxq_publish(&rx);
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
	const struct tap *tap = ring->priv;

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
	/* NOLINTNEXTLINE(clang-analyzer-core.DivideZero): a TAP has a queue at least */
	*turn = (*turn + 1) % tap->num_queues;
}

int tap_rxsync(struct nm_ring *ring)
{
	struct tap *tap = ring->priv;

	if (tap->taps)
		tap_forward(ring, tap, queue_of(ring));
	OS_STORE_RELEASE(&ring->hwcur, ring->head);
	if (ring->host)
		read_queues(ring, tap);
	else
		read_queue(ring, &tap->queues[ring->id]);
	return nm_ring_rxsync_produced(ring);
}
