/* SPDX-License-Identifier: BSD-2-Clause */
/* What is the same for all ports: packets, and the clock. */
#include "run_port.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <poll.h>
#include <string.h>
#include <time.h>

void put(struct port *p, uint32_t number)
{
	struct netmap_ring *ring = p->tx;
	struct netmap_slot *slot = &ring->slot[ring->head];
	char *buf = NETMAP_BUF(ring, slot->buf_idx);

	assert_false(nm_ring_empty(ring));
	memset(buf, 0xff, 12);
	buf[6] = 2; /* a source address */
	memcpy(buf + 14, &number, sizeof(number));
	slot->len = LEN;
	slot->flags = 0;
	ring->head = ring->cur = nm_ring_next(ring, ring->head);
}

uint32_t take(struct port *p)
{
	struct netmap_ring *ring = p->rx;
	uint32_t number;

	assert_false(nm_ring_empty(ring));
	memcpy(&number, NETMAP_BUF(ring, ring->slot[ring->head].buf_idx) + 14, sizeof(number));
	ring->head = ring->cur = nm_ring_next(ring, ring->head);
	return number;
}

double now(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (double)ts.tv_sec + (double)ts.tv_nsec / 1e9;
}

uint32_t wait_and_take(struct port *p)
{
	struct pollfd pfd = {.fd = p->fd, .events = POLLIN};

	while (nm_ring_empty(p->rx)) {
		assert_int_equal(poll(&pfd, 1, PATIENCE_MS), 1);
		assert_int_equal(pfd.revents, POLLIN);
	}
	return take(p);
}
