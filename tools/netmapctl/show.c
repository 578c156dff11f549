/* SPDX-License-Identifier: BSD-2-Clause */
/* netmapctl show PORT: all about one port, its rings, and who uses it. */
#include "netmapctl.h"

#include <stdlib.h>
#include <string.h>

/* The program of a process, without what can't be printed; "?" when it can't be read. */
static void program_name(json_int_t pid, char name[32])
{
	char path[40];
	FILE *f;

	snprintf(path, sizeof(path), "/proc/%" JSON_INTEGER_FORMAT "/comm", pid);
	f = fopen(path, "re");
	if (!f || !fgets(name, 32, f))
		snprintf(name, 32, "?");
	if (f)
		fclose(f);
	name[strcspn(name, "\n")] = '\0';
}

/* Is it about this port? By number; by name where there is none. */
static bool is_of(const json_t *user, const json_t *port)
{
	const json_t *id = json_object_get(user, "port");

	if (json_is_integer(id) && json_object_get(port, "id"))
		return json_integer_value(id) == ctl_int(port, "id");
	return !strcmp(ctl_string(user, "name"), ctl_string(port, "name"));
}

/* Copies of the elements of root's list that are about the port, each with `key` of the element that holds the list. */
static json_t *users_of(const json_t *list, const json_t *port)
{
	json_t *found = json_array(), *user;
	size_t i;

	json_array_foreach(list, i, user) if (is_of(user, port)) json_array_append(found, user);
	return found;
}

static json_t *machine_ports_of(const json_t *root, const json_t *port)
{
	json_t *found = json_array(), *vm, *user, *copy;
	size_t i, j;

	json_array_foreach(json_object_get(root, "vms"), i, vm)
	{
		json_array_foreach(json_object_get(vm, "ports"), j, user)
		{
			if (!is_of(user, port))
				continue;
			copy = json_copy(user);
			json_object_set_new(copy, "machine", json_integer(ctl_int(vm, "id")));
			json_object_set_new(
				copy, "machine_name", json_string(ctl_string(vm, "name")));
			json_array_append_new(found, copy);
		}
	}
	return found;
}

static json_t *attached_of(const json_t *root, const json_t *port)
{
	const char *name = ctl_string(port, "name");
	json_t *found = json_array(), *att;
	size_t i;

	json_array_foreach(json_object_get(root, "attached"), i,
		att) if (!strcmp(ctl_string(att, "device"), name) ||
			 !strcmp(ctl_string(att, "name"), name)) json_array_append(found, att);
	return found;
}

static json_t *about(const json_t *root, json_t *port)
{
	json_t *out = json_object();

	json_object_set(out, "port", port);
	json_object_set_new(
		out, "applications", users_of(json_object_get(root, "applications"), port));
	json_object_set_new(out, "machine_ports", machine_ports_of(root, port));
	json_object_set_new(out, "attached", attached_of(root, port));
	return out;
}

char *ctl_used_by(const json_t *root, const json_t *port)
{
	json_t *all = about(root, (json_t *)port);
	json_t *apps = json_object_get(all, "applications");
	json_t *vms = json_object_get(all, "machine_ports");
	json_t *attached = json_object_get(all, "attached");
	char *text, name[32];

	if (json_array_size(vms) > 0)
		text = ctl_format("vm%" JSON_INTEGER_FORMAT " %s",
			ctl_int(json_array_get(vms, 0), "machine"),
			ctl_string(json_array_get(vms, 0), "machine_name"));
	else if (json_array_size(apps) > 1)
		text = ctl_format("%zu applications", json_array_size(apps));
	else if (json_array_size(apps) == 1) {
		json_int_t pid = ctl_int(json_array_get(apps, 0), "pid");

		program_name(pid, name);
		text = ctl_format("%s[%" JSON_INTEGER_FORMAT "]", name, pid);
	} else if (json_array_size(attached) > 0)
		text = ctl_format("switch");
	else
		text = ctl_format("-");
	json_decref(all);
	return text;
}

/* ---- for people ---------------------------------------------------------------------------- */

/* A dash where netmapd has none. */
static void put_count(struct table *t, const json_t *ring, const char *key)
{
	if (json_object_get(ring, key))
		table_cell(t, "%" JSON_INTEGER_FORMAT, ctl_int(ring, key));
	else
		table_cell(t, "-");
}

static void put_rings(const json_t *port, unsigned columns)
{
	struct table *t = table_new(
		"RING|>SLOTS|>IN USE|>PACKETS|>BYTES|>SYNCS|>BAD SYNCS|>WAITED|>EXPIRED|DROPPED");
	char bytes[32];
	json_t *ring;
	size_t i;

	json_array_foreach(json_object_get(port, "rings"), i, ring)
	{
		char *drops =
			ctl_text(json_object_get(ring, "errors") ? json_object_get(ring, "errors")
								 : json_null());

		table_cell(t, "%s %" JSON_INTEGER_FORMAT "%s", ctl_string(ring, "dir"),
			ctl_int(ring, "id"),
			json_is_true(json_object_get(ring, "host")) ? " host" : "");
		table_cell(t, "%" JSON_INTEGER_FORMAT, ctl_int(ring, "slots"));
		table_cell(t, "%" JSON_INTEGER_FORMAT, ctl_int(ring, "fill"));
		table_cell(t, "%" JSON_INTEGER_FORMAT, ctl_int(ring, "packets"));
		table_cell(t, "%s", ctl_amount((double)ctl_int(ring, "bytes"), "B", bytes));
		table_cell(t, "%" JSON_INTEGER_FORMAT, ctl_int(ring, "syncs"));
		table_cell(t, "%" JSON_INTEGER_FORMAT, ctl_int(ring, "bad_syncs"));
		put_count(t, ring, "waits");
		put_count(t, ring, "expired");
		table_cell(t, "%s", *drops ? drops : "-");
		free(drops);
	}
	table_print(t, stdout, columns, 2);
}

/* Each element on a line: what it is, and its members. */
static void put_users(const char *what, const json_t *list)
{
	json_t *user;
	size_t i;

	json_array_foreach(list, i, user)
	{
		char *text = ctl_text(user);

		printf("  %s: %s\n", what, text);
		free(text);
	}
}

static void put_port(const json_t *all)
{
	json_t *port = json_copy(json_object_get(all, "port"));
	char *name = ctl_member(port, "name"), *rest, user[CTL_USER];

	printf("%s, user %s\n", name, ctl_user(port, user));
	json_object_del(port, "name");
	json_object_del(port, "user");
	json_object_del(port, "rings");
	rest = ctl_text(port);
	printf("  %s\n", rest);
	put_rings(json_object_get(all, "port"), ctl_columns());
	put_users("application", json_object_get(all, "applications"));
	put_users("machine", json_object_get(all, "machine_ports"));
	put_users("device", json_object_get(all, "attached"));
	free(rest);
	free(name);
	json_decref(port);
}

int ctl_show(int argc, char **argv, const struct ctl *ctl)
{
	json_t *root, *port, *all;
	int status;

	if (argc != 2)
		return ctl_fail(CTL_USAGE, "show needs the name of one port, as vale1:10");
	if (ctl_name("show", "a port, as vale1:10", argv[1]) != CTL_OK)
		return CTL_USAGE;
	status = ctl_report(ctl, &root);
	if (status)
		return status;
	port = ctl_find(root, "ports", "name", argv[1]);
	if (!port) {
		json_decref(root);
		return ctl_fail(
			CTL_NOT_FOUND, "%.80s: no such port; netmapctl list has all", argv[1]);
	}
	all = about(root, port);
	json_decref(root);
	if (ctl->json)
		return ctl_put_json(all, JSON_INDENT(1));
	put_port(all);
	json_decref(all);
	return CTL_OK;
}
