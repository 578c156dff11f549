/* SPDX-License-Identifier: BSD-2-Clause */
#include "options.h"

#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char usage[] =
	"usage: vale-ctl [-v] [ACTION]\n"
	"without an action: list the ports of all switches\n"
	"  -l [valeX:PORT]  list all ports, or one, with the numbers of switch and port\n"
	"  -g valeX:PORT    print the number of receive rings\n"
	"  -a valeX:IF      attach interface IF to a switch\n"
	"  -h valeX:IF      attach it together with its host stack\n"
	"  -d valeX:IF      detach it\n"
	"  -n IF            make a persistent port, which is a network interface, too\n"
	"  -r IF            remove it\n"
	"  -p valeX:IF      poll an attached interface with threads of its own (-C needed)\n"
	"  -P valeX:IF      stop polling\n"
	"  -C TXSLOTS[,RXSLOTS[,TXRINGS[,RXRINGS]]]  of -n\n"
	"  -C 0,CPU | 1,CPU[,CPUS]  of -p: one CPU for all rings, or one ring each for CPUS CPUs\n"
	"  -m ID            memory region, of -n, -a and -h\n"
	"  -v               say what was done; --help: this text\n";

const char *options_usage(void)
{
	return usage;
}

/* Decimal digits up to `max`; *end is behind them. */
static int get_number(const char *text, uint64_t max, uint64_t *out, const char **end)
{
	char *stop;

	if (*text < '0' || *text > '9')
		return -1;
	errno = 0;
	*out = strtoull(text, &stop, 10);
	*end = stop;
	return errno || *out > max ? -1 : 0;
}

static int get_conf(const char *text, struct vale_options *o, char err[OPTIONS_ERR])
{
	const char *p = text;
	uint64_t number;

	for (o->confs = 0; o->confs < 4; p++) {
		if (get_number(p, UINT32_MAX, &number, &p))
			return cmdline_bad(err, "-C '%.60s': not 1 to 4 numbers with commas", text);
		o->conf[o->confs++] = (uint32_t)number;
		if (*p != ',')
			break;
	}
	return *p ? cmdline_bad(err, "-C '%.60s': not 1 to 4 numbers with commas", text) : 0;
}

static int get_mem_id(const char *text, uint16_t *id, char err[OPTIONS_ERR])
{
	const char *end;
	uint64_t number;

	if (get_number(text, UINT16_MAX, &number, &end) || *end || !number)
		return cmdline_bad(
			err, "-m '%.60s': a memory region has a number in 1..65535", text);
	*id = (uint16_t)number;
	return 0;
}

static bool is_switch_port(const char *name)
{
	const char *colon = strchr(name, ':');

	return strncmp(name, "vale", 4) == 0 && colon && colon[1];
}

static int get_name(int option, const char *text, struct vale_options *o, char err[OPTIONS_ERR])
{
	const char *name = strncmp(text, "netmap:", 7) == 0 ? text + 7 : text;
	size_t len = strlen(name);

	if (!len)
		return cmdline_bad(err, "-%c: the name is empty", option);
	if (len >= sizeof(o->name))
		return cmdline_bad(err, "-%c '%.70s': a name has at most %zu bytes", option, name,
			sizeof(o->name) - 1);
	if (strchr("ahdpPl", option) && !is_switch_port(name))
		return cmdline_bad(
			err, "-%c '%.70s': a port of a switch is needed, valeX:NAME", option, name);
	if (strchr("nr", option) && strchr(name, ':'))
		return cmdline_bad(
			err, "-%c '%.70s': the name of an interface has no ':'", option, name);
	memcpy(o->name, name, len + 1);
	return 0;
}

static enum vale_action action_of(int option)
{
	static const char letters[] = "gahdnrpP";
	static const enum vale_action actions[] = {VALE_RINGS, VALE_ATTACH, VALE_ATTACH_HOST,
		VALE_DETACH, VALE_NEWIF, VALE_DELIF, VALE_POLL, VALE_NO_POLL};

	return actions[strchr(letters, option) - letters];
}

/* What fits each alone may not fit together. */
static int check_together(const struct vale_options *o, int chosen, char err[OPTIONS_ERR])
{
	bool attach = o->action == VALE_ATTACH || o->action == VALE_ATTACH_HOST;

	if (o->confs && o->action != VALE_NEWIF && o->action != VALE_POLL)
		return cmdline_bad(err, "-C goes with -n and -p only");
	if (o->mem_id && o->action != VALE_NEWIF && !attach)
		return cmdline_bad(err, "-m goes with -n, -a and -h only");
	if (o->action == VALE_NEWIF && (o->conf[2] > UINT16_MAX || o->conf[3] > UINT16_MAX))
		return cmdline_bad(err, "-C: numbers of rings are in 0..%d", UINT16_MAX);
	if (o->action != VALE_POLL)
		return 0;
	if (o->confs < 2 || o->confs > 3 || o->conf[0] > 1)
		return cmdline_bad(err, "-%c needs -C 0,CPU or -C 1,CPU[,CPUS]", chosen);
	if (o->confs == 3 && (o->conf[2] == 0 || (o->conf[0] == 0 && o->conf[2] != 1)))
		return cmdline_bad(
			err, "-C: %u CPUs: mode 0 has one, mode 1 one or more", o->conf[2]);
	return 0;
}

int options_parse(int argc, char **argv, struct vale_options *o, char err[OPTIONS_ERR])
{
	static const struct option longs[] = {{"help", no_argument, NULL, 'H'}, {NULL, 0, NULL, 0}};
	int c, at, chosen = 0;

	memset(o, 0, sizeof(*o));
	opterr = 0;
	optind = 0; /* glibc: start anew */
	while (at = optind ? optind : 1,
		(c = getopt_long(argc, argv, "+:g:a:h:d:n:r:p:P:lC:m:v", longs, NULL)) != -1) {
		int ret = 0;

		if (cmdline_refused(c, argv[at], "--help", err))
			return -1;
		if (c == 'H') {
			o->action = VALE_HELP;
			return 0;
		}
		if (c == 'v') {
			o->verbose = true;
		} else if (c == 'C') {
			ret = get_conf(optarg, o, err);
		} else if (c == 'm') {
			ret = get_mem_id(optarg, &o->mem_id, err);
		} else if (chosen) {
			return cmdline_bad(err, "-%c and -%c: one thing at a time", chosen, c);
		} else if (c == 'l') {
			chosen = c;
			/* Its value is optional, and stands apart. */
			if (optind < argc && argv[optind][0] != '-') {
				o->action = VALE_LIST_ONE;
				ret = get_name(c, argv[optind++], o, err);
			}
		} else {
			chosen = c;
			o->action = action_of(c);
			ret = get_name(c, optarg, o, err);
		}
		if (ret)
			return ret;
	}
	if (optind < argc)
		return cmdline_bad(err, "unexpected argument '%.60s' (try --help)", argv[optind]);
	return check_together(o, chosen, err);
}
