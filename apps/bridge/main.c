/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * netmap-bridge: what one port receives, the other sends, both ways.
 *
 *	thread 0:  port 0 rx rings -> port 1 tx rings
 *	thread 1:  port 1 rx rings -> port 0 tx rings
 *
 * Each direction has a thread and descriptors of its own, for rx rings only and for tx
 * rings only, so that a thread waits for one thing at a time: packets, or room. Rx ring
 * i goes to tx ring i modulo their number, which keeps the order of a flow. Exit
 * status: 0; 1 for failures; 2 for wrong arguments.
 */
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/signalfd.h>
#include <time.h>
#include <unistd.h>
#include <libnetmap.h>

#include "common/report.h"
#include "move.h"
#include "options.h"

enum {
	WAIT_MS = 100,   /* how late a thread may notice the end */
	PENDING_MS = 1,  /* between syncs while packets have not left the tx rings */
	DRAIN_MS = 1000, /* for those, at the end */
};

struct direction {
	struct nmport_d *rx, *tx; /* NULL: the port can't do that */
	const char *from, *to;
	bool exchange;
	uint32_t burst;
	struct move_stats stats; /* written by the thread; `packets` is read by others meanwhile */
	pthread_t thread;
	bool runs;
	char err[768]; /* why it ended, if it failed */
};

const char report_name[] = "netmap-bridge";

static volatile bool stop;

static void sleep_ms(long ms)
{
	struct timespec ts = {ms / 1000, ms % 1000 * 1000000};

	nanosleep(&ts, NULL);
}

/* ---- a direction ---------------------------------------------------------------------- */

static uint32_t rings_of(uint16_t first, uint16_t last)
{
	return first > last ? 0 : (uint32_t)last - first + 1;
}

static void failed(struct direction *dir, const char *port, const char *what)
{
	snprintf(dir->err, sizeof(dir->err), "%.500s: %s: %s", port, what, strerror(errno));
}

/* One round over all rx rings. Returns packets moved; *full: some packet has no room. */
static uint64_t move_all(struct direction *dir, bool *full)
{
	struct nmport_d *rx = dir->rx, *tx = dir->tx;
	uint32_t outs = rings_of(tx->first_tx_ring, tx->last_tx_ring), i;
	uint64_t before = dir->stats.packets;

	*full = false;
	for (i = 0; i < rings_of(rx->first_rx_ring, rx->last_rx_ring); i++) {
		struct netmap_ring *in = NETMAP_RXRING(rx->nifp, rx->first_rx_ring + i);
		/* NOLINTNEXTLINE(clang-analyzer-core.DivideZero): open_half() refuses a port without */
		struct netmap_ring *out = NETMAP_TXRING(tx->nifp, tx->first_tx_ring + i % outs);

		if (move_packets(in, out, dir->burst, dir->exchange, &dir->stats) == MOVE_FULL)
			*full = true;
	}
	return dir->stats.packets - before;
}

static bool pending(struct nmport_d *d)
{
	for (uint32_t i = d->first_tx_ring; i <= d->last_tx_ring; i++)
		if (nm_tx_pending(NETMAP_TXRING(d->nifp, i)))
			return true;
	return false;
}

/* False: failed. */
static bool wait_for(struct direction *dir, struct nmport_d *d, short events, int ms)
{
	const char *port = d == dir->rx ? dir->from : dir->to;
	int n = nmport_poll(d, events, ms);

	if (n < 0 && errno != EINTR) {
		failed(dir, port, "poll");
		return false;
	}
	if (n > 0 && (n & (POLLERR | POLLHUP | POLLNVAL))) {
		snprintf(dir->err, sizeof(dir->err), "%.500s: the port is gone", port);
		return false;
	}
	return true;
}

static bool send_all(struct direction *dir)
{
	if (nmport_txsync(dir->tx) == 0)
		return true;
	failed(dir, dir->to, "txsync");
	return false;
}

/* Waits for packets, and meanwhile pushes on what the tx rings could not take at once. */
static bool wait_packets(struct direction *dir)
{
	int ms = WAIT_MS;

	if (pending(dir->tx)) {
		if (!send_all(dir))
			return false;
		if (pending(dir->tx))
			ms = PENDING_MS;
	}
	return wait_for(dir, dir->rx, POLLIN, ms);
}

/* All tx rings may be needed: a ring without room must not hide behind one that has some. */
static bool wait_room(struct direction *dir)
{
	uint32_t space = 0, before = 0;
	struct nmport_d *tx = dir->tx;

	for (uint32_t i = tx->first_tx_ring; i <= tx->last_tx_ring; i++)
		before += nm_ring_space(NETMAP_TXRING(tx->nifp, i));
	if (!wait_for(dir, tx, POLLOUT, before ? PENDING_MS : WAIT_MS))
		return false;
	for (uint32_t i = tx->first_tx_ring; i <= tx->last_tx_ring; i++)
		space += nm_ring_space(NETMAP_TXRING(tx->nifp, i));
	if (space == before && before)
		sleep_ms(PENDING_MS);
	return true;
}

static void drain(struct direction *dir)
{
	for (int i = 0; i < DRAIN_MS / PENDING_MS && pending(dir->tx); i++) {
		if (!send_all(dir))
			return;
		sleep_ms(PENDING_MS);
	}
}

static void *run_direction(void *arg)
{
	struct direction *dir = arg;
	bool full;

	while (!stop) {
		uint64_t moved = move_all(dir, &full);

		if (moved && !send_all(dir))
			break;
		/* Gives back what was read, also while there is more than a burst. */
		if (moved && nmport_rxsync(dir->rx) < 0) {
			failed(dir, dir->from, "rxsync");
			break;
		}
		if (moved)
			continue;
		if (full ? !wait_room(dir) : !wait_packets(dir))
			break;
	}
	if (!dir->err[0])
		drain(dir);
	else
		kill(getpid(), SIGTERM); /* main waits for a signal */
	return NULL;
}

/* ---- ports ---------------------------------------------------------------------------- */

/* Opens a port for its rx or tx rings only. NULL with *status 0: it has none of those. */
static struct nmport_d *open_half(const char *name, uint64_t only, int *status)
{
	const uint64_t monitor = NR_MONITOR_TX | NR_MONITOR_RX;
	struct nmport_d *d = nmport_prepare(name);
	uint64_t other = NR_TX_RINGS_ONLY | NR_RX_RINGS_ONLY;

	if (!d) {
		*status = errno == EINVAL ? EXIT_USAGE : EXIT_FAILURE;
		return NULL;
	}
	other &= ~only;
	*status = 0;
	if ((d->reg.nr_flags & other) ||
		((d->reg.nr_flags & monitor) && only == NR_TX_RINGS_ONLY)) {
		nmport_close(d);
		return NULL;
	}
	d->reg.nr_flags |= NR_ACCEPT_VNET_HDR;
	if (!(d->reg.nr_flags & monitor))
		d->reg.nr_flags |= only;
	if (nmport_open_desc(d) < 0) {
		*status = EXIT_FAILURE;
	} else if (only == NR_RX_RINGS_ONLY ? !rings_of(d->first_rx_ring, d->last_rx_ring)
					    : !rings_of(d->first_tx_ring, d->last_tx_ring)) {
		nmport_close(d);
		d = NULL;
	}
	if (*status) {
		nmport_close(d);
		d = NULL;
	}
	return d;
}

static bool same_offsets(const struct direction *dir)
{
	struct netmap_ring *rx = NETMAP_RXRING(dir->rx->nifp, dir->rx->first_rx_ring);
	struct netmap_ring *tx = NETMAP_TXRING(dir->tx->nifp, dir->tx->first_tx_ring);

	return rx->offset_mask == tx->offset_mask;
}

static int open_direction(struct direction *dir, const struct bridge_options *o, int number)
{
	int status;

	dir->from = o->port[number];
	dir->to = o->port[!number];
	dir->burst = o->burst;
	dir->rx = open_half(dir->from, NR_RX_RINGS_ONLY, &status);
	if (status)
		return status;
	dir->tx = open_half(dir->to, NR_TX_RINGS_ONLY, &status);
	if (status || !dir->rx || !dir->tx)
		return status;
	if (port_header_length(dir->rx) != port_header_length(dir->tx)) {
		complain("%s has a virtio-net header of %u bytes, %s of %u: packets can't be "
			 "passed on",
			dir->from, port_header_length(dir->rx), dir->to,
			port_header_length(dir->tx));
		return EXIT_FAILURE;
	}
	dir->exchange = !o->copy && dir->rx->mem == dir->tx->mem && same_offsets(dir);
	return 0;
}

static void close_direction(struct direction *dir)
{
	nmport_close(dir->tx);
	nmport_close(dir->rx);
}

static double link_time(const struct bridge_options *o, const struct direction *dirs)
{
	if (o->wait_link >= 0)
		return o->wait_link;
	for (int i = 0; i < 2; i++)
		if (dirs[i].rx && if_nametoindex(dirs[i].rx->hdr.nr_name))
			return 2;
	return 0;
}

/* ---- main ----------------------------------------------------------------------------- */

/* Waits for a signal, `ms` at most; < 0: no limit. True: it came. */
static bool wait_signal(int fd, int ms)
{
	struct pollfd pfd = {fd, POLLIN, 0};
	struct signalfd_siginfo info;

	return poll(&pfd, 1, ms) > 0 && read(fd, &info, sizeof(info)) == sizeof(info);
}

static void print_direction(const struct direction *dir)
{
	if (!dir->rx || !dir->tx)
		return;
	printf("%s -> %s: %llu packets, %llu bytes, %llu slots, %s, %llu dropped\n", dir->from,
		dir->to, (unsigned long long)dir->stats.packets,
		(unsigned long long)dir->stats.bytes, (unsigned long long)dir->stats.slots,
		dir->exchange ? "zero copy" : "copied", (unsigned long long)dir->stats.dropped);
}

static int run(const struct bridge_options *o, struct direction *dirs, int signals)
{
	int status = EXIT_SUCCESS, count = o->loopback ? 1 : 2, i;
	double wait = link_time(o, dirs);

	if (wait > 0)
		printf("Waiting %g seconds for the link\n", wait);
	if (wait > 0 && wait_signal(signals, (int)(wait * 1000)))
		return status;
	for (i = 0; i < count; i++) {
		struct direction *dir = &dirs[i];

		if (!dir->rx || !dir->tx)
			continue;
		if (o->verbose)
			printf("%s -> %s: %s\n", dir->from, dir->to,
				dir->exchange ? "zero copy" : "copying");
		if (pthread_create(&dir->thread, NULL, run_direction, dir) != 0) {
			complain("can't start a thread");
			status = EXIT_FAILURE;
			break;
		}
		dir->runs = true;
	}
	if (!status)
		printf("Bridging %s and %s\n", o->port[0], o->port[1]);
	while (!status && !wait_signal(signals, o->verbose > 1 ? 1000 : -1))
		for (i = 0; i < count; i++)
			printf("%s -> %s: %llu packets\n", dirs[i].from, dirs[i].to,
				(unsigned long long)__atomic_load_n(
					&dirs[i].stats.packets, __ATOMIC_RELAXED));
	stop = true;
	for (i = 0; i < count; i++) {
		if (dirs[i].runs)
			pthread_join(dirs[i].thread, NULL);
		if (dirs[i].err[0]) {
			complain("%s", dirs[i].err);
			status = EXIT_FAILURE;
		}
		print_direction(&dirs[i]);
	}
	return status;
}

static int start(const struct bridge_options *o)
{
	static struct direction dirs[2];
	int status = 0, signals, i;
	sigset_t set;

	setvbuf(stdout, NULL, _IOLBF, 0);
	sigemptyset(&set);
	sigaddset(&set, SIGINT);
	sigaddset(&set, SIGTERM);
	pthread_sigmask(SIG_BLOCK, &set, NULL); /* all threads inherit it */
	signals = signalfd(-1, &set, SFD_CLOEXEC);
	if (signals < 0) {
		complain("signalfd: %s", strerror(errno));
		return EXIT_FAILURE;
	}
	nmctx_get()->error = report_error;
	nmctx_get()->verbose = o->verbose > 1;
	nmctx_set_threadsafe();
	for (i = 0; !status && i < (o->loopback ? 1 : 2); i++)
		status = open_direction(&dirs[i], o, i);
	if (!status && !(dirs[0].rx && dirs[0].tx) && !(dirs[1].rx && dirs[1].tx)) {
		complain("%s and %s: neither has rx rings where the other has tx rings", o->port[0],
			o->port[1]);
		status = EXIT_USAGE;
	}
	if (!status)
		status = run(o, dirs, signals);
	for (i = 0; i < 2; i++)
		close_direction(&dirs[i]);
	close(signals);
	return status;
}

int main(int argc, char **argv)
{
	static struct bridge_options o; /* the directions have pointers into it */
	char err[OPTIONS_ERR];

	if (options_parse(argc, argv, &o, err) < 0) {
		complain("%s", err);
		return EXIT_USAGE;
	}
	if (o.help) {
		fputs(options_usage(), stdout);
		return EXIT_SUCCESS;
	}
	return start(&o);
}
