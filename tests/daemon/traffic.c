/* SPDX-License-Identifier: BSD-2-Clause */
#include "traffic.h"

#include <errno.h>
#include <sched.h>
#include <string.h>
#include <time.h>

enum { HEADER = 14, MIN_SIZE = 60, PACKET_ROOM = 2048, BATCH = 64 };

void flow_init(struct flow *f, struct vg_ring *tx, struct vg_ring *rx)
{
	memset(f, 0, sizeof(*f));
	f->tx = tx;
	f->rx = rx;
	f->window = 256;
	f->max_size = 1514;
	f->patience_s = 10;
}

/* The packet with this number: the same at both ends. */
static uint32_t make_packet(const struct flow *f, uint64_t number, uint8_t *packet)
{
	const uint32_t size = MIN_SIZE + (uint32_t)(number * 97 % (f->max_size - MIN_SIZE + 1));
	uint32_t i;

	uint8_t *eth = packet + f->hdr_len;

	memset(packet, 0, f->hdr_len);
	memcpy(eth, f->rx->port->mac, 6);
	memcpy(eth + 6, f->tx->port->mac, 6);
	eth[12] = 0x88;
	eth[13] = 0xb5; /* for local experiments */
	memcpy(eth + HEADER, &number, sizeof(number));
	for (i = HEADER + sizeof(number); i < size; i++)
		eth[i] = (uint8_t)(number + i * 7);
	return f->hdr_len + size;
}

static int send_some(struct flow *f, uint64_t limit)
{
	uint8_t packet[PACKET_ROOM];
	int count = 0, error;

	while (f->sent < limit && f->sent - f->received < f->window && vg_avail(f->tx) > 0 &&
		count < BATCH) {
		error = vg_put(f->tx, packet, make_packet(f, f->sent, packet));
		if (error)
			return error;
		f->sent++;
		count++;
	}
	error = vg_sync(f->tx);
	return error ? error : count;
}

static int receive_some(struct flow *f)
{
	uint8_t packet[PACKET_ROOM], want[PACKET_ROOM];
	int count = 0, error = vg_sync(f->rx);

	if (error)
		return error;
	while (vg_avail(f->rx) > 0) {
		const uint32_t size = make_packet(f, f->received, want);
		int got = vg_take(f->rx, packet, sizeof(packet));

		f->received++;
		count++;
		if (got != (int)size || memcmp(packet, want, size) != 0) {
			f->bad++;
			return -EBADMSG;
		}
	}
	error = vg_sync(f->rx);
	return error ? error : count;
}

int flow_step(struct flow *f, uint64_t limit)
{
	int sent = send_some(f, limit), received;

	if (sent < 0)
		return sent;
	received = receive_some(f);
	return received < 0 ? received : sent + received;
}

static time_t now_s(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec;
}

int flow_run(struct flow *f, uint64_t more)
{
	const uint64_t limit = f->sent + more;
	time_t last = now_s();

	while (f->received < limit) {
		int moved = flow_step(f, limit);

		if (moved < 0)
			return moved;
		if (moved > 0) {
			last = now_s();
			continue;
		}
		if (now_s() - last > f->patience_s)
			return -ETIMEDOUT;
		if (f->sleepy && (f->sent == limit || f->sent - f->received >= f->window))
			/* The window is full, or all is sent: what comes next is received. */
			moved = vg_wait(f->rx, f->patience_s * 1000);
		else
			sched_yield();
		if (moved < 0)
			return moved;
	}
	return 0;
}

/* Waits until the host has taken all that was published. */
static int finish_sending(const struct flow *f)
{
	struct vg_ring *tx = f->tx;
	const time_t start = now_s();
	int error;

	do {
		error = vg_sync(tx);
		if (!error && now_s() - start > f->patience_s)
			error = -ETIMEDOUT;
	} while (!error && tx->csb.hwcur != tx->head);
	return error;
}

/* Takes all that lies in the rx ring. 1: the mark was among it. */
static int take_until(struct vg_ring *rx, const uint8_t *mark, uint32_t size)
{
	uint8_t packet[PACKET_ROOM];
	int found = 0, error = vg_sync(rx);

	while (!error && !found && vg_avail(rx) > 0) {
		int got = vg_take(rx, packet, sizeof(packet));

		found = mark && got == (int)size && memcmp(packet, mark, size) == 0;
	}
	if (!error)
		error = vg_sync(rx);
	return error ? error : found;
}

/* For one packet, should the ring be full: a pipe's is until the other end gives back. */
static int make_room(struct flow *f, time_t start)
{
	int error;

	do {
		error = take_until(f->rx, NULL, 0);
		if (!error)
			error = vg_sync(f->tx);
		if (!error && now_s() - start > f->patience_s)
			error = -ETIMEDOUT;
	} while (!error && vg_avail(f->tx) == 0);
	return error;
}

int flow_settle(struct flow *f)
{
	const uint64_t number = (1ull << 63) + f->marks++;
	const time_t start = now_s();
	uint8_t mark[PACKET_ROOM];
	const uint32_t size = make_packet(f, number, mark);
	int found = 0, error = finish_sending(f);

	if (!error)
		error = make_room(f, start);
	if (!error)
		error = vg_put(f->tx, mark, size);
	if (!error)
		error = finish_sending(f);
	while (!error && !found) {
		found = take_until(f->rx, mark, size);
		if (found < 0)
			error = found;
		else if (!found && now_s() - start > 2 * f->patience_s)
			error = -ETIMEDOUT;
		else if (!found)
			sched_yield();
	}
	f->received = f->sent;
	return error;
}
