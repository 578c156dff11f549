/* SPDX-License-Identifier: BSD-2-Clause */
#include "options.h"

#include <arpa/inet.h>
#include <errno.h>
#include <getopt.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char usage[] =
	"usage: pkt-gen -i PORT [-f tx|rx|ping|pong] [options]\n"
	"  -i PORT      netmap:NAME, valeID:PORT, …; NAME alone means netmap:NAME\n"
	"  -f FUNCTION  tx: send, rx: receive, ping: measure round trips, pong: answer them (rx)\n"
	"  -n COUNT     packets, or round trips of ping and pong; 0: no end (0)\n"
	"  -l LENGTH    bytes of a frame without CRC, 60 or more (60)\n"
	"  -b BURST     packets handed over at once (512)\n"
	"  -d IP[:PORT[-IP:PORT]]  destination, or a range of them (10.1.0.1:1234)\n"
	"  -s IP[:PORT[-IP:PORT]]  source, or a range of them (10.0.0.1:1234)\n"
	"  -D MAC       destination (ff:ff:ff:ff:ff:ff)\n"
	"  -S MAC       source (that of the interface, or a random one)\n"
	"  -w SECONDS   wait for the link before the start (2, switch ports 0)\n"
	"  -R RATE      packets per second, with k, M or G (no limit)\n"
	"  -T MS        time between reports (1000)\n"
	"  -p THREADS   one pair of rings each (1: one thread for all rings)\n"
	"  -a CPU       bind thread i to CPU (CPU + i) modulo CPUS\n"
	"  -c CPUS      number of CPUs for -a (all)\n"
	"  -k, --check  number the packets; rx tells lost, reordered, duplicate and corrupt ones\n"
	"  -q, --timeout SECONDS  end after so long without progress\n"
	"  -v           say more; -h, --help  this text\n";

const char *options_usage(void)
{
	return usage;
}

/* ---- values --------------------------------------------------------------------------- */

struct value {
	const char *name; /* of the option, with its dashes */
	const char *text;
	char *err;
};

__attribute__((format(printf, 2, 3))) static int bad(const struct value *v, const char *format, ...)
{
	char why[160];
	va_list ap;

	va_start(ap, format);
	vsnprintf(why, sizeof(why), format, ap);
	va_end(ap);
	snprintf(v->err, OPTIONS_ERR, "%s '%.60s': %s", v->name, v->text, why);
	return -1;
}

/* A number with k, M or G; fractions only when `whole` is false. */
static int get_number(const struct value *v, double min, double max, bool whole, double *out)
{
	double scale = 1, x;
	char *end;

	errno = 0;
	/* Only plain decimal numbers: strtod() would also take hexadecimal, inf and nan. */
	if (!v->text[0] || strspn(v->text, "0123456789.kKMG") != strlen(v->text))
		return bad(v, "not a number");
	x = strtod(v->text, &end);
	if (end == v->text || errno)
		return bad(v, "not a number");
	if (*end == 'k' || *end == 'K')
		scale = 1e3;
	else if (*end == 'M')
		scale = 1e6;
	else if (*end == 'G')
		scale = 1e9;
	end += scale != 1;
	if (*end)
		return bad(v, "'%s' behind the number", end);
	x *= scale;
	if (x < min || x > max)
		return bad(v, "not in %.15g..%.15g", min, max);
	if (whole && x != (double)(uint64_t)x)
		return bad(v, "not a whole number");
	*out = x;
	return 0;
}

static int get_uint(const struct value *v, uint32_t min, uint32_t max, uint32_t *out)
{
	double x;

	if (get_number(v, min, max, true, &x))
		return -1;
	*out = (uint32_t)x;
	return 0;
}

static int get_int(const struct value *v, int min, int max, int *out)
{
	uint32_t x;

	if (get_uint(v, (uint32_t)min, (uint32_t)max, &x))
		return -1;
	*out = (int)x;
	return 0;
}

static int get_mac(const struct value *v, uint8_t mac[6])
{
	unsigned int b[6];
	int i, used = 0;

	if (sscanf(v->text, "%2x:%2x:%2x:%2x:%2x:%2x%n", &b[0], &b[1], &b[2], &b[3], &b[4], &b[5],
		    &used) != 6 ||
		v->text[used] || strspn(v->text, "0123456789abcdefABCDEF:") != (size_t)used)
		return bad(v, "not a MAC address like 00:11:22:aa:bb:cc");
	for (i = 0; i < 6; i++)
		mac[i] = (uint8_t)b[i];
	return 0;
}

/* IP[:PORT], len bytes of it. The port stays what it is when there is none. */
static int get_endpoint(
	const struct value *v, const char *text, size_t len, uint32_t *ip, uint16_t *port)
{
	char copy[64], *colon, *end;
	struct in_addr addr;
	unsigned long number;

	if (len >= sizeof(copy))
		return bad(v, "too long for IP:PORT");
	memcpy(copy, text, len);
	copy[len] = '\0';
	colon = strchr(copy, ':');
	if (colon)
		*colon++ = '\0';
	if (inet_pton(AF_INET, copy, &addr) != 1)
		return bad(v, "'%s' is not an IPv4 address", copy);
	*ip = ntohl(addr.s_addr);
	if (!colon)
		return 0;
	number = strtoul(colon, &end, 10);
	if (*colon < '0' || *colon > '9' || *end || number > UINT16_MAX)
		return bad(v, "port '%s' is not in 0..65535", colon);
	*port = (uint16_t)number;
	return 0;
}

static int get_range(const struct value *v, struct gen_range *r)
{
	size_t first = strcspn(v->text, "-");

	if (get_endpoint(v, v->text, first, &r->ip[0], &r->port[0]))
		return -1;
	r->ip[1] = r->ip[0];
	r->port[1] = r->port[0];
	if (v->text[first] && get_endpoint(v, v->text + first + 1, strlen(v->text + first + 1),
				      &r->ip[1], &r->port[1]))
		return -1;
	if (r->ip[1] < r->ip[0])
		return bad(v, "the last address is below the first");
	if (r->port[1] < r->port[0])
		return bad(v, "the last port is below the first");
	return 0;
}

static int get_function(const struct value *v, enum gen_fn *fn)
{
	static const char *const names[] = {"rx", "tx", "ping", "pong"};

	for (unsigned int i = 0; i < 4; i++) {
		if (strcmp(v->text, names[i]) == 0) {
			*fn = (enum gen_fn)i;
			return 0;
		}
	}
	return bad(v, "unknown function, must be tx, rx, ping or pong");
}

static int get_port(const struct value *v, char port[GEN_NAME_MAX])
{
	int has = strncmp(v->text, "netmap:", 7) == 0 || strncmp(v->text, "vale", 4) == 0;

	if (!v->text[0])
		return bad(v, "empty name");
	if (snprintf(port, GEN_NAME_MAX, "%s%s", has ? "" : "netmap:", v->text) >= GEN_NAME_MAX)
		return bad(v, "longer than %d bytes", GEN_NAME_MAX - 8);
	return 0;
}

static int get_count(const struct value *v, uint64_t *count)
{
	double x;

	if (get_number(v, 0, 1e15, true, &x))
		return -1;
	*count = (uint64_t)x;
	return 0;
}

static int get_src_mac(const struct value *v, struct gen_options *o)
{
	o->have_src_mac = true;
	return get_mac(v, o->src_mac);
}

/* ---- the line ------------------------------------------------------------------------- */

static int set_option(int c, const struct value *v, struct gen_options *o)
{
	switch (c) {
	case 'i':
		return get_port(v, o->port);
	case 'f':
		return get_function(v, &o->fn);
	case 'n':
		return get_count(v, &o->count);
	case 'l':
		return get_uint(v, GEN_LEN_MIN, GEN_LEN_MAX, &o->len);
	case 'b':
		return get_uint(v, 1, GEN_BURST_MAX, &o->burst);
	case 'd':
		return get_range(v, &o->dst);
	case 's':
		return get_range(v, &o->src);
	case 'D':
		return get_mac(v, o->dst_mac);
	case 'S':
		return get_src_mac(v, o);
	case 'w':
		return get_number(v, 0, 3600, false, &o->wait_link);
	case 'R':
		return get_number(v, 1e-3, 1e12, false, &o->rate);
	case 'T':
		return get_uint(v, 1, 3600000, &o->report_ms);
	case 'p':
		return get_int(v, 1, GEN_THREADS_MAX, &o->threads);
	case 'a':
		return get_int(v, 0, 4095, &o->affinity);
	case 'c':
		return get_int(v, 1, 4096, &o->cpus);
	case 'q':
		return get_number(v, 1e-3, 1e6, false, &o->timeout);
	case 'k':
		o->check = true;
		return 0;
	case 'v':
		o->verbose++;
		return 0;
	default:
		o->help = true;
		return 0;
	}
}

static void set_defaults(struct gen_options *o)
{
	memset(o, 0, sizeof(*o));
	o->fn = GEN_RX;
	o->len = GEN_LEN_MIN;
	o->burst = 512;
	o->src.ip[0] = o->src.ip[1] = 0x0a000001;
	o->dst.ip[0] = o->dst.ip[1] = 0x0a010001;
	o->src.port[0] = o->src.port[1] = o->dst.port[0] = o->dst.port[1] = 1234;
	memset(o->dst_mac, 0xff, 6);
	o->wait_link = -1;
	o->report_ms = 1000;
	o->affinity = -1;
	o->threads = 1;
}

/* What fits each alone may not fit together. */
static int check_together(const struct gen_options *o, char err[OPTIONS_ERR])
{
	const char *why = NULL;

	if (!o->port[0])
		why = "no port given: -i PORT is needed (try -h)";
	else if ((o->fn == GEN_PING || o->fn == GEN_PONG) && o->threads > 1)
		why = "-p: ping and pong have one thread";
	else if (o->fn == GEN_RX && o->check && o->threads > 1)
		why = "-p: rx --check has one thread, or the order of packets could not be seen";
	if (!why)
		return 0;
	snprintf(err, OPTIONS_ERR, "%s", why);
	return -1;
}

int options_parse(int argc, char **argv, struct gen_options *o, char err[OPTIONS_ERR])
{
	static const struct option longs[] = {
		{"check", no_argument, NULL, 'k'},
		{"timeout", required_argument, NULL, 'q'},
		{"help", no_argument, NULL, 'h'},
		{NULL, 0, NULL, 0},
	};
	char name[3] = "-?";
	int c, at;

	set_defaults(o);
	opterr = 0;
	optind = 0; /* glibc: start anew */
	while (at = optind ? optind : 1,
		(c = getopt_long(
			 argc, argv, "+:i:f:n:l:b:d:s:D:S:w:R:T:a:c:p:q:kvh", longs, NULL)) != -1) {
		struct value v = {name, optarg ? optarg : "", err};

		name[1] = (char)(c == '?' || c == ':' ? optopt : c);
		if (c == '?' || c == ':') {
			bool is_long = strncmp(argv[at], "--", 2) == 0;

			snprintf(err, OPTIONS_ERR, "%s '%.60s' (try -h)",
				c == ':' ? "missing value behind" : "unknown option",
				is_long ? argv[at] : name);
			return -1;
		}
		if (set_option(c, &v, o))
			return -1;
		if (o->help)
			return 0;
	}
	if (optind < argc) {
		snprintf(err, OPTIONS_ERR, "unexpected argument '%.60s' (try -h)", argv[optind]);
		return -1;
	}
	return check_together(o, err);
}
