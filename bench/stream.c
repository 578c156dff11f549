/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * One stream through VALE between two passed-through ports, at native speed.
 *
 *      stream NETMAPD [--len BYTES] [--batch PACKETS] [--seconds N] [--profile FILE]
 *
 * Starts netmapd with one worker and plays QEMU and both guests' drivers in one thread (real
 * vfio-user sockets, CSB, kicks, interrupts): sends a batch on one port, takes what has come
 * on the other. Prints packets per second as the receiver counts them, and what the switch
 * dropped. With --profile, netmapd runs under perf record.
 */
#include "proto_client.h"
#include "vfio_guest.h"

#include <errno.h>
#include <getopt.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

struct stream {
	const char *netmapd, *profile;
	uint32_t len, batch, seconds;
	char dir[32], socket[64];
	pid_t pid;
	int vms[2];
	struct vg *vg[2];
	struct vg_port *port[2];
};

static void __attribute__((noreturn)) die(const char *what, int error)
{
	fprintf(stderr, "stream: %s: %s\n", what, strerror(-error));
	exit(1);
}

static double now(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (double)ts.tv_sec + (double)ts.tv_nsec / 1e9;
}

static void start_netmapd(struct stream *s)
{
	strcpy(s->dir, "/tmp/ptnetmap-bench-XXXXXX");
	if (!mkdtemp(s->dir))
		die("temporary directory", -errno);
	snprintf(s->socket, sizeof(s->socket), "%s/socket", s->dir);
	s->pid = fork();
	if (s->pid == 0) {
		if (s->profile)
			execlp("perf", "perf", "record", "-q", "-e", "cpu-clock", "-F", "5000",
				"-o", s->profile, "--", s->netmapd, "--socket", s->socket,
				"--workers", "1", "--log-level", "warning", NULL);
		else
			execl(s->netmapd, "netmapd", "--socket", s->socket, "--workers", "1",
				"--log-level", "warning", NULL);
		_exit(127);
	}
	for (int i = 0; i < 200 && access(s->socket, F_OK) != 0; i++)
		usleep(20000);
}

/* Each port belongs to a machine of its own: packets are copied between regions. */
static void add_machine(struct stream *s, int i)
{
	struct nmd_vm_create create = {0};
	struct nmd_vm_create_reply created;
	struct nmd_vm_add_port add = {0};
	struct nmd_vm_add_port_reply port;
	char err[NMD_TEXT_MAX];
	struct nmd_hello hello;
	int error;

	s->vms[i] = nmd_connect(s->socket, &hello, err);
	if (s->vms[i] < 0)
		die(err, s->vms[i]);
	nmd_hdr_init(&create.hdr, NMD_VM_CREATE, sizeof(create));
	error = nmd_call(s->vms[i], &create, &created, sizeof(created), err);
	if (error)
		die(err, error);
	nmd_hdr_init(&add.hdr, NMD_VM_ADD_PORT, sizeof(add));
	snprintf(add.ifname, sizeof(add.ifname), "vale1:%d0", i + 1);
	error = nmd_call(s->vms[i], &add, &port, sizeof(port), err);
	if (error)
		die(err, error);
	error = vg_new(16 << 20, &s->vg[i]);
	if (!error)
		error = vg_add_mem(s->vg[i], port.mem_path, NULL);
	if (!error)
		error = vg_add_port(s->vg[i], port.net_path, &s->port[i]);
	if (!error)
		error = vg_probe(s->port[i], 0);
	if (!error)
		error = vg_start(s->port[i], 0);
	if (error)
		die("device", error);
}

/* Ethernet header and some content into every tx buffer, once. */
static void fill_buffers(struct vg_ring *tx, const uint8_t *to, const uint8_t *from, uint32_t len)
{
	for (uint32_t i = 0; i < tx->csb.num_slots; i++) {
		struct netmap_slot *slot = &tx->ring->slot[i];
		char *buf = vg_buf(tx, slot);

		memset(buf, 0x5a, len);
		memcpy(buf, to, 6);
		memcpy(buf + 6, from, 6);
		buf[12] = 0x08;
		buf[13] = 0x00;
		slot->len = (uint16_t)len;
		slot->flags = 0;
	}
}

/* The receiver's address gets known to the switch, so that the stream is unicast. */
static void announce(struct stream *s)
{
	uint8_t frame[60] = {0xff, 0xff, 0xff, 0xff, 0xff, 0xff};
	struct vg_ring *tx = &s->port[1]->rings[0];

	memcpy(frame + 6, s->port[1]->mac, 6);
	if (vg_put(tx, frame, sizeof(frame)) != 0 || vg_sync(tx) != 0)
		die("announcement", -EIO);
	usleep(100000);
}

static uint64_t run(struct stream *s, double *seconds)
{
	struct vg_ring *tx = &s->port[0]->rings[0];
	struct vg_ring *rx = &s->port[1]->rings[s->port[1]->tx_rings];
	volatile uint8_t touched = 0;
	double start = now(), end = start + s->seconds;
	uint64_t received = 0;

	while (now() < end) {
		for (int round = 0; round < 64; round++) {
			uint32_t n = vg_avail(tx);

			if (n >= s->batch)
				vg_advance(tx, s->batch);
			n = vg_avail(rx);
			for (uint32_t i = 0; i < n; i++)
				touched += (uint8_t)*vg_buf(rx, vg_slot(rx, i));
			vg_advance(rx, n);
			received += n;
			if (vg_sync(tx) != 0 || vg_sync(rx) != 0)
				die("ring", -EPROTO);
		}
	}
	*seconds = now() - start;
	return received;
}

static void stop(struct stream *s)
{
	char path[128];

	for (int i = 0; i < 2; i++) {
		vg_free(s->vg[i]);
		close(s->vms[i]);
	}
	kill(s->pid, SIGTERM); /* perf passes it on by ending its child */
	waitpid(s->pid, NULL, 0);
	snprintf(path, sizeof(path), "%s.lock", s->socket);
	unlink(path);
	rmdir(s->dir);
}

static uint32_t number(const char *name, const char *text, uint32_t min, uint32_t max)
{
	char *end;
	unsigned long value = strtoul(text, &end, 10);

	if (*end || end == text || value < min || value > max) {
		fprintf(stderr, "stream: --%s: \"%s\" is not a number from %u to %u\n", name, text,
			min, max);
		exit(2);
	}
	return (uint32_t)value;
}

static void parse(struct stream *s, int argc, char **argv)
{
	static const struct option options[] = {{"len", 1, 0, 'l'}, {"batch", 1, 0, 'b'},
		{"seconds", 1, 0, 's'}, {"profile", 1, 0, 'p'}, {0}};
	int c;

	while ((c = getopt_long(argc, argv, "", options, NULL)) != -1) {
		if (c == 'l')
			s->len = number("len", optarg, 60, 2048);
		else if (c == 'b')
			s->batch = number("batch", optarg, 1, 1023);
		else if (c == 's')
			s->seconds = number("seconds", optarg, 1, 600);
		else if (c == 'p')
			s->profile = optarg;
		else
			exit(2);
	}
	if (optind + 1 != argc) {
		fprintf(stderr, "stream: one argument is wanted: the path of netmapd\n");
		exit(2);
	}
	s->netmapd = argv[optind];
}

int main(int argc, char **argv)
{
	struct stream s = {.len = 60, .batch = 256, .seconds = 3};
	double seconds;
	uint64_t received;

	parse(&s, argc, argv);
	start_netmapd(&s);
	add_machine(&s, 0);
	add_machine(&s, 1);
	fill_buffers(&s.port[0]->rings[0], s.port[1]->mac, s.port[0]->mac, s.len);
	announce(&s);
	received = run(&s, &seconds);
	printf("%u bytes, batches of %u: %.2f Mpps, %.1f ns per packet\n", s.len, s.batch,
		(double)received / seconds / 1e6, seconds * 1e9 / (double)received);
	stop(&s);
	return 0;
}
