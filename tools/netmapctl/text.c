/* SPDX-License-Identifier: BSD-2-Clause */
/* Texts for people: numbers with units, users, durations; tables. */
#include "netmapctl.h"

#include <limits.h>
#include <math.h>
#include <pwd.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "one_line.h"

const char *ctl_unit(double value, const char *space, char buf[CTL_UNIT])
{
	static const char units[] = " kMGTPE";
	unsigned unit = 0;

	while (fabs(value) >= 999.5 && unit < sizeof(units) - 2) {
		value /= 1000;
		unit++;
	}
	if (unit == 0)
		snprintf(buf, CTL_UNIT, value == floor(value) || value >= 99.5 ? "%.0f" : "%.1f",
			value);
	else
		snprintf(buf, CTL_UNIT, "%.*f%s%c",
			value < 9.995   ? 2
			: value < 99.95 ? 1
					: 0,
			value, space, units[unit]);
	return buf;
}

const char *ctl_amount(double value, const char *unit, char buf[32])
{
	char number[CTL_UNIT];

	ctl_unit(value, " ", number);
	snprintf(buf, 32, "%s%s%s", number, *unit && !strchr(number, ' ') ? " " : "", unit);
	return buf;
}

static const char *bytes_1024(double value, char buf[32])
{
	static const char units[] = " KMGTPE";
	unsigned unit = 0;

	while (value >= 1023.5 && unit < sizeof(units) - 2) {
		value /= 1024;
		unit++;
	}
	if (unit == 0)
		snprintf(buf, 32, "%.0f B", value);
	else
		snprintf(buf, 32, "%.*f %ciB", value < 99.95 ? 1 : 0, value, units[unit]);
	return buf;
}

/* Numbers are as they are: who compares them with a limit wants all digits. */
const char *ctl_bound(const json_t *limit, const char *key, json_int_t value, char buf[32])
{
	static const char memory[] = "memory";
	const char *name = ctl_string(limit, "name");
	size_t length = strlen(name);

	if (value == INT64_MAX)
		snprintf(buf, 32, "no limit");
	else if (strcmp(key, "refused") != 0 && length >= strlen(memory) &&
		 !strcmp(name + length - strlen(memory), memory))
		bytes_1024((double)value, buf);
	else
		snprintf(buf, 32, "%" JSON_INTEGER_FORMAT, value);
	return buf;
}

const char *ctl_user(const json_t *object, char buf[CTL_USER])
{
	const json_t *uid = json_object_get(object, "user");
	const struct passwd *user;

	if (!json_is_integer(uid)) {
		snprintf(buf, CTL_USER, "-");
		return buf;
	}
	user = getpwuid((uid_t)json_integer_value(uid));
	if (user && strlen(user->pw_name) < CTL_USER)
		snprintf(buf, CTL_USER, "%s", user->pw_name);
	else
		snprintf(buf, CTL_USER, "%" JSON_INTEGER_FORMAT, json_integer_value(uid));
	return buf;
}

const char *ctl_duration(uint64_t seconds, char buf[32])
{
	unsigned long long s = seconds;

	if (s < 60)
		snprintf(buf, 32, "%llu s", s);
	else if (s < 3600)
		snprintf(buf, 32, "%llu min %llu s", s / 60, s % 60);
	else if (s < 86400)
		snprintf(buf, 32, "%llu h %llu min", s / 3600, s / 60 % 60);
	else
		snprintf(buf, 32, "%llu d %llu h", s / 86400, s / 3600 % 24);
	return buf;
}

unsigned ctl_columns(void)
{
	const char *text = getenv("COLUMNS");
	struct winsize size;

	if (text && strtoul(text, NULL, 10) > 0)
		return (unsigned)strtoul(text, NULL, 10);
	if (ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > 0)
		return size.ws_col;
	return UINT_MAX;
}

/* ---- tables ---------------------------------------------------------------------------------- */

enum { COLUMNS_MAX = 24 };

struct table {
	unsigned columns;
	char *title[COLUMNS_MAX];
	bool right[COLUMNS_MAX];
	size_t width[COLUMNS_MAX];
	char **cells;
	size_t num_cells, room;
};

static void *more(void *mem, size_t bytes)
{
	mem = realloc(mem, bytes);
	if (!mem)
		ctl_out_of_memory();
	return mem;
}

struct table *table_new(const char *titles)
{
	struct table *t = more(NULL, sizeof(*t));

	memset(t, 0, sizeof(*t));
	for (const char *p = titles; t->columns < COLUMNS_MAX; p++) {
		size_t length = strcspn(p, "|");
		unsigned c = t->columns++;

		t->right[c] = *p == '>';
		t->title[c] = ctl_format("%.*s", (int)length - t->right[c], p + t->right[c]);
		t->width[c] = strlen(t->title[c]);
		p += length;
		if (*p == '\0')
			break;
	}
	return t;
}

void table_cell(struct table *t, const char *format, ...)
{
	unsigned column = (unsigned)(t->num_cells % t->columns);
	va_list args;
	char *text;

	va_start(args, format);
	text = ctl_vformat(format, args);
	va_end(args);
	one_line(text);
	if (t->num_cells == t->room) {
		t->room = t->room * 2 + 64;
		t->cells = more(t->cells, t->room * sizeof(*t->cells));
	}
	t->cells[t->num_cells++] = text;
	if (strlen(text) > t->width[column])
		t->width[column] = strlen(text);
}

/* One line; the last column to the left is not padded. */
static void put_row(
	const struct table *t, char *const *cells, FILE *out, unsigned columns, unsigned indent)
{
	size_t at, size;
	char *line = NULL;
	FILE *f = open_memstream(&line, &size);

	if (!f)
		ctl_out_of_memory();
	fprintf(f, "%*s", (int)indent, "");
	for (unsigned c = 0; c < t->columns; c++) {
		bool last = c + 1 == t->columns && !t->right[c];

		fprintf(f, "%s%*s", c ? "  " : "",
			(t->right[c] ? 1 : -1) * (last ? 0 : (int)t->width[c]), cells[c]);
	}
	fclose(f);
	at = strlen(line) < columns ? strlen(line) : columns;
	while (at > 0 && line[at - 1] == ' ')
		at--;
	fprintf(out, "%.*s\n", (int)at, line);
	free(line);
}

void table_bound(struct table *t, const json_t *limit, const char *key)
{
	char buf[32];

	table_cell(t, "%s", ctl_bound(limit, key, ctl_int(limit, key), buf));
}

bool table_is_empty(const struct table *t)
{
	return t->num_cells == 0;
}

void table_print(struct table *t, FILE *out, unsigned columns, unsigned indent)
{
	if (t->num_cells > 0)
		put_row(t, t->title, out, columns, indent);
	for (size_t i = 0; i + t->columns <= t->num_cells; i += t->columns)
		put_row(t, t->cells + i, out, columns, indent);
	for (size_t i = 0; i < t->num_cells; i++)
		free(t->cells[i]);
	for (unsigned c = 0; c < t->columns; c++)
		free(t->title[c]);
	free(t->cells);
	free(t);
}
