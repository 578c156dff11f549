/* SPDX-License-Identifier: BSD-2-Clause */
/* netmapctl apply, save: configuration files (netmapd.conf(5)). */
#include "netmapctl.h"

#include <string.h>
#include <unistd.h>

#include "config_apply.h"
#include "one_line.h"

struct telling {
	json_t *json; /* of the changes; NULL: they are printed */
	bool check;
};

static void tell_json(json_t *list, const struct config_change *c)
{
	json_t *out = json_pack("{s:s, s:b}", "change", c->text, "done", c->error == NULL);

	if (c->was[0])
		json_object_set_new(out, "was", json_string(c->was));
	if (c->error)
		json_object_set_new(out, "error", json_string(c->error));
	if (c->at->line) {
		json_object_set_new(out, "file", json_string(c->at->file));
		json_object_set_new(out, "line", json_integer(c->at->line));
	}
	json_array_append_new(list, out);
}

static void tell(void *arg, const struct config_change *c)
{
	const struct telling *t = arg;
	char line[1024];

	if (c->error && c->at->line)
		ctl_fail(0, "%s:%u: %s", c->at->file, c->at->line, c->error);
	else if (c->error)
		ctl_fail(0, "%s: %s", c->text, c->error);
	if (t->json) {
		tell_json(t->json, c);
		return;
	}
	if (c->error)
		return;
	snprintf(line, sizeof(line), "%s%s%s%s%s", t->check ? "would " : "", c->text,
		c->was[0] ? " (was: " : "", c->was, c->was[0] ? ")" : "");
	one_line(line);
	puts(line);
}

static int apply(const struct config *config, bool check, bool exact, const struct ctl *ctl)
{
	struct telling telling = {.json = ctl->json ? json_array() : NULL, .check = check};
	struct config_apply how = {
		.check = check, .exact = exact, .changed = tell, .arg = &telling};
	struct nm_error err;
	int failures, status = ctl_connect(ctl, &how.fd);

	if (status)
		return status;
	failures = config_apply(config, &how, &err);
	close(how.fd);
	if (how.given_up)
		fputs("netmapctl: what the configuration has behind that was not asked for\n",
			stderr);
	if (failures < 0) {
		json_decref(telling.json);
		return ctl_failed(&err);
	}
	if (telling.json)
		ctl_put_json(telling.json, JSON_INDENT(1));
	else if (how.changes == 0)
		puts("nothing to change");
	return failures ? CTL_FAILED : CTL_OK;
}

static int read_config(struct config *config, const char *path)
{
	unsigned before = config->num_files;
	struct nm_error err;

	if (config_read(config, path, NULL, &err) != 0)
		return ctl_fail(CTL_USAGE, "%s", err.text);
	if (config->num_files == before)
		return ctl_fail(CTL_USAGE, "%.200s: no *.conf is in this directory", path);
	return CTL_OK;
}

int ctl_apply(int argc, char **argv, const struct ctl *ctl)
{
	struct config config = {0};
	bool check = false, exact = false;
	int status = CTL_OK;

	for (int i = 1; i < argc && !status; i++) {
		if (!strcmp(argv[i], "--check"))
			check = true;
		else if (!strcmp(argv[i], "--exact"))
			exact = true;
		else if (argv[i][0] == '-' && argv[i][1])
			status = ctl_fail(CTL_USAGE,
				"apply takes files or directories, --check and --exact, not '%s'",
				argv[i]);
		else if (!argv[i][0])
			status = ctl_fail(CTL_USAGE, "apply: a file has a name");
		else
			status = read_config(&config, argv[i]);
	}
	if (!status && config.num_files == 0)
		status = ctl_fail(CTL_USAGE, "apply needs a file, as /etc/netmapd/switch.conf");
	if (!status && config.policy_lines)
		ctl_fail(0,
			"%u %s what users may (allow, limit): netmapd itself reads those, at its start and on SIGHUP, and knows whether the users are there",
			config.policy_lines, config.policy_lines == 1 ? "line says" : "lines say");
	if (!status)
		status = apply(&config, check, exact, ctl);
	config_free(&config);
	return status;
}

static void put_config(FILE *out, const struct config *config)
{
	char text[CONFIG_TEXT_MAX];

	fputs("# netmapd.conf(5), written by netmapctl save\n", out);
	for (const struct config_item *i = config->items; i; i = i->next)
		fprintf(out, "%s\n", config_text(i, text));
}

static int save_to(const char *path, const struct config *config)
{
	char *beside;
	FILE *out = ctl_replace(path, &beside);

	if (!out)
		return CTL_FAILED;
	put_config(out, config);
	return ctl_replaced(out, beside, path);
}

static json_t *config_json(const struct config *config)
{
	json_t *out = json_array();
	char text[CONFIG_TEXT_MAX];

	for (const struct config_item *i = config->items; i; i = i->next)
		json_array_append_new(out, json_string(config_text(i, text)));
	return out;
}

int ctl_save(int argc, char **argv, const struct ctl *ctl)
{
	struct config config = {0};
	struct nm_error err;
	json_t *report;
	int status;

	if (argc > 2 || (argc == 2 && argv[1][0] == '-'))
		return ctl_fail(CTL_USAGE, "save takes one file, or none: then it prints");
	if (argc == 2 && !argv[1][0])
		return ctl_fail(CTL_USAGE, "save: a file has a name; without one it prints");
	status = ctl_report(ctl, &report);
	if (status)
		return status;
	if (config_of_report(report, &config, &err) != 0)
		status = ctl_failed(&err);
	else if (argc == 2)
		status = save_to(argv[1], &config);
	else if (ctl->json)
		status = ctl_put_json(config_json(&config), JSON_INDENT(1));
	else
		put_config(stdout, &config);
	config_free(&config);
	json_decref(report);
	return status;
}
