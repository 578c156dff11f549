/* SPDX-License-Identifier: BSD-2-Clause */
/* netmapctl - look into a running netmapd, and change what is in it. See netmapctl.h. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "netmapctl.h"

static const struct {
	const char *name, *arguments, *help;
	ctl_command *run;
} subcommands[] = {
	{"status", "[-v]", "ports, switches, machines; all that netmapd reports with -v",
		ctl_status},
	{"show", "PORT", "one port: its rings, drops, users", ctl_show},
	{"list", "", "names of the ports, one per line", ctl_list},
	{"top", "[OPTION…]", "rates of ports and rings, as a screen (top --help)", ctl_top},
	{"watch", "[--count N]", "ports, machines and links as they come and go", ctl_watch},
	{"capture", "PORT [OPTION…]", "what passes a port, as pcapng (netmapctl(1))", ctl_capture},
	{"metrics", "[OPTION…]", "for Prometheus, as text, file or over HTTP (netmapctl(1))",
		ctl_metrics},
	{"macs", "[SWITCH]", "addresses that the switch, or each switch, has learned", ctl_macs},
	{"flush", "SWITCH", "makes the switch forget them", ctl_flush},
	{"attach", "SWITCH:DEVICE [--host]", "puts a device on a switch", ctl_attach},
	{"detach", "SWITCH:DEVICE", "takes it off", ctl_detach},
	{"rename", "PORT NAME", "another name for a port, on its switch", ctl_rename},
	{"limit", "[WHAT[=N[/M]]]", "what each user, and all, can have; changes it", ctl_limit},
	{"apply", "FILE… [--check] [--exact]", "makes it what the files say (netmapd.conf(5))",
		ctl_apply},
	{"save", "[FILE]", "as a configuration what there is", ctl_save},
	{"full-wait", "PORT|SWITCH MS|any",
		"how long packets between stacks wait for a full receiver", ctl_full_wait},
	{"nic-check", "INTERFACE", "what a network interface can do as a port, by trying",
		ctl_nic_check},
	{"extcap", NULL, NULL, ctl_extcap},
	{"complete", NULL, NULL, ctl_complete},
};

enum { NUM_SUBCOMMANDS = sizeof(subcommands) / sizeof(subcommands[0]) };

const char *ctl_command_name(unsigned i)
{
	return i < NUM_SUBCOMMANDS && subcommands[i].help ? subcommands[i].name : NULL;
}

/* Bytes of a text in UTF-8 that are no characters of their own. */
static int count_more_bytes(const char *text)
{
	int count = 0;

	for (; *text; text++)
		count += ((unsigned char)*text & 0xc0) == 0x80;
	return count;
}

static void put_usage(void)
{
	fputs("Usage: netmapctl [--socket PATH] [--json] SUBCOMMAND [ARGUMENT…]\n\n", stdout);
	for (unsigned i = 0; ctl_command_name(i); i++) {
		char left[48];

		snprintf(
			left, sizeof(left), "%s %s", subcommands[i].name, subcommands[i].arguments);
		printf("  %-*s %s\n", 32 + count_more_bytes(left), left, subcommands[i].help);
	}
	fputs("\n  --socket PATH  the control socket of netmapd\n"
	      "  --json         JSON instead of text (netmapctl(1) says where its schema is)\n"
	      "  --help         this text\n"
	      "  --version      the version of netmapctl\n",
		stdout);
}

static int finish(int status)
{
	if (fflush(stdout) == 0 && !ferror(stdout))
		return status;
	return ctl_fail(CTL_FAILED, "can't write to stdout: %s", strerror(errno));
}

/* --json may stand anywhere. What is left of the arguments. */
static int take_json(int argc, char **argv, struct ctl *ctl)
{
	int kept = 0;

	for (int i = 0; i < argc; i++) {
		if (!strcmp(argv[i], "--json"))
			ctl->json = true;
		else
			argv[kept++] = argv[i];
	}
	argv[kept] = NULL;
	return kept;
}

static int put_help(size_t i)
{
	printf("Usage: netmapctl %s %s\n\n%s; more is in netmapctl(1)\n", subcommands[i].name,
		subcommands[i].arguments, subcommands[i].help);
	return finish(CTL_OK);
}

static int run_subcommand(int argc, char **argv, struct ctl *ctl)
{
	if (argc < 1)
		return ctl_fail(CTL_USAGE, "which subcommand? netmapctl --help has all");
	for (size_t i = 0; i < NUM_SUBCOMMANDS; i++) {
		if (strcmp(subcommands[i].name, argv[0]))
			continue;
		if (subcommands[i].help && argc == 2 && !strcmp(argv[1], "--help") &&
			subcommands[i].run != ctl_top) /* which has more to say */
			return put_help(i);
		if (subcommands[i].help)
			argc = take_json(argc, argv, ctl);
		return finish(subcommands[i].run(argc, argv, ctl));
	}
	return ctl_fail(
		CTL_USAGE, "there is no subcommand '%s'; netmapctl --help has all", argv[0]);
}

int main(int argc, char **argv)
{
	struct ctl ctl = {.socket = NULL};
	int i = 1;

	for (; i < argc && argv[i][0] == '-'; i++) {
		if (!strcmp(argv[i], "--help")) {
			put_usage();
			return finish(CTL_OK);
		}
		if (!strcmp(argv[i], "--version")) {
			puts("netmapctl " PTNETMAP_VERSION);
			return finish(CTL_OK);
		}
		if (!strcmp(argv[i], "--json")) {
			ctl.json = true;
			continue;
		}
		if (!ctl_option(argc, argv, &i, "--socket", &ctl.socket))
			return ctl_fail(CTL_USAGE, "unknown option '%s'; see --help", argv[i]);
		if (!ctl.socket || !*ctl.socket)
			return ctl_fail(CTL_USAGE, "--socket needs a path");
	}
	return run_subcommand(argc - i, argv + i, &ctl);
}
