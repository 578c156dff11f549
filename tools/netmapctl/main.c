/* SPDX-License-Identifier: BSD-2-Clause */
/* netmapctl - look into a running netmapd. See netmapctl.h. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "netmapctl.h"

static const struct {
	const char *name;
	int (*run)(int argc, char **argv, const char *socket);
} subcommands[] = {
	{"status", ctl_status},
	{"list", ctl_list},
	{"macs", ctl_macs},
	{"flush", ctl_flush},
};

static const char usage[] =
	"Usage: netmapctl [--socket PATH] status [--json] | list | macs [SWITCH] | flush SWITCH\n"
	"\n"
	"  status         ports with their packets and drops, switches, applications, machines\n"
	"  status --json  the same as netmapd reports it\n"
	"  list           names of the ports, one per line\n"
	"  macs [SWITCH]  addresses that the switch, or each switch, has learned, and where\n"
	"  flush SWITCH   makes the switch forget them\n"
	"\n"
	"  --socket PATH  the control socket of netmapd\n"
	"  --help         this text\n"
	"  --version      the version of netmapctl\n";

static int finish(int status)
{
	if (fflush(stdout) == 0 && !ferror(stdout))
		return status;
	return ctl_fail(CTL_FAILED, "can't write to stdout: %s", strerror(errno));
}

static int run_subcommand(int argc, char **argv, const char *socket)
{
	if (argc < 1)
		return ctl_fail(
			CTL_USAGE, "which subcommand? status, list, macs or flush; see --help");
	for (size_t i = 0; i < sizeof(subcommands) / sizeof(subcommands[0]); i++)
		if (!strcmp(subcommands[i].name, argv[0]))
			return finish(subcommands[i].run(argc, argv, socket));
	return ctl_fail(CTL_USAGE, "there is no subcommand '%s', only status, list, macs and flush",
		argv[0]);
}

int main(int argc, char **argv)
{
	const char *socket = NULL;
	int i = 1;

	for (; i < argc && argv[i][0] == '-'; i++) {
		if (!strcmp(argv[i], "--help")) {
			fputs(usage, stdout);
			return finish(CTL_OK);
		}
		if (!strcmp(argv[i], "--version")) {
			puts("netmapctl " PTNETMAP_VERSION);
			return finish(CTL_OK);
		}
		if (strcmp(argv[i], "--socket"))
			return ctl_fail(CTL_USAGE, "unknown option '%s'; see --help", argv[i]);
		if (++i == argc || !argv[i][0])
			return ctl_fail(CTL_USAGE, "--socket needs a path");
		socket = argv[i];
	}
	return run_subcommand(argc - i, argv + i, socket);
}
