/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The screen of netmapctl top: sums, workers, then a line per port, sorted; its rings below it when asked for. On wide screens
 * there are more columns; the name gets what is left.
 */
#include "netmapctl.h"

#include <fnmatch.h>
#include <stdlib.h>
#include <string.h>

static const char *const sort_names[] = {"rate", "name", "tx", "rx", "drop", "fill", "int", NULL};

const char *top_sort_name(unsigned i)
{
	return i < sizeof(sort_names) / sizeof(sort_names[0]) ? sort_names[i] : NULL;
}

static double packets(const json_t *port, const char *dir)
{
	return ctl_real(json_object_get(port, dir), "packets_per_s");
}

static double bits(const json_t *port, const char *dir)
{
	return ctl_real(json_object_get(port, dir), "bits_per_s");
}

/* ---- which, and in which order ------------------------------------------------------------------ */

static const char *sort_by;

static double key_of(const json_t *port)
{
	if (!strcmp(sort_by, "tx"))
		return packets(port, "tx");
	if (!strcmp(sort_by, "rx"))
		return packets(port, "rx");
	if (!strcmp(sort_by, "drop"))
		return ctl_real(port, "drops_per_s");
	if (!strcmp(sort_by, "fill"))
		return ctl_real(port, "fill");
	if (!strcmp(sort_by, "int"))
		return ctl_real(port, "interrupts_per_s");
	return packets(port, "tx") + packets(port, "rx");
}

/* 9 comes before 10. */
static int compare_names(const json_t *a, const json_t *b)
{
	return strverscmp(ctl_string(a, "name"), ctl_string(b, "name"));
}

static int compare(const void *a, const void *b)
{
	const json_t *pa = *(json_t *const *)a, *pb = *(json_t *const *)b;
	double ka = key_of(pa), kb = key_of(pb);

	if (strcmp(sort_by, "name") != 0 && ka != kb)
		return ka < kb ? 1 : -1;
	return compare_names(pa, pb);
}

static bool is_wanted(const json_t *port, const char *filter)
{
	const char *name = ctl_string(port, "name");

	if (!filter || !*filter)
		return true;
	if (strpbrk(filter, "*?["))
		return fnmatch(filter, name, 0) == 0;
	return strstr(name, filter) || strstr(ctl_string(port, "used_by"), filter);
}

/* ---- lines ---------------------------------------------------------------------------------------- */

/* Columns behind the name, from left to right; those with a larger `from` are left out on narrow screens. */
static const struct {
	const char *title;
	int width;
	unsigned from; /* columns of the screen */
} columns[] = {
	{"KIND", -7, 100},
	{"USER", -8, 140},
	{"USED BY", -20, 160},
	{"TX p/s", 7, 0},
	{"TX b/s", 7, 0},
	{"RX p/s", 7, 0},
	{"RX b/s", 7, 0},
	{"DROP/s", 7, 0},
	{"FILL", 5, 0},
	{"INT/s", 6, 75},
	{"KICK/s", 6, 120},
	{"TX BATCH", 8, 180},
	{"CAUSE", -16, 110},
};

enum { NUM_COLUMNS = sizeof(columns) / sizeof(columns[0]), NAME_MIN = 12, NAME_MAX_WIDTH = 40 };

static unsigned shown_width(unsigned screen)
{
	unsigned width = 0;

	for (int c = 0; c < NUM_COLUMNS; c++)
		if (columns[c].from <= screen)
			width += (unsigned)abs(columns[c].width) + 1;
	return width;
}

static int name_width(unsigned screen)
{
	unsigned used = shown_width(screen);

	if (screen < used + NAME_MIN)
		return NAME_MIN;
	return screen - used > NAME_MAX_WIDTH ? NAME_MAX_WIDTH : (int)(screen - used);
}

/* cells[c] "" where there is nothing. A name that is too long ends in ~. */
static void put_line(FILE *out, unsigned screen, const char *name, char cells[][CTL_USER])
{
	int width = name_width(screen);
	char *line, *end;
	size_t size;
	FILE *f = open_memstream(&line, &size);

	if (!f)
		ctl_out_of_memory();
	if ((int)strlen(name) > width)
		fprintf(f, "%.*s~", width - 1, name);
	else
		fprintf(f, "%-*s", width, name);
	for (int c = 0; c < NUM_COLUMNS; c++)
		if (columns[c].from <= screen)
			fprintf(f, " %*.*s", columns[c].width, abs(columns[c].width), cells[c]);
	fclose(f);
	end = line + (strlen(line) < screen ? strlen(line) : screen);
	while (end > line && end[-1] == ' ')
		end--;
	fprintf(out, "%.*s\n", (int)(end - line), line);
	free(line);
}

static void unit_cell(char cell[CTL_USER], const json_t *there, double value)
{
	char buf[CTL_UNIT];

	snprintf(cell, CTL_USER, "%s", there ? ctl_unit(value, "", buf) : "-");
}

static const char *worst_cause(const json_t *drops)
{
	const char *cause, *worst = "";
	double most = 0;
	json_t *rate;

	json_object_foreach((json_t *)drops, cause, rate)
	{
		if (json_number_value(rate) > most) {
			most = json_number_value(rate);
			worst = cause;
		}
	}
	return worst;
}

static double batch_of(const json_t *port)
{
	double most = 0;
	json_t *ring;
	size_t i;

	json_array_foreach(json_object_get(port, "rings"), i,
		ring) if (!strcmp(ctl_string(ring, "dir"), "tx") && ctl_real(ring, "batch") > most)
		most = ctl_real(ring, "batch");
	return most;
}

static void put_port(FILE *out, unsigned screen, const json_t *port)
{
	char cells[NUM_COLUMNS][CTL_USER] = {""};

	snprintf(cells[0], CTL_USER, "%s", ctl_string(port, "kind"));
	ctl_user(port, cells[1]);
	snprintf(cells[2], CTL_USER, "%.30s", ctl_string(port, "used_by"));
	unit_cell(cells[3], port, packets(port, "tx"));
	unit_cell(cells[4], port, bits(port, "tx"));
	unit_cell(cells[5], port, packets(port, "rx"));
	unit_cell(cells[6], port, bits(port, "rx"));
	unit_cell(cells[7], port, ctl_real(port, "drops_per_s"));
	snprintf(cells[8], CTL_USER, "%.0f%%", 100 * ctl_real(port, "fill"));
	unit_cell(cells[9], json_object_get(port, "interrupts_per_s"),
		ctl_real(port, "interrupts_per_s"));
	unit_cell(cells[10], json_object_get(port, "kicks_per_s"), ctl_real(port, "kicks_per_s"));
	unit_cell(cells[11], port, batch_of(port));
	snprintf(cells[12], CTL_USER, "%.30s", worst_cause(json_object_get(port, "drops")));
	put_line(out, screen, ctl_string(port, "name"), cells);
}

static void put_ring(FILE *out, unsigned screen, const json_t *ring)
{
	char cells[NUM_COLUMNS][CTL_USER] = {""}, name[32];
	bool tx = !strcmp(ctl_string(ring, "dir"), "tx");

	snprintf(name, sizeof(name), "  %.8s %" JSON_INTEGER_FORMAT, ctl_string(ring, "dir"),
		ctl_int(ring, "id"));
	unit_cell(cells[tx ? 3 : 5], ring, ctl_real(ring, "packets_per_s"));
	unit_cell(cells[tx ? 4 : 6], ring, ctl_real(ring, "bits_per_s"));
	unit_cell(cells[7], ring, ctl_real(ring, "drops_per_s"));
	snprintf(cells[8], CTL_USER, "%.0f%%", 100 * ctl_real(ring, "fill"));
	if (tx)
		unit_cell(cells[11], ring, ctl_real(ring, "batch"));
	put_line(out, screen, name, cells);
}

static void put_titles(FILE *out, unsigned screen)
{
	char cells[NUM_COLUMNS][CTL_USER];

	for (int c = 0; c < NUM_COLUMNS; c++)
		snprintf(cells[c], CTL_USER, "%s", columns[c].title);
	put_line(out, screen, "PORT", cells);
}

/* ---- the whole ------------------------------------------------------------------------------------- */

struct screen {
	FILE *out;
	unsigned columns, left; /* lines left */
};

/* A line of text, cut to the screen. False: there is no room. */
static bool put_text(struct screen *s, const char *text)
{
	if (s->left == 0)
		return false;
	s->left--;
	fprintf(s->out, "%.*s\n", (int)s->columns, text);
	return true;
}

/* Of all ports, by cause: " (receiver_full 120, no_receiver 3)", or "". To be freed. */
static char *causes(const json_t *rates)
{
	json_t *sums = json_object(), *port, *rate;
	char *out = ctl_format("%s", ""), *longer, number[CTL_UNIT];
	const char *cause;
	size_t i;

	json_array_foreach(json_object_get(rates, "ports"), i, port)
	{
		json_object_foreach(json_object_get(port, "drops"), cause, rate)
		{
			double sum = ctl_real(sums, cause) + json_number_value(rate);

			json_object_set_new(sums, cause, json_real(sum));
		}
	}
	while (*(cause = worst_cause(sums))) {
		longer = ctl_format("%s%s%s %s", out, *out ? ", " : " (", cause,
			ctl_unit(ctl_real(sums, cause), "", number));
		free(out);
		out = longer;
		json_object_set_new(sums, cause, json_real(0)); /* told */
	}
	json_decref(sums);
	longer = ctl_format("%s%s", out, *out ? ")" : "");
	free(out);
	return longer;
}

static void put_sums(
	struct screen *s, const json_t *rates, const struct top_view *view, size_t shown)
{
	double sum[5] = {0};
	static const char *const units[] = {"p/s", "b/s", "p/s", "b/s", "p/s"};
	char u[5][32], uptime[32], *text, *why = causes(rates);
	json_t *port;
	size_t i;

	json_array_foreach(json_object_get(rates, "ports"), i, port)
	{
		sum[0] += packets(port, "tx");
		sum[1] += bits(port, "tx");
		sum[2] += packets(port, "rx");
		sum[3] += bits(port, "rx");
		sum[4] += ctl_real(port, "drops_per_s");
	}
	for (int n = 0; n < 5; n++)
		ctl_amount(sum[n], units[n], u[n]);
	text = ctl_format("netmapd %s, up %s, ports %zu of %zu, by %s%s%s%s",
		ctl_string(rates, "version"),
		ctl_duration((uint64_t)ctl_int(rates, "uptime_s"), uptime), shown,
		json_array_size(json_object_get(rates, "ports")), view->sort,
		view->filter && *view->filter ? ", only " : "",
		view->filter && *view->filter ? view->filter : "", view->paused ? ", PAUSED" : "");
	put_text(s, text);
	free(text);
	text = ctl_format("tx %s %s, rx %s %s, drops %s%s", u[0], u[1], u[2], u[3], u[4], why);
	put_text(s, text);
	free(text);
	free(why);
}

static void put_workers(struct screen *s, const json_t *rates)
{
	unsigned at = 0, each = s->columns >= 160 ? s->columns / 2 - 1 : s->columns;
	json_t *worker;
	size_t i, size;
	char *line = NULL;
	FILE *f = open_memstream(&line, &size);

	if (!f)
		ctl_out_of_memory();
	json_array_foreach(json_object_get(rates, "workers"), i, worker)
	{
		char wakes[CTL_UNIT], kicks[CTL_UNIT], text[96];

		snprintf(text, sizeof(text),
			"worker %zu: busy %3.0f%%, cpu %3.0f%%, rings %3" JSON_INTEGER_FORMAT
			", wakes %s/s, kicks %s/s",
			i, 100 * ctl_real(worker, "busy"), 100 * ctl_real(worker, "cpu"),
			ctl_int(worker, "rings"),
			ctl_unit(ctl_real(worker, "wakes_per_s"), "", wakes),
			ctl_unit(ctl_real(worker, "kicks_per_s"), "", kicks));
		if (at && at + each > s->columns) {
			fputc('\n', f);
			at = 0;
		}
		fprintf(f, "%-*s", at + 2 * each > s->columns ? 0 : (int)each, text);
		at += each;
	}
	fclose(f);
	for (char *p = line, *next; p && *p; p = next) {
		next = p + strcspn(p, "\n");
		if (*next)
			*next++ = '\0';
		put_text(s, p);
	}
	free(line);
}

static size_t choose(const json_t *rates, const struct top_view *view, json_t **list)
{
	size_t i, count = 0;
	json_t *port;

	json_array_foreach(json_object_get(rates, "ports"), i,
		port) if (is_wanted(port, view->filter)) list[count++] = port;
	sort_by = view->sort;
	/* NOLINTNEXTLINE(bugprone-sizeof-expression): of pointers */
	qsort(list, count, sizeof(list[0]), compare);
	return count;
}

static void put_ports(
	struct screen *s, json_t *const *list, size_t count, const struct top_view *view)
{
	json_t *ring;
	size_t j;

	for (size_t i = view->skip; i < count && s->left > 0; i++) {
		put_port(s->out, s->columns, list[i]);
		s->left--;
		if (!view->rings)
			continue;
		json_array_foreach(json_object_get(list[i], "rings"), j, ring)
		{
			if (s->left == 0)
				return;
			put_ring(s->out, s->columns, ring);
			s->left--;
		}
	}
}

void top_screen(FILE *out, const json_t *rates, const struct top_view *view)
{
	struct screen s = {.out = out,
		.columns = view->columns,
		.left = view->lines ? view->lines : UINT32_MAX};
	size_t all = json_array_size(json_object_get(rates, "ports"));
	/* NOLINTNEXTLINE(bugprone-sizeof-expression): of pointers */
	json_t **list = calloc(all + 1, sizeof(list[0]));
	size_t count;

	if (!list)
		ctl_out_of_memory();
	count = choose(rates, view, list);
	put_sums(&s, rates, view, count);
	put_workers(&s, rates);
	put_text(&s, "");
	if (s.left > 0) {
		put_titles(out, s.columns);
		s.left--;
	}
	put_ports(&s, list, count, view);
	free(list);
}
