/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The public headers keep the netmap ABI. The check is the compilation of
 * abi_layout.h; the program only reports it, and computes at run time what
 * assertions can't: the macros that applications use on a region.
 */
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <net/netmap.h>
#include <net/netmap_virt.h>
#include <net/netmap_user.h>
#include "abi_layout.h"

static int failures, number;

static void check(bool ok, const char *what)
{
	printf("%s %d - %s\n", ok ? "ok" : "not ok", ++number, what);
	failures += !ok;
}

/* A port with two tx rings and one rx ring; its rings follow it, a page each. */
static struct netmap_if *make_port(char *region)
{
	struct netmap_if *nifp = NETMAP_IF(region, 4096);

	nifp->ni_tx_rings = 2;
	nifp->ni_rx_rings = 1;
	nifp->ni_host_tx_rings = nifp->ni_host_rx_rings = 1;
	nifp->ring_ofs[0] = 4096;
	nifp->ring_ofs[1] = 8192;
	nifp->ring_ofs[3] = 12288;
	return nifp;
}

int main(void)
{
	char *region = aligned_alloc(4096, 65536);
	struct netmap_if *nifp;
	struct netmap_ring *ring;
	struct netmap_slot slot = {.buf_idx = 3, .ptr = 0xabcd0010};

	if (!region)
		return 1;
	memset(region, 0, 65536);
	printf("1..11\n");
	nifp = make_port(region);
	check((char *)NETMAP_TXRING(nifp, 1) == region + 12288, "NETMAP_TXRING");
	check((char *)NETMAP_RXRING(nifp, 0) == region + 16384,
		"NETMAP_RXRING skips the host ring");

	ring = NETMAP_RXRING(nifp, 0);
	ring->buf_ofs = 16384;
	ring->nr_buf_size = 2048;
	ring->num_slots = 8;
	ring->offset_mask = 0xff;
	check(NETMAP_BUF(ring, 3) == region + 32768 + 3 * 2048, "NETMAP_BUF");
	check(NETMAP_BUF_IDX(ring, NETMAP_BUF(ring, 3)) == 3, "NETMAP_BUF_IDX is its inverse");
	check(NETMAP_BUF_OFFSET(ring, &slot) == NETMAP_BUF(ring, 3) + 0x10, "NETMAP_BUF_OFFSET");
	NETMAP_WOFFSET(ring, &slot, 0x1220);
	check(slot.ptr == 0xabcd0020, "NETMAP_WOFFSET keeps the other bits");

	ring->head = 6;
	ring->tail = 2;
	check(nm_ring_space(ring) == 4, "nm_ring_space wraps");
	check(nm_ring_next(ring, 7) == 0 && nm_ring_next(ring, 3) == 4, "nm_ring_next");
	check(!nm_ring_empty(ring), "nm_ring_empty, no");
	ring->head = 2;
	check(nm_ring_empty(ring) && nm_ring_space(ring) == 0, "nm_ring_empty, yes");
	ring->head = 3;
	check(!nm_tx_pending(ring), "nm_tx_pending");
	free(region);
	return failures != 0;
}
