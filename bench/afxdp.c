/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Packets per second by a bare AF_XDP loop, the limit of what a NIC port of netmapd can do:
 *
 *      afxdp send|receive|forward INTERFACE [TO] BYTES SECONDS CPU [MODE]
 *
 * Queue 0 of the interface, in the best mode or the one that is named (zero-copy, native, generic). One thread: it sends frames
 * of BYTES as fast as they go; or it counts what comes, and gives the memory back; or it sends what comes at INTERFACE through
 * TO, from the memory that it came in, and back. Who wants something to be received runs another one that
 * sends, at the other end. No netmapd and no netmapd-nic: root. Prints JSON: packets per second.
 */
#include "testbed.h"

#include <errno.h>
#include <net/if.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "device.h"
#include "nic_connect.h"
#include "program.h"
#include "sockets.h"
#include "xsk.h"

enum { BATCH = 64, RING = 2048, CHUNK = 4096, CHUNKS = 4 * RING };

/* An interface with its socket. Chunks of all are in one memory. */
struct end {
	struct nic_facts facts;
	struct sockets sockets;
	int map, prog, link;
	struct xsk xsk;
	uint64_t free[CHUNKS];
	uint32_t num_free;
};

static struct {
	int memfd;
	char *memory;
	uint32_t bytes;
	double seconds;
	uint32_t mode; /* demanded */
	struct end end[2];
} g;

static void make_memory(void)
{
	size_t bytes = (size_t)CHUNK * CHUNKS;

	g.memfd = memfd_create("afxdp", MFD_CLOEXEC);
	if (g.memfd < 0 || ftruncate(g.memfd, (off_t)bytes) < 0)
		die("memory", errno);
	g.memory = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_POPULATE, g.memfd, 0);
	if (g.memory == MAP_FAILED)
		die("memory", errno);
}

static void give_up(const struct nm_error *err)
{
	die(err->text, -err->code);
}

/* One mode; false: the kernel doesn't grant it. */
static bool try_mode(struct end *e, uint32_t mode, struct nm_error *err)
{
	static const struct program_filter all;
	struct nic_open o = {.chunk = CHUNK,
		.umem_bytes = (uint64_t)CHUNK * CHUNKS,
		.fill = RING,
		.completion = RING,
		.rx = RING,
		.tx = RING};
	bool spoilt;

	e->sockets = (struct sockets){.count = 1};
	e->map = program_map(1);
	e->prog = e->map < 0 ? e->map : program_load(e->map, &all, NULL, false);
	if (e->prog < 0)
		die("program", -e->prog);
	e->link = program_attach(e->prog, e->facts.ifindex, mode == NIC_MODE_GENERIC);
	if (e->link < 0) {
		nm_error_set(err, e->link, "attaching: %s", strerror(-e->link));
		return false;
	}
	if (sockets_make(&e->sockets, e->facts.ifname, &o, g.memfd, err) != 0)
		give_up(err);
	if (sockets_bind(&e->sockets, &e->facts, mode, false, &spoilt, err) == 0 &&
		program_set(e->map, 0, e->sockets.fd[0]) == 0)
		return true;
	close(e->link);
	sockets_close(&e->sockets);
	if (spoilt)
		sockets_wait_gone(&e->facts, 0, 1);
	return false;
}

/* Chunks first and up are its own. */
static void open_end(struct end *e, const char *ifname, uint32_t first, uint32_t count)
{
	struct xsk_sizes sizes = {RING, RING, RING, RING};
	struct nm_error err;
	uint32_t mode = g.mode ? g.mode : NIC_MODE_ZEROCOPY;

	if (strlen(ifname) >= sizeof(e->facts.ifname))
		die(ifname, ENAMETOOLONG);
	strcpy(e->facts.ifname, ifname);
	if (device_facts(&e->facts, &err) != 0)
		give_up(&err);
	while (!try_mode(e, mode, &err))
		if (g.mode || ++mode == NIC_MODES)
			give_up(&err);
	g.mode = mode;
	if (xsk_init(&e->xsk, e->sockets.fd[0], 0, &sizes) != 0)
		die("rings", EIO);
	for (uint32_t i = 0; i < count; i++)
		e->free[e->num_free++] = (uint64_t)(first + i) * CHUNK;
}

/* ---- the loops ----------------------------------------------------------------------------------- */

static void refill(struct end *e)
{
	uint32_t n = xsk_room(&e->xsk.fill, e->num_free);

	for (uint32_t i = 0; i < n; i++)
		xsk_put_addr(&e->xsk.fill, i, e->free[--e->num_free]);
	if (n > 0)
		xsk_submit(&e->xsk.fill, n);
	if (xsk_needs_wakeup(&e->xsk.fill))
		xsk_kick_rx(&e->xsk);
}

/* Chunks that were sent become e's. */
static uint32_t complete(struct end *through, struct end *e)
{
	uint32_t n = xsk_peek(&through->xsk.completion, BATCH);

	for (uint32_t i = 0; i < n; i++)
		e->free[e->num_free++] =
			xsk_get_addr(&through->xsk.completion, i) & ~(uint64_t)(CHUNK - 1);
	xsk_release(&through->xsk.completion, n);
	return n;
}

static void kick(struct end *e)
{
	if (xsk_needs_wakeup(&e->xsk.tx))
		xsk_kick_tx(&e->xsk);
}

static uint64_t send_some(struct end *e)
{
	uint32_t n = xsk_room(&e->xsk.tx, e->num_free < BATCH ? e->num_free : BATCH);

	for (uint32_t i = 0; i < n; i++)
		xsk_put_desc(&e->xsk.tx, i, e->free[--e->num_free] + XSK_HEADROOM, g.bytes, 0);
	xsk_submit(&e->xsk.tx, n);
	kick(e);
	return complete(e, e);
}

static uint64_t receive_some(struct end *e)
{
	uint32_t n = xsk_peek(&e->xsk.rx, BATCH);

	for (uint32_t i = 0; i < n; i++)
		e->free[e->num_free++] = xsk_get_desc(&e->xsk.rx, i).addr & ~(uint64_t)(CHUNK - 1);
	xsk_release(&e->xsk.rx, n);
	refill(e);
	return n;
}

static uint64_t forward_some(struct end *from, struct end *to)
{
	uint32_t n = xsk_peek(&from->xsk.rx, xsk_room(&to->xsk.tx, BATCH));

	for (uint32_t i = 0; i < n; i++) {
		struct xdp_desc desc = xsk_get_desc(&from->xsk.rx, i);

		xsk_put_desc(&to->xsk.tx, i, desc.addr, desc.len, 0);
	}
	xsk_submit(&to->xsk.tx, n);
	xsk_release(&from->xsk.rx, n);
	if (xsk_pending(&to->xsk.tx) > 0)
		kick(to);
	n = complete(to, from);
	refill(from);
	return n;
}

static void run(const char *what)
{
	uint64_t count = 0, before = 0;
	double start = now_s(), warm = start + g.seconds / 5, end = start + g.seconds * 6 / 5, now;

	while ((now = now_s()) < end) {
		for (int i = 0; i < 64; i++)
			count += what[0] == 's'   ? send_some(&g.end[0])
				 : what[0] == 'r' ? receive_some(&g.end[0])
						  : forward_some(&g.end[0], &g.end[1]);
		if (count == 0) { /* who sends may start later */
			warm += now_s() - now;
			end += now_s() - now;
		}
		if (now < warm) {
			before = count;
			start = now;
		}
	}
	printf("{\"what\": \"%s\", \"mode\": \"%s\", \"packets\": %lu, \"seconds\": %.3f, \"value\": %.0f}\n",
		what, nic_mode_name(g.mode), count - before, now_s() - start,
		(double)(count - before) / (now_s() - start));
}

static void make_frames(void)
{
	static const uint8_t header[] = {2, 0, 0, 0, 0, 2, 2, 0, 0, 0, 0, 1, 0x88, 0xb5};

	for (uint32_t i = 0; i < CHUNKS; i++)
		memcpy(g.memory + (size_t)i * CHUNK + XSK_HEADROOM, header, sizeof(header));
}

static double number(const char *text)
{
	char *end;
	double n = strtod(text, &end);

	if (*end || end == text || n < -1 || n > 1e6)
		die(text, EINVAL);
	return n;
}

int main(int argc, char **argv)
{
	bool forwards = argc > 1 && strcmp(argv[1], "forward") == 0;
	int at = forwards ? 4 : 3;

	if (argc < at + 3 || argc > at + 4 ||
		(!forwards && strcmp(argv[1], "send") != 0 && strcmp(argv[1], "receive") != 0))
		die("usage: afxdp send|receive|forward INTERFACE [TO] BYTES SECONDS CPU [MODE]",
			EINVAL);
	g.bytes = (uint32_t)number(argv[at]);
	g.seconds = number(argv[at + 1]);
	if (g.bytes < 60 || g.bytes > CHUNK - XSK_HEADROOM)
		die("bytes", EINVAL);
	pin_to((int)number(argv[at + 2]));
	while (argc == at + 4 && g.mode < NIC_MODES &&
		strcmp(nic_mode_name(g.mode), argv[at + 3]) != 0)
		g.mode++;
	make_memory();
	make_frames();
	open_end(&g.end[0], argv[2], 0, forwards ? CHUNKS / 2 : CHUNKS);
	if (forwards)
		open_end(&g.end[1], argv[3], 0, 0);
	if (strcmp(argv[1], "send") != 0)
		refill(&g.end[0]);
	run(argv[1]);
	return 0;
}
