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

/* What stands behind a subcommand: its options, and as its first argument names. */
static const struct {
	const char *subcommand;
	const char *lists[2]; /* of the report: names of these */
	const char *const options[12];
} arguments[] = {
	{"status", {NULL}, {"-v", "--verbose", "--json", NULL}},
	{"show", {"ports"}, {"--json", NULL}},
	{"list", {NULL}, {"--json", NULL}},
	{"top", {NULL},
		{"--once", "--count", "--interval", "--sort", "--filter", "--rings", "--width",
			"--json", "--help", NULL}},
	{"watch", {NULL}, {"--count", "--after", "--json", NULL}},
	{"capture", {"ports"},
		{"--write", "--count", "--snaplen", "--duration", "--direction", "--filter",
			"--file-size", "--files", "--slots", "--quiet", NULL}},
	{"metrics", {NULL}, {"--openmetrics", "--textfile", "--listen", NULL}},
	{"nic-check", {NULL}, {"--nic-socket", "--json", NULL}},
	{"macs", {"switches"}, {"--json", NULL}},
	{"flush", {"switches"}, {"--json", NULL}},
	{"attach", {NULL}, {"--host", "--json", NULL}},
	{"detach", {"attached"}, {"--json", NULL}},
	{"rename", {"ports"}, {"--json", NULL}},
	{"limit", {"limits"}, {"--json", NULL}},
	{"apply", {NULL}, {"--check", "--exact", "--json", NULL}},
	{"save", {NULL}, {"--json", NULL}},
	{"full-wait", {"ports", "switches"}, {"--json", NULL}},
};

/* Options behind which a value stands: one of these words, or a file, a number, a text, which nobody offers. */
static const struct {
	const char *option;
	const char *const words[4];
} values[] = {
	{"--direction", {"rx", "tx", "both", NULL}},
	{"--sort", {NULL}}, /* offer_sorts() */
	{"--write", {NULL}},
	{"-w", {NULL}},
	{"--count", {NULL}},
	{"-c", {NULL}},
	{"--snaplen", {NULL}},
	{"-s", {NULL}},
	{"--duration", {NULL}},
	{"-d", {NULL}},
	{"--filter", {NULL}},
	{"-f", {NULL}},
	{"--file-size", {NULL}},
	{"-C", {NULL}},
	{"--files", {NULL}},
	{"-W", {NULL}},
	{"--slots", {NULL}},
	{"-S", {NULL}},
	{"--interval", {NULL}},
	{"--width", {NULL}},
	{"--after", {NULL}},
	{"--textfile", {NULL}},
	{"--listen", {NULL}},
	{"--nic-socket", {NULL}},
};

enum { VALUES = sizeof(values) / sizeof(values[0]) };

/* VALUES: it has no value, or is no option. */
static size_t find_value(const char *option)
{
	size_t i = 0;

	while (i < VALUES && strcmp(values[i].option, option) != 0)
		i++;
	return i;
}

/* Of the words of a subcommand in front of the one that is completed: its arguments that are no options. */
static unsigned count_arguments(int count, char **words)
{
	unsigned arguments_before = 0;

	for (int i = 0; i < count; i++) {
		if (find_value(words[i]) < VALUES)
			i++;
		else if (words[i][0] != '-')
			arguments_before++;
	}
	return arguments_before;
}

static void offer_value(size_t value)
{
	if (!strcmp(values[value].option, "--sort"))
		offer_sorts();
	else
		offer_all(values[value].words);
}

/* words: the subcommand, and what stands between it and the word that is completed. */
static void offer_arguments(const struct ctl *ctl, int count, char **words)
{
	size_t value = find_value(words[count - 1]);
	unsigned place = count_arguments(count - 1, words + 1);

	if (value < VALUES) {
		offer_value(value);
		return;
	}
	for (size_t i = 0; i < sizeof(arguments) / sizeof(arguments[0]); i++) {
		if (strcmp(arguments[i].subcommand, words[0]) != 0)
			continue;
		if (*word == '-')
			offer_all(arguments[i].options);
		for (int n = 0; n < 2 && *word != '-' && place == 0; n++)
			if (arguments[i].lists[n])
				offer_names(ctl, arguments[i].lists[n]);
	}
	if (place == 1 && !strcmp(words[0], "full-wait"))
		offer("any");
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
		offer_arguments(&found, argc - 1 - i, argv + i);
	return CTL_OK;
}
