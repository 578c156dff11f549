/* SPDX-License-Identifier: BSD-2-Clause */
#include "setup.h"

#include <errno.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <unistd.h>

#include "common/report.h"
#include "frames.h"

const char report_name[] = "pkt-gen";

/* ---- addresses ------------------------------------------------------------------------ */

static bool interface_mac(const char *name, uint8_t mac[6])
{
	struct ifreq ifr;
	bool ok = false;
	int fd;

	if (strlen(name) >= sizeof(ifr.ifr_name))
		return false;
	fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return false;
	memset(&ifr, 0, sizeof(ifr));
	memcpy(ifr.ifr_name, name, strlen(name));
	if (ioctl(fd, SIOCGIFHWADDR, &ifr) == 0) {
		memcpy(mac, ifr.ifr_hwaddr.sa_data, 6);
		ok = true;
	}
	close(fd);
	return ok;
}

static void choose_mac(const struct gen_options *o, struct worker *w)
{
	if (o->have_src_mac) {
		memcpy(w->src_mac, o->src_mac, 6);
		return;
	}
	if (interface_mac(w->port->hdr.nr_name, w->src_mac))
		return;
	if (getrandom(w->src_mac, 6, 0) != 6)
		memcpy(w->src_mac, "\0pktgn", 6);
	w->src_mac[0] = 2; /* locally administered, one station */
}

/* ---- ports ---------------------------------------------------------------------------- */

/* -H: asks the port for this header length. Ports that have no such thing, as a NIC, carry it as
 * part of the packet. Returns 0, or the exit status after having reported. */
static int want_header(struct nmport_d *d, uint32_t len)
{
	struct nmreq_port_hdr body = {.nr_hdr_len = len};
	struct nmreq_header hdr;
	int error;

	nmreq_header_init(&hdr, NETMAP_REQ_PORT_HDR_SET, &body);
	memcpy(hdr.nr_name, d->hdr.nr_name, sizeof(hdr.nr_name));
	d->ctx->error = report_nothing;
	error = nmport_request(d, &hdr) < 0 ? errno : 0;
	d->ctx->error = report_error;
	if (!error || error == EOPNOTSUPP)
		return 0;
	complain("-H %u: %s refuses it: %s", len, d->hdr.nr_name, strerror(error));
	return EXIT_FAILURE;
}

/* What is common to all descriptors goes into the first one's request. */
static void fill_request(const struct gen_options *o, struct nmreq_register *reg)
{
	reg->nr_flags |= NR_ACCEPT_VNET_HDR;
	if (o->conf[0])
		reg->nr_tx_slots = o->conf[0];
	if (o->conf[1])
		reg->nr_rx_slots = o->conf[1];
	if (o->conf[2])
		reg->nr_tx_rings = (uint16_t)o->conf[2];
	if (o->conf[3])
		reg->nr_rx_rings = (uint16_t)o->conf[3];
	if (o->threads == 1)
		return;
	/* Each thread has one ring in the direction that it works in. */
	reg->nr_mode = NR_REG_ONE_NIC;
	if (!(reg->nr_flags & (NR_MONITOR_TX | NR_MONITOR_RX)))
		reg->nr_flags |= o->fn == GEN_TX ? NR_TX_RINGS_ONLY : NR_RX_RINGS_ONLY;
}

/* All descriptors, parsed but not opened. */
static int prepare(const struct gen_options *o, struct worker *w)
{
	w[0].port = nmport_prepare(o->port);
	if (!w[0].port)
		return errno == EINVAL ? EXIT_USAGE : EXIT_FAILURE;
	if (o->threads > 1 && w[0].port->reg.nr_mode != NR_REG_ALL_NIC) {
		complain("-p %d: %s chooses its rings already", o->threads, o->port);
		return EXIT_USAGE;
	}
	fill_request(o, &w[0].port->reg);
	for (int i = 1; i < o->threads; i++) {
		w[i].port = nmport_clone(w[0].port);
		if (!w[i].port)
			return EXIT_FAILURE;
		w[i].port->reg.nr_ringid = (uint16_t)i;
	}
	return 0;
}

/* Do the frames fit the slots? */
static int check_frames(
	const struct gen_options *o, const struct worker *w, const struct replay *replay)
{
	struct netmap_ring *ring = NETMAP_TXRING(w->port->nifp, w->port->first_tx_ring);
	uint32_t room = ring_room(ring), len = o->replay[0] ? replay->longest : o->len;
	struct cut cut = frame_cut(w, room, len);
	uint32_t longest = cut_longest(&cut);

	if (!o->replay[0] && o->frags == 1 && w->hdr_len + len > room) {
		complain("-l %u: frames of %s have at most %u bytes in one slot; -F cuts them", len,
			o->port, room - w->hdr_len);
		return EXIT_USAGE;
	}
	if (longest > room) {
		complain("-F %u: a slot of %s has at most %u bytes, not %u", o->frags, o->port,
			room, longest);
		return EXIT_USAGE;
	}
	if (cut.slots > ring->num_slots - 1 || cut.slots > NETMAP_MAX_FRAGS) {
		complain("%s: a packet of %u bytes needs %u slots; the rings have %u, a packet at "
			 "most %d",
			o->port, len, cut.slots, ring->num_slots, NETMAP_MAX_FRAGS);
		return EXIT_USAGE;
	}
	return 0;
}

/* The first port is open: is it fit for what is wanted? */
static int check_port(
	const struct gen_options *o, const struct worker *w, const struct replay *replay)
{
	const struct nmport_d *d = w->port;
	int tx = d->first_tx_ring <= d->last_tx_ring, rx = d->first_rx_ring <= d->last_rx_ring;
	int rings = o->fn == GEN_TX ? d->reg.nr_tx_rings : d->reg.nr_rx_rings;

	if ((o->fn != GEN_RX && !tx) || (o->fn != GEN_TX && !rx)) {
		complain("%s has no %s rings", o->port, tx ? "rx" : "tx");
		return EXIT_USAGE;
	}
	if (o->threads > rings) {
		complain("-p %d: %s has rings for %d", o->threads, o->port, rings);
		return EXIT_USAGE;
	}
	return o->fn == GEN_TX || o->fn == GEN_PING ? check_frames(o, w, replay) : 0;
}

int setup_open(const struct gen_options *o, struct worker *w, const struct replay *replay)
{
	int ret, i;

	nmctx_get()->error = report_error;
	nmctx_get()->verbose = o->verbose;
	for (i = 0; i < o->threads; i++)
		w[i].o = o;
	ret = prepare(o, w);
	for (i = 0; !ret && i < o->threads; i++) {
		if (nmport_open_desc(w[i].port) < 0)
			ret = EXIT_FAILURE;
		if (!ret && i == 0 && o->hdr_len >= 0)
			ret = want_header(w[0].port, (uint32_t)o->hdr_len);
		if (!ret && i == 0) {
			w[0].hdr_len = o->hdr_len >= 0 ? (uint32_t)o->hdr_len
						       : port_header_length(w[0].port);
			ret = check_port(o, &w[0], replay);
		}
		if (ret)
			break;
		w[i].hdr_len = w[0].hdr_len;
		choose_mac(o, &w[i]);
	}
	return ret;
}

void setup_close(const struct gen_options *o, struct worker *w)
{
	for (int i = 0; i < o->threads; i++) {
		nmport_close(w[i].port);
		w[i].port = NULL;
	}
}

double setup_wait_link(const struct gen_options *o, const struct worker *w)
{
	if (o->wait_link >= 0)
		return o->wait_link;
	return if_nametoindex(w->port->hdr.nr_name) ? 2 : 0;
}

void setup_affinity(const struct gen_options *o, unsigned int id)
{
	long cpus = o->cpus ? o->cpus : sysconf(_SC_NPROCESSORS_CONF);
	cpu_set_t set;
	long cpu;

	if (o->affinity < 0)
		return;
	cpu = (o->affinity + (long)id) % cpus;
	CPU_ZERO(&set);
	CPU_SET((size_t)cpu, &set);
	if (pthread_setaffinity_np(pthread_self(), sizeof(set), &set) != 0)
		complain("-a: can't use CPU %ld, running on any", cpu);
}
