/* SPDX-License-Identifier: BSD-2-Clause */
#include "options.h"

#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char usage[] =
	"usage: netmap-bridge [options] -i PORT [-i PORT]\n"
	"       netmap-bridge [options] PORT [PORT [BURST]]\n"
	"  -i PORT     netmap:NAME, valeX:PORT, …; NAME alone means netmap:NAME.\n"
	"              One port: the interface and its host rings\n"
	"  -b BURST    packets moved at once (1024)\n"
	"  -w SECONDS  wait for the link before the start (2, without an interface 0)\n"
	"  -c          copy packets, also where buffers could be exchanged\n"
	"  -L          loop back: what the one port receives, it sends\n"
	"  -v          say more, twice: the counters every second; -h, --help: this text\n";

const char *options_usage(void)
{
	return usage;
}

static int get_burst(const char *text, uint32_t *burst, char err[OPTIONS_ERR])
{
	char *end;
	unsigned long n = strtoul(text, &end, 10);

	if (*text < '0' || *text > '9' || *end || n < 1 || n > BRIDGE_BURST_MAX)
		return cmdline_bad(err, "burst '%.60s': not in 1..%d", text, BRIDGE_BURST_MAX);
	*burst = (uint32_t)n;
	return 0;
}

static int get_wait(const char *text, double *seconds, char err[OPTIONS_ERR])
{
	char *end;
	double x;

	if (!text[0] || strspn(text, "0123456789.") != strlen(text))
		return cmdline_bad(err, "-w '%.60s': not a number", text);
	x = strtod(text, &end);
	if (*end || x > 3600)
		return cmdline_bad(err, "-w '%.60s': not in 0..3600", text);
	*seconds = x;
	return 0;
}

static int add_port(const char *text, struct bridge_options *o, char err[OPTIONS_ERR])
{
	bool has = strncmp(text, "netmap:", 7) == 0 || strncmp(text, "vale", 4) == 0;
	char *to = !o->port[0][0] ? o->port[0] : o->port[1];

	if (!text[0])
		return cmdline_bad(err, "-i: the name is empty");
	if (to[0])
		return cmdline_bad(err, "port '%.60s': there are two already", text);
	if (snprintf(to, BRIDGE_NAME_MAX, "%s%s", has ? "" : "netmap:", text) >= BRIDGE_NAME_MAX)
		return cmdline_bad(
			err, "port '%.60s…': longer than %d bytes", text, BRIDGE_NAME_MAX - 8);
	return 0;
}

/* The second port where only one was given. */
static int complete(struct bridge_options *o, char err[OPTIONS_ERR])
{
	const char *name = o->port[0];
	size_t len = strcspn(name, "@/");
	bool same;

	if (!name[0])
		return cmdline_bad(err, "no port given: -i PORT is needed (try -h)");
	same = !o->port[1][0] || strcmp(name, o->port[1]) == 0;
	if (o->loopback && !same)
		return cmdline_bad(err, "-L goes with one port");
	if (o->loopback) {
		memcpy(o->port[1], name, BRIDGE_NAME_MAX);
		return 0;
	}
	if (!same)
		return 0;
	if (strncmp(name, "netmap:", 7) != 0 || strpbrk(name, "{}"))
		return cmdline_bad(err,
			o->port[1][0] ? "%.60s is given twice: two ports are needed, or -L"
				      : "%.60s has no host rings: a second port is needed, or -L",
			name);
	if (len < strlen(name) || strpbrk(name, "^*"))
		return cmdline_bad(
			err, "%.60s: with one port, give the name of the interface only", name);
	if (snprintf(o->port[1], BRIDGE_NAME_MAX, "%s^", name) >= BRIDGE_NAME_MAX)
		return cmdline_bad(
			err, "port '%.60s…': longer than %d bytes", name, BRIDGE_NAME_MAX - 8);
	return 0;
}

static int set_option(int c, struct bridge_options *o, char err[OPTIONS_ERR])
{
	switch (c) {
	case 'i':
		return add_port(optarg, o, err);
	case 'b':
		return get_burst(optarg, &o->burst, err);
	case 'w':
		return get_wait(optarg, &o->wait_link, err);
	case 'c':
		o->copy = true;
		return 0;
	case 'L':
		o->loopback = true;
		return 0;
	case 'v':
		o->verbose++;
		return 0;
	default:
		o->help = true;
		return 0;
	}
}

int options_parse(int argc, char **argv, struct bridge_options *o, char err[OPTIONS_ERR])
{
	static const struct option longs[] = {{"help", no_argument, NULL, 'h'}, {NULL, 0, NULL, 0}};
	int c, at;

	memset(o, 0, sizeof(*o));
	o->burst = 1024;
	o->wait_link = -1;
	opterr = 0;
	optind = 0; /* glibc: start anew */
	while (at = optind ? optind : 1,
		(c = getopt_long(argc, argv, "+:i:b:w:cLvh", longs, NULL)) != -1) {
		if (cmdline_refused(c, argv[at], "-h", err))
			return -1;
		if (set_option(c, o, err))
			return -1;
		if (o->help)
			return 0;
	}
	for (; optind < argc && !o->port[1][0]; optind++)
		if (add_port(argv[optind], o, err))
			return -1;
	if (optind < argc && get_burst(argv[optind++], &o->burst, err))
		return -1;
	if (optind < argc)
		return cmdline_bad(err, "unexpected argument '%.60s' (try -h)", argv[optind]);
	return complete(o, err);
}
