/* SPDX-License-Identifier: BSD-2-Clause */
#include "options.h"

#include <getopt.h>
#include <stdio.h>
#include <string.h>

#include "values.h"

static const char usage[] =
	"usage: pkt-gen -i PORT [-f tx|rx|ping|pong] [options]\n"
	"  -i PORT      netmap:NAME, valeID:PORT, …; NAME alone means netmap:NAME\n"
	"  -f FUNCTION  tx: send, rx: receive, ping: measure round trips, pong: answer them (rx)\n"
	"  -n COUNT     packets, or round trips of ping and pong; 0: no end (0; -P: the file once)\n"
	"  -b BURST     packets handed over at once (512)\n"
	"  -R RATE      packets per second, with k, M or G (no limit)\n"
	"  -w SECONDS   wait for the link before the start (2, switch ports 0)\n"
	"  -q, --timeout SECONDS  end after so long without progress\n"
	"  -W           rx: end if there is no packet at once\n"
	"frames:\n"
	"  -l LENGTH    bytes without CRC, 60 or more (60); twice: random, below the first, from the second\n"
	"  -4, -6       IPv4 (default) or IPv6\n"
	"  -d IP[:PORT[-IP:PORT]]  destination, or a range of them; IPv6 with a port: [IP]:PORT\n"
	"  -s IP[:PORT[-IP:PORT]]  source, or a range of them\n"
	"  -z, -Z       random source, random destination: in the range, or any\n"
	"  -D MAC       destination (ff:ff:ff:ff:ff:ff)\n"
	"  -S MAC       source (that of the interface, or a random one)\n"
	"  -k, --check  number the packets; rx tells lost, reordered, duplicate and corrupt ones\n"
	"  -F SLOTS     send each packet in so many slots (1)\n"
	"  -M BYTES     with -F: bytes in each slot but the last (even)\n"
	"  -H BYTES     virtio-net header: 0, 10 or 12 (what the port has)\n"
	"  -I           tx: indirect buffers\n"
	"  -r           tx: send what happens to be in the buffers\n"
	"  -P FILE      tx: send the packets of a pcap file; at the rate of -R, not at their times\n"
	"port and threads:\n"
	"  -C TXSLOTS[,RXSLOTS[,TXRINGS[,RXRINGS]]]  of a port that is made for us\n"
	"  -p THREADS   one ring each (1: one thread for all rings)\n"
	"  -a CPU       bind thread i to CPU (CPU + i) modulo CPUS\n"
	"  -c CPUS      number of CPUs for -a; 0: all (0)\n"
	"reports:\n"
	"  -T MS        time between them (1000)\n"
	"  -N           plain numbers, in pps and bps\n"
	"  -A           with mean and standard deviation of the last 10\n"
	"  -B           count CRC, preamble and gap of a wire, 24 bytes per packet\n"
	"  -X           show the packets\n"
	"  -v           say more; -h, --help  this text\n";

const char *options_usage(void)
{
	return usage;
}

/* ---- options that are more than a value ----------------------------------------------- */

static int get_function(const struct value *v, enum gen_fn *fn)
{
	static const char *const names[] = {"rx", "tx", "ping", "pong"};

	for (unsigned int i = 0; i < 4; i++) {
		if (strcmp(v->text, names[i]) == 0) {
			*fn = (enum gen_fn)i;
			return 0;
		}
	}
	return value_bad(v, "unknown function, must be tx, rx, ping or pong");
}

static int get_port(const struct value *v, char port[GEN_NAME_MAX])
{
	int has = strncmp(v->text, "netmap:", 7) == 0 || strncmp(v->text, "vale", 4) == 0;

	if (!v->text[0])
		return value_bad(v, "empty name");
	if (snprintf(port, GEN_NAME_MAX, "%s%s", has ? "" : "netmap:", v->text) >= GEN_NAME_MAX)
		return value_bad(v, "longer than %d bytes", GEN_NAME_MAX - 8);
	return 0;
}

static int get_src_mac(const struct value *v, struct gen_options *o)
{
	o->have_src_mac = true;
	return value_mac(v, o->src_mac);
}

/* The first is the length; a second one makes it the bound of random lengths. */
static int get_len(const struct value *v, struct gen_options *o, bool *again)
{
	if (!*again) {
		*again = true;
		return value_uint(v, GEN_LEN_MIN, GEN_LEN_MAX, &o->len);
	}
	if (value_uint(v, GEN_LEN_MIN, GEN_LEN_MAX, &o->len_min))
		return -1;
	return o->len_min < o->len ? 0 : value_bad(v, "not below the first length, %u", o->len);
}

static int get_hdr_len(const struct value *v, int *len)
{
	if (value_int(v, 0, 12, len))
		return -1;
	return *len == 0 || *len == 10 || *len == 12 ? 0 : value_bad(v, "not 0, 10 or 12");
}

static int get_replay(const struct value *v, char file[GEN_NAME_MAX])
{
	if (!v->text[0] || strlen(v->text) >= GEN_NAME_MAX)
		return value_bad(v, "not the name of a file");
	strcpy(file, v->text);
	return 0;
}

static int get_count(const struct value *v, struct gen_options *o)
{
	o->have_count = true;
	return value_count(v, &o->count);
}

/* ---- the line ------------------------------------------------------------------------- */

/* What the line holds beside its values. */
struct seen {
	bool v4, len;
};

static int set_flag(int c, struct gen_options *o, struct seen *seen)
{
	switch (c) {
	case '4':
		seen->v4 = true;
		break;
	case '6':
		o->v6 = true;
		break;
	case 'z':
		o->src.random = true;
		break;
	case 'Z':
		o->dst.random = true;
		break;
	case 'k':
		o->check = true;
		break;
	case 'I':
		o->indirect = true;
		break;
	case 'r':
		o->rubbish = true;
		break;
	case 'W':
		o->exit_if_empty = true;
		break;
	case 'N':
		o->raw_units = true;
		break;
	case 'A':
		o->average = true;
		break;
	case 'B':
		o->framing = true;
		break;
	case 'X':
		o->dump = true;
		break;
	case 'v':
		o->verbose++;
		break;
	default:
		o->help = true;
	}
	return 0;
}

static int set_option(int c, const struct value *v, struct gen_options *o, struct seen *seen)
{
	switch (c) {
	case 'i':
		return get_port(v, o->port);
	case 'f':
		return get_function(v, &o->fn);
	case 'n':
		return get_count(v, o);
	case 'l':
		return get_len(v, o, &seen->len);
	case 'b':
		return value_uint(v, 1, GEN_BURST_MAX, &o->burst);
	case 'd':
		return value_range(v, &o->dst);
	case 's':
		return value_range(v, &o->src);
	case 'D':
		return value_mac(v, o->dst_mac);
	case 'S':
		return get_src_mac(v, o);
	case 'w':
		return value_number(v, 0, 3600, false, &o->wait_link);
	case 'R':
		return value_number(v, 1e-3, 1e12, false, &o->rate);
	case 'T':
		return value_uint(v, 1, 3600000, &o->report_ms);
	case 'p':
		return value_int(v, 1, GEN_THREADS_MAX, &o->threads);
	case 'a':
		return value_int(v, 0, 4095, &o->affinity);
	case 'c':
		return value_int(v, 0, 4096, &o->cpus);
	case 'q':
		return value_number(v, 1e-3, 1e6, false, &o->timeout);
	case 'F':
		return value_uint(v, 1, NETMAP_MAX_FRAGS, &o->frags);
	case 'M':
		return value_uint(v, 14, GEN_LEN_MAX, &o->frag_size);
	case 'H':
		return get_hdr_len(v, &o->hdr_len);
	case 'C':
		return value_conf(v, o->conf);
	case 'P':
		return get_replay(v, o->replay);
	default:
		return set_flag(c, o, seen);
	}
}

static void set_defaults(struct gen_options *o)
{
	memset(o, 0, sizeof(*o));
	o->fn = GEN_RX;
	o->len = GEN_LEN_MIN;
	o->burst = 512;
	o->frags = 1;
	o->hdr_len = -1;
	o->src.port[0] = o->src.port[1] = o->dst.port[0] = o->dst.port[1] = 1234;
	memset(o->dst_mac, 0xff, 6);
	o->wait_link = -1;
	o->report_ms = 1000;
	o->affinity = -1;
	o->threads = 1;
}

/* Addresses that were not given: 10.0.0.1 and 10.1.0.1, fd00::1 and fd00::1:0:0:1. */
static void default_addresses(struct gen_options *o)
{
	struct gen_range *const ranges[] = {&o->src, &o->dst};

	for (unsigned int i = 0; i < 2; i++) {
		gen_ip ip = o->v6 ? (gen_ip)0xfd00 << 112 | (gen_ip)i << 48 | 1
				  : 0x0a000001 + (i << 16);

		if (!ranges[i]->given)
			ranges[i]->ip[0] = ranges[i]->ip[1] = ip;
		ranges[i]->v6 = o->v6;
	}
}

static const char *wrong_addresses(struct gen_options *o, const struct seen *seen)
{
	bool v6 = (o->src.given && o->src.v6) || (o->dst.given && o->dst.v6);
	bool v4 = (o->src.given && !o->src.v6) || (o->dst.given && !o->dst.v6);

	if ((seen->v4 || v4) && (o->v6 || v6))
		return "-4, -6, -s and -d: IPv4 and IPv6 in one frame";
	o->v6 |= v6;
	default_addresses(o);
	if (o->v6 && !seen->len)
		o->len = o->check || o->fn == GEN_PING ? GEN_LEN_MIN_V6 : GEN_LEN_HEADERS_V6;
	return NULL;
}

static const char *wrong_frames(const struct gen_options *o, const struct seen *seen)
{
	bool random = o->src.random || o->dst.random;
	bool ranges = o->src.ip[0] != o->src.ip[1] || o->dst.ip[0] != o->dst.ip[1] ||
		      o->src.port[0] != o->src.port[1] || o->dst.port[0] != o->dst.port[1];
	uint32_t least = o->len_min ? o->len_min : o->len;

	if (o->replay[0] && (seen->len || o->check || random || o->rubbish || o->indirect ||
				    o->v6 || o->src.given || o->dst.given || o->frags > 1))
		return "-P: the packets come from the file: without -l, -F, -k, -r, -I, -s, -d, -z, -Z and -6";
	if (o->rubbish && (o->check || random || ranges || o->indirect))
		return "-r: the packets are not written: without -k, -I, -z, -Z and ranges";
	if (o->indirect && (o->check || random || ranges || o->len_min || o->frags > 1))
		return "-I: all packets are the same: without -k, -F, -z, -Z, ranges and a second -l";
	if (o->frag_size && o->frags == 1)
		return "-M goes with -F";
	if (o->frags > least)
		return "-F: more slots than bytes";
	if (o->frag_size && (uint64_t)o->frag_size * (o->frags - 1) >= least)
		return "-M: the slots before the last one hold the whole packet";
	if (o->v6 && least < GEN_LEN_HEADERS_V6)
		return "-l: IPv6 frames have 62 bytes or more";
	if (o->v6 && (o->check || o->fn == GEN_PING) && o->fn != GEN_RX && least < GEN_LEN_MIN_V6)
		return "-l: numbered IPv6 frames have 80 bytes or more";
	return NULL;
}

/* What fits each alone may not fit together. */
static const char *wrong_together(struct gen_options *o, const struct seen *seen)
{
	const char *why;

	if (!o->port[0])
		return "no port given: -i PORT is needed (try -h)";
	if ((o->fn == GEN_PING || o->fn == GEN_PONG) && o->threads > 1)
		return "-p: ping and pong have one thread";
	if (o->fn == GEN_RX && o->check && o->threads > 1)
		return "-p: rx --check has one thread, or the order of packets could not be seen";
	if (o->fn != GEN_TX && (o->replay[0] || o->indirect || o->rubbish))
		return "-P, -I and -r go with -f tx";
	if (o->fn != GEN_TX && o->frags > 1)
		return "-F goes with -f tx";
	if (o->fn != GEN_TX && o->len_min)
		return "a second -l goes with -f tx";
	if (o->fn != GEN_RX && o->exit_if_empty)
		return "-W goes with -f rx";
	why = wrong_addresses(o, seen);
	return why ? why : wrong_frames(o, seen);
}

int options_parse(int argc, char **argv, struct gen_options *o, char err[OPTIONS_ERR])
{
	static const char letters[] = "+:i:f:n:l:b:d:s:D:S:w:R:T:a:c:p:q:F:M:H:C:P:46zZkIrWNABXvh";
	static const struct option longs[] = {
		{"check", no_argument, NULL, 'k'},
		{"timeout", required_argument, NULL, 'q'},
		{"help", no_argument, NULL, 'h'},
		{NULL, 0, NULL, 0},
	};
	struct seen seen = {0};
	char name[3] = "-?";
	const char *why;
	int c, at;

	set_defaults(o);
	opterr = 0;
	optind = 0; /* glibc: start anew */
	while (at = optind ? optind : 1,
		(c = getopt_long(argc, argv, letters, longs, NULL)) != -1) {
		struct value v = {name, optarg ? optarg : "", err};

		name[1] = (char)(c == '?' || c == ':' ? optopt : c);
		if (c == '?' || c == ':') {
			bool is_long = strncmp(argv[at], "--", 2) == 0;

			snprintf(err, OPTIONS_ERR, "%s '%.60s' (try -h)",
				c == ':' ? "missing value behind" : "unknown option",
				is_long ? argv[at] : name);
			return -1;
		}
		if (set_option(c, &v, o, &seen))
			return -1;
		if (o->help)
			return 0;
	}
	if (optind < argc) {
		snprintf(err, OPTIONS_ERR, "unexpected argument '%.60s' (try -h)", argv[optind]);
		return -1;
	}
	why = wrong_together(o, &seen);
	if (!why)
		return 0;
	snprintf(err, OPTIONS_ERR, "%s", why);
	return -1;
}
