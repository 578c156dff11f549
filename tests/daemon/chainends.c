/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * chainends: both ends of a chain of ports: numbered packets from each to the other at a time.
 *
 *      chainends PORT PORT COUNT
 *
 * Each packet says which buffer it lies in as it is sent. Writes "ok SAME SAME", how many came in that very buffer, from the first
 * to the second and back; or what is wrong, and exits with 1: a packet that is lost, comes twice, out of order, or is another one.
 */
#include <errno.h>
#include <poll.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <libnetmap.h>

#include "testprog.h"

enum {
	WINDOW = 300,         /* packets on their way: less than any ring holds */
	PATIENCE_MS = 120000, /* without any progress: only a failure takes so long */
	SHORTEST = 60,
	LONGEST = 1514,
};

struct msg {
	uint8_t dst[6], src[6], type[2];
	uint8_t way;
	uint32_t number, buf_idx;
} __attribute__((packed));

static struct end {
	struct nmport_d *d;
	struct netmap_ring *tx, *rx;
	uint32_t sent, received, same;
} ends[2];

static uint64_t now_ms(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000 + (uint64_t)ts.tv_nsec / 1000000;
}

/* Returns its length. */
static uint32_t make_packet(uint8_t *packet, uint8_t way, uint32_t number, uint32_t buf_idx)
{
	uint32_t len = SHORTEST + number * 2654435761u % (LONGEST - SHORTEST + 1);
	struct msg msg = {.way = way, .number = number, .buf_idx = buf_idx};

	memset(msg.dst, 0xff, sizeof(msg.dst));
	memcpy(msg.src, "\2chai", 5);
	msg.src[5] = way;
	msg.type[0] = 0x88;
	msg.type[1] = 0xb5;
	memcpy(packet, &msg, sizeof(msg));
	for (uint32_t i = sizeof(msg); i < len; i++)
		packet[i] = (uint8_t)(number + i * 7);
	return len;
}

static void open_end(struct end *end, const char *spec)
{
	end->d = nmport_open(spec);
	if (!end->d)
		fail("%s: %s", spec, strerror(errno));
	end->tx = NETMAP_TXRING(end->d->nifp, end->d->first_tx_ring);
	end->rx = NETMAP_RXRING(end->d->nifp, end->d->first_rx_ring);
	if (end->tx->num_slots <= WINDOW || end->rx->num_slots <= WINDOW)
		fail("%s: rings of %u and %u slots", spec, end->tx->num_slots, end->rx->num_slots);
}

static uint32_t send_some(struct end *end, const struct end *to, uint32_t count)
{
	struct netmap_ring *ring = end->tx;
	uint32_t n = 0;

	while (end->sent < count && end->sent - to->received < WINDOW && !nm_ring_empty(ring)) {
		struct netmap_slot *slot = &ring->slot[ring->head];

		slot->len = (uint16_t)make_packet((uint8_t *)NETMAP_BUF(ring, slot->buf_idx),
			(uint8_t)(end - ends), end->sent, slot->buf_idx);
		slot->flags = 0;
		ring->head = ring->cur = nm_ring_next(ring, ring->head);
		end->sent++;
		n++;
	}
	return n;
}

/* The packet is the next one, to the last byte. */
static void take(struct end *end, const struct netmap_slot *slot)
{
	const uint8_t *packet = (const uint8_t *)NETMAP_BUF(end->rx, slot->buf_idx);
	uint8_t right[LONGEST];
	struct msg msg;
	uint32_t len;

	memcpy(&msg, packet, sizeof(msg));
	len = make_packet(right, end == &ends[0], end->received, msg.buf_idx);
	if (slot->len != len || memcmp(packet, right, len) != 0)
		fail("%s: packet %u of way %u and %u bytes comes in the place of packet %u of %u bytes, or isn't whole",
			end->d->hdr.nr_name, msg.number, msg.way, slot->len, end->received, len);
	end->received++;
	end->same += msg.buf_idx == slot->buf_idx;
}

static uint32_t receive_some(struct end *end)
{
	struct netmap_ring *ring = end->rx;
	uint32_t n = 0;

	for (; !nm_ring_empty(ring); n++) {
		take(end, &ring->slot[ring->head]);
		ring->head = ring->cur = nm_ring_next(ring, ring->head);
	}
	return n;
}

static void sync_end(struct end *end)
{
	if (nmport_txsync(end->d) < 0 || nmport_rxsync(end->d) < 0)
		fail("%s: %s", end->d->hdr.nr_name, strerror(errno));
}

int main(int argc, char **argv)
{
	uint32_t count = argc == 4 ? (uint32_t)strtoul(argv[3], NULL, 10) : 0;
	uint64_t last = now_ms();

	if (count == 0)
		fail("usage: chainends PORT PORT COUNT");
	open_end(&ends[0], argv[1]);
	open_end(&ends[1], argv[2]);
	while (ends[0].received < count || ends[1].received < count) {
		uint32_t n =
			send_some(&ends[0], &ends[1], count) + send_some(&ends[1], &ends[0], count);

		sync_end(&ends[0]);
		sync_end(&ends[1]);
		n += receive_some(&ends[0]) + receive_some(&ends[1]);
		if (n > 0) {
			last = now_ms();
		} else if (now_ms() - last > PATIENCE_MS) {
			fail("lost: the first sent %u, the second has %u; back %u and %u",
				ends[0].sent, ends[1].received, ends[1].sent, ends[0].received);
		} else {
			struct pollfd p = {.fd = -1};

			(void)poll(&p, 0, 1);
		}
	}
	printf("ok %u %u\n", ends[1].same, ends[0].same);
	nmport_close(ends[1].d);
	nmport_close(ends[0].d);
	return 0;
}
