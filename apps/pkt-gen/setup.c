/* SPDX-License-Identifier: BSD-2-Clause */
#include "setup.h"

#include <errno.h>
#include <sched.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <unistd.h>

void complain(const char *format, ...)
{
	char text[768];
	va_list ap;

	va_start(ap, format);
	vsnprintf(text, sizeof(text), format, ap);
	va_end(ap);
	fprintf(stderr, "pkt-gen: %s\n", text);
}

static void on_error(struct nmctx *ctx, const char *text)
{
	(void)ctx;
	complain("%s", text);
}

static void on_error_quiet(struct nmctx *ctx, const char *text)
{
	(void)ctx;
	(void)text;
}

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

/* The port's virtio-net header length; 0 where the question is not served. */
static uint32_t header_length(struct nmport_d *d)
{
	struct nmreq_port_hdr body = {0};
	struct nmreq_header hdr;
	int ret;

	nmreq_header_init(&hdr, NETMAP_REQ_PORT_HDR_GET, &body);
	memcpy(hdr.nr_name, d->hdr.nr_name, sizeof(hdr.nr_name));
	d->ctx->error = on_error_quiet;
	ret = nmport_request(d, &hdr);
	d->ctx->error = on_error;
	return ret == 0 ? body.nr_hdr_len : 0;
}

/* All descriptors, parsed but not opened. */
static int prepare(const struct gen_options *o, struct worker *w)
{
	w[0].port = nmport_prepare(o->port);
	if (!w[0].port)
		return errno == EINVAL ? EXIT_USAGE : EXIT_FAILURE;
	w[0].port->reg.nr_flags |= NR_ACCEPT_VNET_HDR;
	if (o->threads == 1)
		return 0;
	if (w[0].port->reg.nr_mode != NR_REG_ALL_NIC) {
		complain("-p %d: %s chooses its rings already", o->threads, o->port);
		return EXIT_USAGE;
	}
	w[0].port->reg.nr_mode = NR_REG_ONE_NIC;
	for (int i = 1; i < o->threads; i++) {
		w[i].port = nmport_clone(w[0].port);
		if (!w[i].port)
			return EXIT_FAILURE;
		w[i].port->reg.nr_ringid = (uint16_t)i;
	}
	return 0;
}

/* The first port is open: is it fit for what is wanted? */
static int check_port(const struct gen_options *o, const struct worker *w)
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
	if (o->fn == GEN_TX || o->fn == GEN_PING) {
		uint32_t max = NETMAP_TXRING(d->nifp, d->first_tx_ring)->nr_buf_size - w->hdr_len;

		if (o->len > max) {
			complain("-l %u: frames of %s have at most %u bytes", o->len, o->port, max);
			return EXIT_USAGE;
		}
	}
	return 0;
}

int setup_open(const struct gen_options *o, struct worker *w)
{
	int ret, i;

	nmctx_get()->error = on_error;
	nmctx_get()->verbose = o->verbose;
	ret = prepare(o, w);
	for (i = 0; !ret && i < o->threads; i++) {
		if (nmport_open_desc(w[i].port) < 0)
			ret = EXIT_FAILURE;
		if (!ret && i == 0) {
			w[0].hdr_len = header_length(w[0].port);
			ret = check_port(o, &w[0]);
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
