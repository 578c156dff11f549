/* SPDX-License-Identifier: BSD-2-Clause */
/* netmapctl status: a line for each port, switch and machine; all that netmapd reports with -v; or the JSON that it is. */
#include "netmapctl.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static void put_amount(struct table *t, json_int_t amount, const char *unit)
{
	char buf[32];

	table_cell(t, "%s", ctl_amount((double)amount, unit, buf));
}

/* How many, and of what most. */
static void put_drops(struct table *t, const json_t *port)
{
	json_t *drops = ctl_drops(port), *count;
	json_int_t sum = 0, most = 0;
	const char *cause, *worst = "";
	char buf[CTL_UNIT];

	json_object_foreach(drops, cause, count)
	{
		sum += json_integer_value(count);
		if (json_integer_value(count) > most) {
			most = json_integer_value(count);
			worst = cause;
		}
	}
	if (sum)
		table_cell(t, "%s %s%s", ctl_unit((double)sum, " ", buf), worst,
			json_object_size(drops) > 1 ? ", …" : "");
	else
		table_cell(t, "0");
	json_decref(drops);
}

static void put_port(struct table *t, const json_t *root, const json_t *port)
{
	char *name = ctl_member(port, "name"), *kind = ctl_member(port, "kind");
	char *by = ctl_used_by(root, port), user[CTL_USER];

	table_cell(t, "%s", name);
	table_cell(t, "%s", kind);
	table_cell(t, "%s", ctl_user(port, user));
	table_cell(t, "%s", by);
	put_amount(t, ctl_ring_sum(port, "tx", "packets"), "");
	put_amount(t, ctl_ring_sum(port, "tx", "bytes"), "B");
	put_amount(t, ctl_ring_sum(port, "rx", "packets"), "");
	put_amount(t, ctl_ring_sum(port, "rx", "bytes"), "B");
	put_drops(t, port);
	free(by);
	free(kind);
	free(name);
}

static struct table *table_of_ports(const json_t *root)
{
	struct table *t = table_new(
		"PORT|KIND|USER|USED BY|>TX PACKETS|>TX BYTES|>RX PACKETS|>RX BYTES|DROPPED");
	json_t *port;
	size_t i;

	json_array_foreach(json_object_get(root, "ports"), i, port) put_port(t, root, port);
	return t;
}

static struct table *table_of_switches(const json_t *root)
{
	struct table *t = table_new("SWITCH|>PORTS|>ADDRESSES|DEVICES");
	json_t *sw, *att;
	size_t i, j;

	json_array_foreach(json_object_get(root, "switches"), i, sw)
	{
		char *name = ctl_member(sw, "name"), *ports = ctl_member(sw, "ports");
		char *macs = ctl_member(sw, "macs"), *devices = ctl_format("%s", "");
		size_t length = strlen(name);

		json_array_foreach(json_object_get(root, "attached"), j, att)
		{
			const char *on = ctl_string(att, "name");
			char *list = devices;

			if (strncmp(on, name, length) != 0 || on[length] != ':')
				continue;
			devices = ctl_format("%s%s%s", list, *list ? ", " : "", on + length + 1);
			free(list);
		}
		table_cell(t, "%s", name);
		table_cell(t, "%s", ports);
		table_cell(t, "%s", macs);
		table_cell(t, "%s", *devices ? devices : "-");
		free(devices);
		free(macs);
		free(ports);
		free(name);
	}
	return t;
}

static struct table *table_of_machines(const json_t *root)
{
	struct table *t = table_new("MACHINE|NAME|USER|PORTS");
	json_t *vm, *port;
	size_t i, j;

	json_array_foreach(json_object_get(root, "vms"), i, vm)
	{
		char *name = ctl_member(vm, "name"), *ports = ctl_format("%s", "");
		char user[CTL_USER];

		json_array_foreach(json_object_get(vm, "ports"), j, port)
		{
			char *list = ports;

			ports = ctl_format("%s%s%s (%s)", list, *list ? ", " : "",
				ctl_string(port, "name"), ctl_string(port, "state"));
			free(list);
		}
		table_cell(t, "vm%" JSON_INTEGER_FORMAT, ctl_int(vm, "id"));
		table_cell(t, "%s", *name ? name : "-");
		table_cell(t, "%s", ctl_user(vm, user));
		table_cell(t, "%s", *ports ? ports : "-");
		free(ports);
		free(name);
	}
	return t;
}

static bool is_near(json_int_t used, json_int_t most)
{
	return (double)used > 0.8 * (double)most;
}

/* By all together, or by a user. */
static bool is_limit_near(const json_t *limit)
{
	const json_t *own, *limits = json_object_get(limit, "user_limits");
	json_t *used;
	const char *uid;

	json_object_foreach(json_object_get(limit, "users"), uid, used)
	{
		own = json_object_get(limits, uid);
		if (is_near(json_integer_value(used),
			    own ? json_integer_value(own) : ctl_int(limit, "limit")))
			return true;
	}
	return is_near(ctl_int(limit, "used"), ctl_int(limit, "limit_all"));
}

/* Those that were met, or are near. */
static struct table *table_of_limits(const json_t *root)
{
	struct table *t = table_new("LIMIT|>USED|>OF ALL|>OF EACH|>REFUSED|USERS");
	json_t *limit;
	size_t i;

	json_array_foreach(json_object_get(root, "limits"), i, limit)
	{
		char *users;

		if (ctl_int(limit, "refused") == 0 && !is_limit_near(limit))
			continue;
		users = ctl_limit_users(limit);
		table_cell(t, "%s", ctl_string(limit, "name"));
		table_bound(t, limit, "used");
		table_bound(t, limit, "limit_all");
		table_bound(t, limit, "limit");
		table_bound(t, limit, "refused");
		table_cell(t, "%s", users);
		free(users);
	}
	return t;
}

static void put_head(const json_t *root)
{
	const json_t *d = json_object_get(root, "daemon");
	char *version = ctl_member(d, "version"), *pid = ctl_member(d, "pid"), uptime[32];

	printf("netmapd %s, pid %s, up %s; workers %zu; ports %zu, switches %zu, machines %zu, applications %zu\n",
		version, pid, ctl_duration((uint64_t)ctl_int(d, "uptime_s"), uptime),
		json_array_size(json_object_get(d, "workers")),
		json_array_size(json_object_get(root, "ports")),
		json_array_size(json_object_get(root, "switches")),
		json_array_size(json_object_get(root, "vms")),
		json_array_size(json_object_get(root, "applications")));
	free(pid);
	free(version);
}

/* Behind a blank line, if there is something in it. */
static void put_part(struct table *t)
{
	if (!table_is_empty(t))
		putchar('\n');
	table_print(t, stdout, ctl_columns(), 0);
}

static void put_screen(const json_t *root)
{
	static struct table *(*const parts[])(const json_t *root) = {
		table_of_ports, table_of_switches, table_of_machines, table_of_limits};

	put_head(root);
	for (size_t i = 0; i < sizeof(parts) / sizeof(parts[0]); i++)
		put_part(parts[i](root));
}

static int put_report(const struct ctl *ctl)
{
	int fd, status = ctl_connect(ctl, &fd);
	char *text;

	if (status)
		return status;
	status = ctl_report_text(fd, &text);
	close(fd);
	if (status)
		return status;
	puts(text);
	free(text);
	return CTL_OK;
}

int ctl_status(int argc, char **argv, const struct ctl *ctl)
{
	bool details = false;
	json_t *root;
	int status;

	for (int i = 1; i < argc; i++) {
		if (strcmp(argv[i], "-v") && strcmp(argv[i], "--verbose"))
			return ctl_fail(CTL_USAGE, "status takes -v and --json, not '%s'", argv[i]);
		details = true;
	}
	if (ctl->json)
		return put_report(ctl);
	status = ctl_report(ctl, &root);
	if (status)
		return status;
	put_screen(root);
	if (details) {
		putchar('\n');
		ctl_put_details(root);
	}
	json_decref(root);
	return CTL_OK;
}
