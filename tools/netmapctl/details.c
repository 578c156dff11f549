/* SPDX-License-Identifier: BSD-2-Clause */
/* All that netmapd reports, whatever its shape: what netmapctl status -v prints below its tables. */
#include "netmapctl.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { DEPTH_MAX = 4 }; /* of lists in lists */

/* Members that have a place of their own; all others are listed by name. */
static const char *const port_members[] = {"name", "rings", NULL};
static const char *const ring_members[] = {"dir", "id", "errors", NULL};

/* What one element of a list is called. */
static const struct {
	const char *list, *element;
} singular[] = {
	{"applications", "application"},
	{"attached", "attached device"},
	{"limits", "limit"},
	{"switches", "switch"},
	{"vms", "machine"},
	{"memory", "memory"},
	{"regions", "region"},
	{"ports", "port"},
	{"workers", "worker"},
	{"pollers", "poller"},
};

static bool is_known(const char *const known[], const char *key)
{
	for (; known && *known; known++)
		if (!strcmp(*known, key))
			return true;
	return false;
}

static bool is_object_list(const json_t *value)
{
	return json_is_object(json_array_get(value, 0));
}

/* A count of nothing says nothing, nor does an empty list or object. */
static bool is_nothing(const json_t *value)
{
	return (json_is_integer(value) && json_integer_value(value) == 0) || json_is_false(value) ||
	       (json_is_array(value) && json_array_size(value) == 0) ||
	       (json_is_object(value) && json_object_size(value) == 0);
}

/*
 * Prints "key value" for each member that isn't known, is no list of objects, and
 * not nothing. `before` comes before the first, ", " between them. Returns how many.
 */
static int put_members(const json_t *object, const char *const known[], const char *before)
{
	const char *key;
	json_t *value;
	int count = 0;

	json_object_foreach((json_t *)object, key, value)
	{
		char *text;

		if (is_known(known, key) || is_object_list(value) || is_nothing(value))
			continue;
		text = ctl_member(object, key);
		printf("%s%s %s", count++ ? ", " : before, key, text);
		free(text);
	}
	return count;
}

/* What the table has no column for: one line for the ring, its drops by cause at the end. */
static void put_ring(const json_t *ring)
{
	static const char *const title_only[] = {NULL};
	json_t *errors = json_object_get(ring, "errors");
	char *dir = ctl_member(ring, "dir"), *id = ctl_member(ring, "id");
	char *title = ctl_format("    %s %s: ", dir, id);
	char *dropped = ctl_format("%sdropped: ", title);
	int count = put_members(ring, ring_members, title);

	count += put_members(errors, title_only, count ? ", dropped: " : dropped);
	if (count)
		putchar('\n');
	free(dropped);
	free(title);
	free(dir);
	free(id);
}

static void put_port_details(const json_t *port)
{
	json_t *ring;
	size_t i;

	if (put_members(port, port_members, "    "))
		putchar('\n');
	json_array_foreach(json_object_get(port, "rings"), i, ring) put_ring(ring);
}

/* Ports that have something to tell. */
static void put_ports(const json_t *ports)
{
	json_t *port;
	size_t i;

	json_array_foreach(ports, i, port)
	{
		char *name = ctl_member(port, "name");

		printf("port %s\n", name);
		put_port_details(port);
		free(name);
	}
}

static const char *element_name(const char *list)
{
	for (size_t i = 0; i < sizeof(singular) / sizeof(singular[0]); i++)
		if (!strcmp(singular[i].list, list))
			return singular[i].element;
	return list;
}

static void put_lists(const json_t *object, const char *const known[], int depth);

/* One line: what it is, its number and name, its members; its lists below, moved in. */
static void put_object(const char *what, const json_t *object, int depth)
{
	static const char *const in_title[] = {"id", "name", NULL};

	printf("%*s%s", 4 * depth, "", what);
	for (size_t i = 0; in_title[i]; i++)
		if (json_object_get(object, in_title[i])) {
			char *text = ctl_member(object, in_title[i]);

			printf("%s%s", text[0] ? " " : "", text);
			free(text);
		}
	put_members(object, in_title, ": ");
	putchar('\n');
	put_lists(object, NULL, depth + 1);
}

static void put_lists(const json_t *object, const char *const known[], int depth)
{
	json_t *value, *element;
	const char *key;
	size_t i;

	if (depth > DEPTH_MAX)
		return;
	json_object_foreach((json_t *)object, key, value)
	{
		if (is_known(known, key) || !is_object_list(value))
			continue;
		json_array_foreach(value, i, element) put_object(element_name(key), element, depth);
	}
}

/* A blank line, and then whatever else is at the top of the report. */
static void put_rest(const json_t *root)
{
	static const char *const in_table[] = {"ports", NULL};
	const char *key;
	json_t *value;

	putchar('\n');
	put_lists(root, in_table, 0);
	json_object_foreach((json_t *)root, key, value)
	{
		char *text;

		if (is_known(in_table, key) || is_object_list(value) || is_nothing(value))
			continue;
		if (json_is_object(value)) {
			put_object(key, value, 0);
			continue;
		}
		text = ctl_text(value);
		printf("%s %s\n", key, text);
		free(text);
	}
}

int ctl_put_details(const json_t *root)
{
	put_ports(json_object_get(root, "ports"));
	put_rest(root);
	return CTL_OK;
}
