/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * nicuse: uses a network interface through nic_client.h and xsk.h as netmapd does, for the tests of netmapd-nic.
 *
 *      nicuse INTERFACE [NAME=VALUE…]      socket=PATH user=UID mode=any|zero-copy|native|generic sg=1 ring=N queues=N first=N
 *                                          chunk=N buffers=N pass=BITS ip4=A.B.C.D ip6=32 HEX DIGITS busy=US promisc=0 echo=1
 *
 * Each thing that comes is a line on stdout: "known …", "opened QUEUES", "bound MODE QUEUES WHY", "changed …", "failed ERRNO TEXT", "gone ERRNO".
 * It opens and binds by itself. Lines on stdin are what it is to do:
 *
 *      send COUNT BYTES    that many frames through each queue, in turn; writes "sent COUNT" when all are completed
 *      stats               "stats RECEIVED BYTES ECHOED BAD DROPPED": what came so far
 *      close               nic_link_close(); the program ends with gone()
 *
 * Received frames of type 0x88b5 are checked: a number behind the header says what each further byte is. Others are counted only.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "nic_client.h"
#include "nic_connect.h"
#include "nm_error.h"
#include "testprog.h"

enum { HEADER = 14, NUMBERED = HEADER + 4, BATCH = 64, TURN = 16 };

static struct {
	struct loop *loop;
	struct nic_link *link;
	struct nic_params params;
	uint32_t buffers;
	char *memory; /* the umem */
	const char *socket;
	uint32_t user;
	bool echo, stop;
	/* A chunk is free, or in one of the kernel's rings. */
	uint64_t *free;
	uint32_t num_free;
	uint64_t received, bytes, bad, echoed;
	uint32_t to_send, send_bytes, unsent, uncompleted, number;
	struct loop_handle *watched[NIC_QUEUES_MAX];
} app = {.buffers = 1024,
	.params = {.hardware = true, .chunk = 4096, .sizes = {256, 256, 256, 256}}};

static uint8_t pattern(uint32_t number, uint32_t at)
{
	return (uint8_t)(number * 31 + at);
}

/* ---- traffic --------------------------------------------------------------------------------- */

/* Half of the chunks are for sending. */
static void fill(struct xsk *s)
{
	uint32_t half = app.buffers / 2, spare = app.num_free > half ? app.num_free - half : 0;
	uint32_t n = xsk_room(&s->fill, spare < BATCH ? spare : BATCH);

	for (uint32_t i = 0; i < n; i++)
		xsk_put_addr(&s->fill, i, app.free[--app.num_free]);
	xsk_submit(&s->fill, n);
	if (xsk_needs_wakeup(&s->fill))
		xsk_kick_rx(s);
}

static void give_back(uint64_t addr)
{
	addr -= addr % app.params.chunk;
	if (app.num_free == app.buffers || addr / app.params.chunk >= app.buffers)
		fail("completion: of a chunk that nobody has");
	app.free[app.num_free++] = addr;
}

static void look(const struct xdp_desc *desc)
{
	const uint8_t *frame = (uint8_t *)app.memory + desc->addr;
	uint32_t number;

	app.received++;
	app.bytes += desc->len;
	if (desc->addr % app.params.chunk != XSK_HEADROOM)
		app.bad++;
	if (desc->len < NUMBERED || frame[12] != 0x88 || frame[13] != 0xb5)
		return;
	memcpy(&number, frame + HEADER, sizeof(number));
	for (uint32_t i = NUMBERED; i < desc->len; i++)
		if (frame[i] != pattern(ntohl(number), i)) {
			app.bad++;
			return;
		}
}

static bool send_back(struct xsk *s, const struct xdp_desc *desc)
{
	if (!app.echo || !xsk_room(&s->tx, 1))
		return false;
	xsk_put_desc(&s->tx, 0, desc->addr, desc->len, desc->options);
	xsk_submit(&s->tx, 1);
	app.echoed++;
	return true;
}

static void receive(struct xsk *s)
{
	uint32_t n;

	while ((n = xsk_peek(&s->rx, BATCH)) > 0) {
		for (uint32_t i = 0; i < n; i++) {
			struct xdp_desc desc = xsk_get_desc(&s->rx, i);

			look(&desc);
			if (!send_back(s, &desc))
				give_back(desc.addr);
		}
		xsk_release(&s->rx, n);
		fill(s);
	}
}

static void complete(struct xsk *s)
{
	uint32_t n = xsk_peek(&s->completion, BATCH);

	for (uint32_t i = 0; i < n; i++)
		give_back(xsk_get_addr(&s->completion, i));
	xsk_release(&s->completion, n);
	if (app.uncompleted > 0 && !app.echo) {
		app.uncompleted -= n;
		if (app.uncompleted == 0) {
			printf("sent %u\n", app.to_send);
			fflush(stdout);
		}
	}
}

static void make_frame(uint8_t *frame, uint32_t bytes)
{
	uint32_t number = app.number++, wire = htonl(number);

	memset(frame, 0xff, 6);
	memcpy(frame + 6, app.link->facts.mac, 6);
	frame[12] = 0x88;
	frame[13] = 0xb5;
	memcpy(frame + HEADER, &wire, sizeof(wire));
	for (uint32_t i = NUMBERED; i < bytes; i++)
		frame[i] = pattern(number, i);
}

static void transmit(struct xsk *s)
{
	/* A few per turn, so that all queues have some. */
	for (int i = 0; i < TURN && app.unsent > 0 && app.num_free > 0 && xsk_room(&s->tx, 1);
		i++) {
		uint64_t addr = app.free[--app.num_free] + XSK_HEADROOM;

		make_frame((uint8_t *)app.memory + addr, app.send_bytes);
		xsk_put_desc(&s->tx, 0, addr, app.send_bytes, 0);
		xsk_submit(&s->tx, 1);
		app.unsent--;
	}
	if (xsk_pending(&s->tx) > 0)
		xsk_kick_tx(s);
}

static void serve(void)
{
	if (app.link->state != NIC_LINK_BOUND)
		return;
	for (uint32_t i = 0; i < app.link->num_queues; i++) {
		receive(&app.link->queues[i]);
		transmit(&app.link->queues[i]);
		complete(&app.link->queues[i]);
	}
}

/* ---- the link ---------------------------------------------------------------------------------- */

static void known(void *arg, struct nic_link *link)
{
	const struct nic_facts *f = &link->facts;

	printf("known %s driver %s mtu %u queues %u %u up %u carrier %u\n", f->ifname, f->driver,
		f->mtu, f->queues, f->tx_queues, f->up, f->carrier);
	nic_link_open(link, &app.params);
}

static void opened(void *arg, struct nic_link *link)
{
	printf("opened %u\n", link->num_queues);
	app.num_free = 0; /* what was posted before is ours again */
	for (uint32_t i = 0; i < app.buffers; i++)
		app.free[app.num_free++] = (uint64_t)i * app.params.chunk;
	/* Half of them for sending; the device wants as many as it can have before it starts. */
	for (uint32_t i = 0; i < link->num_queues; i++) {
		uint32_t keep = app.buffers - app.buffers / 2 / link->num_queues * (i + 1);

		while (app.num_free > keep && xsk_room(&link->queues[i].fill, 1))
			fill(&link->queues[i]);
	}
	nic_link_bind(link);
}

static void queue_ready(void *arg, uint32_t events)
{
	struct xsk *s = arg;

	if (events & (EPOLLERR | EPOLLHUP)) {
		printf("socket error\n");
		for (uint32_t i = 0; i < app.link->num_queues; i++)
			if (&app.link->queues[i] == s) {
				loop_del(app.loop, app.watched[i]);
				app.watched[i] = NULL;
			}
	}
}

static void bound(void *arg, struct nic_link *link)
{
	printf("bound %s %u %s\n", nic_mode_name(link->mode), link->num_queues, link->why);
	for (uint32_t i = 0; i < link->num_queues; i++)
		if (loop_add(app.loop, link->queues[i].fd, EPOLLIN, queue_ready, &link->queues[i],
			    &app.watched[i]) != 0)
			fail("loop: a queue");
}

static void changed(void *arg, struct nic_link *link)
{
	const struct nic_facts *f = &link->facts;

	printf("changed %s mtu %u queues %u %u up %u carrier %u\n", f->ifname, f->mtu, f->queues,
		f->tx_queues, f->up, f->carrier);
}

static void close_link(void)
{
	for (uint32_t i = 0; i < NIC_QUEUES_MAX; i++) {
		loop_del(app.loop, app.watched[i]);
		app.watched[i] = NULL;
	}
	if (app.link->state < NIC_LINK_DETACHING)
		nic_link_close(app.link);
}

static void failed(void *arg, struct nic_link *link, const struct nm_error *err)
{
	printf("failed %d %s\n", -err->code, err->text);
}

static void gone(void *arg, int error)
{
	printf("gone %d\n", -error);
	app.stop = true;
}

static const struct nic_link_ops ops = {.known = known,
	.opened = opened,
	.bound = bound,
	.changed = changed,
	.failed = failed,
	.gone = gone};

/* ---- orders ------------------------------------------------------------------------------------ */

static void order(void *arg, uint32_t events)
{
	char line[128];
	ssize_t n = read(STDIN_FILENO, line, sizeof(line) - 1);

	if (n <= 0)
		exit(0); /* netmapd dies, so to speak */
	line[n] = '\0';
	if (strncmp(line, "send ", 5) == 0) {
		char *rest = line + 5;

		app.to_send = app.unsent = app.uncompleted = (uint32_t)strtoul(rest, &rest, 10);
		app.send_bytes = (uint32_t)strtoul(rest, NULL, 10);
	} else if (strncmp(line, "stats", 5) == 0) {
		uint64_t dropped = 0;

		for (uint32_t i = 0; i < app.link->num_queues; i++) {
			struct xsk_stats stats;

			if (xsk_stats(&app.link->queues[i], &stats) == 0)
				dropped += stats.rx_dropped + stats.rx_ring_full + stats.fill_empty;
		}
		printf("stats %lu %lu %lu %lu %lu\n", app.received, app.bytes, app.echoed, app.bad,
			dropped);
	} else if (strncmp(line, "close", 5) == 0) {
		close_link();
	} else {
		fail("no such order: %s", line);
	}
}

static bool take_address(const char *name, const char *value)
{
	struct nic_params *p = &app.params;

	if (strcmp(name, "ip4") == 0)
		return inet_pton(AF_INET, value, p->ip4[p->num_ip4++]) == 1;
	if (strcmp(name, "ip6") == 0)
		return inet_pton(AF_INET6, value, p->ip6[p->num_ip6++]) == 1;
	return false;
}

static void take_option(const char *name, const char *value)
{
	struct nic_params *p = &app.params;
	uint32_t n = (uint32_t)strtoul(value, NULL, 0);

	if (strcmp(name, "socket") == 0)
		app.socket = value;
	else if (strcmp(name, "user") == 0)
		app.user = n;
	else if (strcmp(name, "mode") == 0)
		while (p->mode < NIC_MODES && strcmp(nic_mode_name(p->mode), value) != 0)
			p->mode++;
	else if (strcmp(name, "sg") == 0)
		p->sg = n;
	else if (strcmp(name, "ring") == 0)
		p->sizes = (struct xsk_sizes){n, n, n, n};
	else if (strcmp(name, "queues") == 0)
		p->num_queues = n;
	else if (strcmp(name, "first") == 0)
		p->first_queue = n;
	else if (strcmp(name, "chunk") == 0)
		p->chunk = n;
	else if (strcmp(name, "buffers") == 0)
		app.buffers = n;
	else if (strcmp(name, "pass") == 0)
		p->pass = n;
	else if (strcmp(name, "promisc") == 0)
		p->no_promisc = !n;
	else if (strcmp(name, "busy") == 0)
		p->busy_poll_us = p->busy_poll_budget = n;
	else if (strcmp(name, "echo") == 0)
		app.echo = n;
	else if (!take_address(name, value))
		fail("no such option: %s", name);
}

static void make_memory(void)
{
	uint64_t bytes = (uint64_t)app.buffers * app.params.chunk;
	int fd = memfd_create("nicuse", MFD_CLOEXEC | MFD_ALLOW_SEALING);

	if (fd < 0 || ftruncate(fd, (off_t)bytes) < 0 ||
		fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW) < 0)
		fail("memory: %s", strerror(errno));
	app.memory = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	app.free = calloc(app.buffers, sizeof(*app.free));
	if (app.memory == MAP_FAILED || !app.free)
		fail("memory: %s", strerror(errno));
	app.params.memory = fd;
	app.params.umem_bytes = bytes;
}

int main(int argc, char **argv)
{
	struct loop_handle *orders;
	struct nm_error err;

	if (argc < 2)
		fail("usage: nicuse INTERFACE [NAME=VALUE...]");
	app.user = getuid();
	for (int i = 2; i < argc; i++) {
		char *value = strchr(argv[i], '=');

		if (!value)
			fail("no NAME=VALUE: %s", argv[i]);
		*value = '\0';
		take_option(argv[i], value + 1);
	}
	make_memory();
	setvbuf(stdout, NULL, _IOLBF, 0);
	if (loop_new(&app.loop) != 0 ||
		loop_add(app.loop, STDIN_FILENO, EPOLLIN, order, NULL, &orders) != 0)
		fail("loop: %s", strerror(errno));
	app.link = nic_link_new(app.loop, app.socket, argv[1], app.user, &ops, NULL, &err);
	if (!app.link) {
		printf("failed %d %s\n", -err.code, err.text);
		return 1;
	}
	while (!app.stop) {
		loop_run_once(app.loop, 2);
		if (!app.stop)
			serve();
	}
	return 0;
}
