/* SPDX-License-Identifier: BSD-2-Clause */
#include "opts.h"

#include <ctype.h>
#include <errno.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "text.h"

static void add(struct opts *o, char *key, char *value)
{
	o->opt = text_realloc(o->opt, o->count + 1, sizeof(o->opt[0]));
	o->opt[o->count].key = key;
	o->opt[o->count].value = value;
	o->count++;
}

void opts_add(struct opts *o, const char *key, const char *value)
{
	add(o, text_dup(key), value ? text_dup(value) : NULL);
}

static char *json_scalar(json_t *v)
{
	if (json_is_string(v))
		return text_dup(json_string_value(v));
	if (json_is_integer(v))
		return text_format("%" JSON_INTEGER_FORMAT, json_integer_value(v));
	if (json_is_boolean(v))
		return text_dup(json_is_true(v) ? "on" : "off");
	return NULL;
}

static int parse_json(struct opts *o, const char *text)
{
	json_t *value, *root = json_loads(text, 0, NULL);
	const char *key;

	if (!json_is_object(root)) {
		json_decref(root);
		return -EINVAL;
	}
	json_object_foreach(root, key, value) add(o, text_dup(key), json_scalar(value));
	json_decref(root);
	return 0;
}

/* One element, up to a single comma; ",," becomes a comma. Returns what is behind it. */
static const char *next_element(const char *text, char *out)
{
	while (*text) {
		if (*text == ',') {
			if (text[1] != ',')
				break;
			text++;
		}
		*out++ = *text++;
	}
	*out = '\0';
	return *text == ',' ? text + 1 : text;
}

int opts_parse(struct opts *o, const char *text, const char *implied)
{
	char *element;
	bool first = true;

	memset(o, 0, sizeof(*o));
	if (text[0] == '{')
		return parse_json(o, text);

	element = text_realloc(NULL, strlen(text) + 1, 1);
	while (*text) {
		char *equals;

		text = next_element(text, element);
		equals = strchr(element, '=');
		if (equals) {
			*equals = '\0';
			add(o, text_dup(element), text_dup(equals + 1));
		} else if (first && implied) {
			add(o, text_dup(implied), text_dup(element));
		} else {
			add(o, text_dup(element), text_dup("on"));
		}
		first = false;
	}
	free(element);
	return 0;
}

void opts_free(struct opts *o)
{
	for (size_t i = 0; i < o->count; i++) {
		free(o->opt[i].key);
		free(o->opt[i].value);
	}
	free(o->opt);
	memset(o, 0, sizeof(*o));
}

const char *opts_get(const struct opts *o, const char *key)
{
	for (size_t i = o->count; i-- > 0;)
		if (!strcmp(o->opt[i].key, key))
			return o->opt[i].value;
	return NULL;
}

bool opts_has(const struct opts *o, const char *key)
{
	for (size_t i = 0; i < o->count; i++)
		if (!strcmp(o->opt[i].key, key))
			return true;
	return false;
}

bool opts_key_in(const char *key, const char *const known[])
{
	while (*known && strcmp(*known, key))
		known++;
	return *known;
}

const char *opts_unknown(const struct opts *o, const char *const known[])
{
	for (size_t i = 0; i < o->count; i++)
		if (!opts_key_in(o->opt[i].key, known))
			return o->opt[i].key;
	return NULL;
}

const char *opts_repeated(const struct opts *o)
{
	for (size_t i = 1; i < o->count; i++)
		for (size_t k = 0; k < i; k++)
			if (!strcmp(o->opt[i].key, o->opt[k].key))
				return o->opt[i].key;
	return NULL;
}

int opts_bool(const char *value)
{
	static const char *const yes[] = {"on", "yes", "true", "y"};
	static const char *const no[] = {"off", "no", "false", "n"};

	for (size_t i = 0; i < sizeof(yes) / sizeof(yes[0]); i++) {
		if (!strcmp(value, yes[i]))
			return 1;
		if (!strcmp(value, no[i]))
			return 0;
	}
	return -EINVAL;
}

bool opts_id_valid(const char *id)
{
	if (!isalpha((unsigned char)id[0]))
		return false;
	for (; *id; id++)
		if (!isalnum((unsigned char)*id) && !strchr("-._", *id))
			return false;
	return true;
}
