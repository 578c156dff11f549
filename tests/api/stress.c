/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * nmstress - many processes on few ports: opened, used, shared by fork, given up, killed.
 *
 *	nmstress [SECONDS [PROCESSES [SEED]]]
 *
 * Each process takes a random port out of `ports`, a switch with its ports, pipes of them
 * and monitors of both, does something with it for a moment, closes it, and starts again.
 * Some ask about ports that exist only for a moment, some fork with the port open, some that
 * have their rings for themselves write random values into slots and indices. The parent kills some at a random moment and starts
 * others in their place. At the end all are killed; whoever runs this then looks for what is
 * left. Prints what was done, and exits with 0 when every process was either killed by
 * the parent or ended well.
 *
 * Thread safety: processes only.
 */
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>
#include <libnetmap.h>

enum { PROCESSES_MAX = 64, LEN = 100 };

static const char *const ports[] = {
	"vales:a",
	"vales:b",
	"vales:c/x",
	"vales:d-1@conf:rings=2",
	"vales:a/T",
	"vales:a/R",
	"vales:a{p",
	"vales:a}p",
	"vales:a{q@conf:rings=2,slots=64",
	"vales:a}q",
	"netmap:base{r",
	"netmap:base}r",
	"vales:a/t",
	"vales:a/r",
	"vales:b/z",
	"vales:b/zt",
	"vales:g{h/x",
	"vales:g}h/x",
	"vales:a{p/t",
	"vales:a}p/zr",
	"vales:e@17",
	"vales:f@17",
	"vales:e{s@17",
	"vales:e}s@17",
	"vales:a/zr@conf:slots=32",
};
enum { PORTS = sizeof(ports) / sizeof(ports[0]) };

/* Shared by all processes. */
static struct {
	uint64_t opened, refused, sent, received, forked, killed, requests;
} * done;

static uint64_t seed;

static uint32_t random_below(uint32_t below)
{
	seed += 0x9e3779b97f4a7c15ULL;
	uint64_t x = seed;

	x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9ULL;
	x = (x ^ (x >> 27)) * 0x94d049bb133111ebULL;
	return (uint32_t)((x ^ (x >> 31)) % below);
}

static void count(uint64_t *what, uint64_t n)
{
	__atomic_fetch_add(what, n, __ATOMIC_RELAXED);
}

static uint64_t now_ms(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000 + (uint64_t)ts.tv_nsec / 1000000;
}

static void pause_us(long us)
{
	struct timespec ts = {us / 1000000, us % 1000000 * 1000};

	nanosleep(&ts, NULL);
}

/* ---- what a process does ---------------------------------------------------------------- */

static void send_some(struct nmport_d *d)
{
	uint8_t frame[LEN * 20];
	uint32_t n = random_below(64);

	memset(frame, 0x5a, sizeof(frame));
	memset(frame, random_below(2) ? 0xff : 2, 6);
	while (n--) {
		frame[5] = (uint8_t)random_below(8);
		frame[11] = (uint8_t)random_below(8);
		if (!nmport_inject(d, frame, LEN + random_below(19 * LEN)))
			break;
		count(&done->sent, 1);
	}
	nmport_txsync(d);
}

static void receive_some(struct nmport_d *d)
{
	nmport_rxsync(d);
	for (uint32_t i = d->first_rx_ring; i <= d->last_rx_ring; i++) {
		struct netmap_ring *ring = NETMAP_RXRING(d->nifp, i);
		uint32_t n = random_below(nm_ring_space(ring) + 1);

		count(&done->received, n);
		while (n--)
			ring->head = ring->cur = nm_ring_next(ring, ring->head);
	}
	nmport_rxsync(d);
}

/* A hostile application. */
static void scribble(struct nmport_d *d)
{
	struct netmap_ring *ring;
	bool tx = d->first_tx_ring <= d->last_tx_ring && random_below(2);

	if (!tx && d->first_rx_ring > d->last_rx_ring)
		return;
	ring = tx ? NETMAP_TXRING(d->nifp, d->first_tx_ring)
		  : NETMAP_RXRING(d->nifp, d->first_rx_ring);
	for (uint32_t i = 0; i < 20; i++) {
		struct netmap_slot *slot = &ring->slot[random_below(16)];

		slot->buf_idx = random_below(3) ? random_below(3000) : random_below(UINT32_MAX);
		slot->flags = (uint16_t)random_below(65536);
		slot->len = (uint16_t)random_below(65536);
	}
	ring->head = random_below(20);
	ring->cur = random_below(20);
	nmport_txsync(d);
	nmport_rxsync(d);
}

/* Another process goes on with the same port for a moment. */
static void share_by_fork(struct nmport_d *d)
{
	int pid = fork();

	if (pid < 0)
		return;
	count(&done->forked, 1);
	if (pid == 0) {
		nmport_rxsync(d);
		if (random_below(2))
			pause_us(random_below(5000));
		_exit(0);
	}
	if (random_below(4) == 0)
		kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
}

static void ask(struct nmport_d *d)
{
	struct nmreq_port_info_get info = {0};
	struct nmreq_vale_list list = {.nr_port_idx = random_below(4)};
	struct nmreq_port_hdr port_hdr = {.nr_hdr_len = random_below(2) * 12};
	struct nmreq_header hdr;

	switch (random_below(4)) {
	case 0:
		nmreq_header_init(&hdr, NETMAP_REQ_PORT_INFO_GET, &info);
		strcpy(hdr.nr_name, random_below(2) ? "vales:a" : "vales:tmp{1");
		break;
	case 1:
		nmreq_header_init(&hdr, NETMAP_REQ_PORT_HDR_SET, &port_hdr);
		strcpy(hdr.nr_name, "vales:b");
		break;
	default:
		nmreq_header_init(&hdr, NETMAP_REQ_VALE_LIST, &list);
	}
	nmport_request(d, &hdr);
	count(&done->requests, 1);
}

static void use(struct nmport_d *d)
{
	for (uint32_t n = random_below(30); n; n--) {
		switch (random_below(8)) {
		case 0:
			/* Not where others use the same rings; and afterwards they are not fit for use. */
			if (!(d->reg.nr_flags & NR_EXCLUSIVE) || random_below(2))
				break;
			scribble(d);
			return;
		case 1:
			if (random_below(3) == 0)
				share_by_fork(d);
			break;
		case 2:
			ask(d);
			break;
		case 3:
			nmport_poll(d, POLLIN | POLLOUT, (int)random_below(3));
			break;
		case 4:
		case 5:
			receive_some(d);
			break;
		default:
			send_some(d);
		}
	}
}

static void on_error(struct nmctx *ctx, const char *text)
{
	(void)ctx;
	(void)text;
}

/* Until it is killed. */
static void run(void)
{
	nmctx_get()->error = on_error;
	for (;;) {
		struct nmport_d *d = nmport_prepare(ports[random_below(PORTS)]);

		if (!d)
			_exit(3); /* the names are right */
		d->reg.nr_flags |= NR_ACCEPT_VNET_HDR;
		if (random_below(4) == 0)
			d->reg.nr_extra_bufs = random_below(20);
		if (nmport_open_desc(d) < 0) {
			count(&done->refused, 1);
		} else {
			count(&done->opened, 1);
			use(d);
		}
		nmport_close(d);
	}
}

/* ---- the parent --------------------------------------------------------------------------- */

static int start(void)
{
	uint32_t number = random_below(UINT32_MAX);
	int pid = fork();

	if (pid < 0) {
		perror("nmstress: fork");
		exit(1);
	}
	if (pid == 0) {
		seed = number;
		run();
	}
	return pid;
}

/* 0 if it ended as it should. */
static int finish(int pid)
{
	int status;

	kill(pid, SIGKILL);
	if (waitpid(pid, &status, 0) != pid)
		return 1;
	if (WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL)
		return 0;
	printf("a process ended with status %#x\n", status);
	return 1;
}

static long argument(int argc, char **argv, int i, long standard, long max)
{
	char *end;
	long n;

	if (argc <= i)
		return standard;
	n = strtol(argv[i], &end, 10);
	if (*end || n < 1 || n > max) {
		fprintf(stderr, "nmstress: '%s' is not in 1..%ld\n", argv[i], max);
		exit(2);
	}
	return n;
}

int main(int argc, char **argv)
{
	long seconds = argument(argc, argv, 1, 8, 3600);
	long processes = argument(argc, argv, 2, 8, PROCESSES_MAX);
	uint64_t end = now_ms() + (uint64_t)seconds * 1000;
	int pid[PROCESSES_MAX], failures = 0;

	seed = (uint64_t)argument(argc, argv, 3, 4711, 1000000000);
	done = mmap(NULL, sizeof(*done), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (done == MAP_FAILED) {
		perror("nmstress: mmap");
		return 1;
	}
	for (long i = 0; i < processes; i++)
		pid[i] = start();
	while (now_ms() < end && !failures) {
		uint32_t i = random_below((uint32_t)processes);

		pause_us(random_below(40000));
		failures += finish(pid[i]);
		count(&done->killed, 1);
		pid[i] = start();
	}
	for (long i = 0; i < processes; i++)
		failures += finish(pid[i]);
	printf("opened %llu refused %llu sent %llu received %llu requests %llu forked %llu killed %llu\n",
		(unsigned long long)done->opened, (unsigned long long)done->refused,
		(unsigned long long)done->sent, (unsigned long long)done->received,
		(unsigned long long)done->requests, (unsigned long long)done->forked,
		(unsigned long long)done->killed);
	/* A world in which nothing could be opened was not tried. */
	if (!done->opened || !done->sent || !done->received)
		failures++;
	return failures ? 1 : 0;
}
