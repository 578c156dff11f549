/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * netmapctl complete WORD…: what the last word can become, one per line; for the completion of shells, which so know what netmapd
 * has. It says nothing about errors: who completes a word wants no message.
 */
#include "netmapctl.h"

#include <string.h>
#include <unistd.h>

#include "proto_client.h"

static const char *word; /* that is completed */

static void offer(const char *candidate)
{
	if (strncmp(candidate, word, strlen(word)) == 0)
		puts(candidate);
}

static void offer_all(const char *const list[])
{
	for (; *list; list++)
		offer(*list);
}

/* The names in a list of the report. */
static void offer_names(const struct ctl *ctl, const char *list)
{
	struct nm_error err;
	json_t *root, *element;
	int fd = nmd_connect(ctl->socket, NULL, &err), null = dup(STDERR_FILENO);
	size_t i;

	if (fd >= 0 && null >= 0 && freopen("/dev/null", "w", stderr) &&
		ctl_report_on(fd, &root) == CTL_OK) {
		json_array_foreach(json_object_get(root, list), i, element)
			offer(ctl_string(element, "name"));
		json_decref(root);
	}
	if (fd >= 0)
		close(fd);
	if (null >= 0)
		close(null);
}

static void offer_sorts(void)
{
	for (unsigned i = 0; top_sort_name(i); i++)
		offer(top_sort_name(i));
}

static void offer_subcommands(void)
{
	static const char *const options[] = {"--socket", "--json", "--help", "--version", NULL};

	for (unsigned i = 0; ctl_command_name(i); i++)
		offer(ctl_command_name(i));
	if (*word == '-')
		offer_all(options);
}

/* What stands behind a subcommand: its options, and names. */
static const struct {
	const char *subcommand, *list; /* names of this list of the report */
	const char *const options[12];
} arguments[] = {
	{"status", NULL, {"-v", "--verbose", "--json", NULL}},
	{"show", "ports", {"--json", NULL}},
	{"list", NULL, {"--json", NULL}},
	{"top", NULL,
		{"--once", "--count", "--interval", "--sort", "--filter", "--rings", "--width",
			"--json", "--help", NULL}},
	{"watch", NULL, {"--count", "--after", "--json", NULL}},
	{"capture", "ports",
		{"--write", "--count", "--snaplen", "--duration", "--direction", "--filter",
			"--file-size", "--files", "--slots", "--quiet", NULL}},
	{"metrics", NULL, {"--openmetrics", "--textfile", "--listen", NULL}},
	{"macs", "switches", {"--json", NULL}},
	{"flush", "switches", {"--json", NULL}},
	{"attach", NULL, {"--host", "--json", NULL}},
	{"detach", "attached", {"--json", NULL}},
	{"rename", "ports", {"--json", NULL}},
	{"limit", "limits", {"--json", NULL}},
	{"apply", NULL, {"--check", "--exact", "--json", NULL}},
	{"save", NULL, {"--json", NULL}},
	{"full-wait", "ports", {"--json", NULL}},
};

static void offer_arguments(const struct ctl *ctl, const char *subcommand, const char *before)
{
	if (!strcmp(before, "--sort")) {
		offer_sorts();
		return;
	}
	for (size_t i = 0; i < sizeof(arguments) / sizeof(arguments[0]); i++) {
		if (strcmp(arguments[i].subcommand, subcommand) != 0)
			continue;
		if (*word == '-')
			offer_all(arguments[i].options);
		else if (arguments[i].list)
			offer_names(ctl, arguments[i].list);
	}
}

int ctl_complete(int argc, char **argv, const struct ctl *ctl)
{
	struct ctl found = *ctl;
	int i = 1;

	if (argc < 2)
		return ctl_fail(CTL_USAGE, "complete needs the words so far");
	word = argv[argc - 1];
	while (i < argc - 1 && argv[i][0] == '-') {
		if (!strcmp(argv[i], "--socket") && i + 1 < argc - 1)
			found.socket = argv[++i];
		else if (!strcmp(argv[i], "--socket"))
			return CTL_OK; /* a path: the shell knows better */
		i++;
	}
	if (i == argc - 1)
		offer_subcommands();
	else
		offer_arguments(&found, argv[i], argv[argc - 2]);
	return CTL_OK;
}
