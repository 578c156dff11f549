/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * netmapctl metrics: the report in the text format of Prometheus, or in OpenMetrics. All samples of a metric stand together, so
 * there is a table of metrics, each with what it is taken from; base units, counters end in _total.
 */
#include "metrics.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "one_line.h"
#include "proto_client.h"

enum type { COUNTER, GAUGE, INFO };

struct metric;

struct writer {
	FILE *out;
	bool openmetrics;
	const struct metric *metric;
};

struct metric {
	const char *name, *help; /* name: without _total or _info */
	enum type type;
	void (*put)(struct writer *w, const json_t *root);
	const char *key; /* of the report: for put() */
	double scale;    /* to base units; 0: 1 */
};

/* ---- samples -------------------------------------------------------------------------------- */

/* Labels: name, value, …; NULL ends them. */
struct labels {
	const char *pairs[12];
};

static void put_label(FILE *out, const char *name, const char *value, const char *before)
{
	fprintf(out, "%s%s=\"", before, name);
	for (; *value; value++) {
		if (*value == '\\' || *value == '"')
			fputc('\\', out);
		fputc(one_line_char(*value), out);
	}
	fputc('"', out);
}

static void put_sample(struct writer *w, const struct labels *labels, double value)
{
	static const char *const endings[] = {"_total", "", "_info"};
	const struct metric *m = w->metric;

	fprintf(w->out, "netmapd_%s%s", m->name, endings[m->type]);
	for (int i = 0; labels && labels->pairs[i]; i += 2)
		put_label(w->out, labels->pairs[i], labels->pairs[i + 1], i ? "," : "{");
	fprintf(w->out, "%s %.17g\n", labels && labels->pairs[0] ? "}" : "",
		value * (m->scale != 0 ? m->scale : 1));
}

static void put_title(struct writer *w)
{
	static const char *const types[] = {"counter", "gauge", "info"};
	const struct metric *m = w->metric;
	/* Prometheus' own format has the name of the samples here, and no type info. */
	const char *ending = w->openmetrics       ? ""
			     : m->type == COUNTER ? "_total"
			     : m->type == INFO    ? "_info"
						  : "";

	fprintf(w->out, "# HELP netmapd_%s%s %s\n", m->name, ending, m->help);
	fprintf(w->out, "# TYPE netmapd_%s%s %s\n", m->name, ending,
		w->openmetrics || m->type != INFO ? types[m->type] : "gauge");
}

/* ---- what they are taken from ------------------------------------------------------------------ */

static void put_up(struct writer *w, const json_t *root)
{
	put_sample(w, NULL, root ? 1 : 0);
}

static void put_version(struct writer *w, const json_t *root)
{
	const char *version = ctl_string(json_object_get(root, "daemon"), "version");
	const struct labels labels = {{"version", version}};

	put_sample(w, &labels, 1);
}

static void put_daemon(struct writer *w, const json_t *root)
{
	put_sample(w, NULL, (double)ctl_int(json_object_get(root, "daemon"), w->metric->key));
}

static void put_control(struct writer *w, const json_t *root)
{
	const json_t *control = json_object_get(json_object_get(root, "daemon"), "control");

	put_sample(w, NULL, (double)ctl_int(control, w->metric->key));
}

/* How many elements a list has. */
static void put_length(struct writer *w, const json_t *root)
{
	put_sample(w, NULL, (double)json_array_size(json_object_get(root, w->metric->key)));
}

/* Monitors of one port have the same name: they get their number. */
static char *port_name(const json_t *port)
{
	if (!strcmp(ctl_string(port, "kind"), "monitor"))
		return ctl_format(
			"%s#%" JSON_INTEGER_FORMAT, ctl_string(port, "name"), ctl_int(port, "id"));
	return ctl_format("%s", ctl_string(port, "name"));
}

/* A dead port has no name, and is about to go. */
static bool is_named(const json_t *port)
{
	return *ctl_string(port, "name") != '\0';
}

static void put_port_info(struct writer *w, const json_t *root)
{
	char user[CTL_USER];
	json_t *port;
	size_t i;

	json_array_foreach(json_object_get(root, "ports"), i, port)
	{
		char *name = port_name(port), *by = ctl_used_by(root, port);
		const struct labels labels = {{"port", name, "kind", ctl_string(port, "kind"),
			"user", ctl_user(port, user), "used_by", by}};

		if (is_named(port))
			put_sample(w, &labels, 1);
		free(by);
		free(name);
	}
}

static void each_ring(struct writer *w, const json_t *root,
	void (*put)(struct writer *w, const char *port, const json_t *ring))
{
	json_t *port, *ring;
	size_t i, j;

	json_array_foreach(json_object_get(root, "ports"), i, port)
	{
		char *name = port_name(port);

		json_array_foreach(json_object_get(port, "rings"), j, ring) if (is_named(port))
			put(w, name, ring);
		free(name);
	}
}

static void put_ring(struct writer *w, const char *port, const json_t *ring)
{
	char *id = ctl_member(ring, "id");
	const struct labels labels = {
		{"port", port, "direction", ctl_string(ring, "dir"), "ring", id}};

	put_sample(w, &labels, (double)ctl_int(ring, w->metric->key));
	free(id);
}

static void put_rings(struct writer *w, const json_t *root)
{
	each_ring(w, root, put_ring);
}

static void put_ring_drops(struct writer *w, const char *port, const json_t *ring)
{
	char *id = ctl_member(ring, "id");
	const char *cause;
	json_t *count;

	json_object_foreach(json_object_get(ring, "errors"), cause, count)
	{
		const struct labels labels = {{"port", port, "direction", ctl_string(ring, "dir"),
			"ring", id, "cause", cause}};

		put_sample(w, &labels, (double)json_integer_value(count));
	}
	free(id);
}

static void put_drops(struct writer *w, const json_t *root)
{
	each_ring(w, root, put_ring_drops);
}

/* A count of the applications and machine ports that use a port, in sum; nothing where nobody counts it. */
static void put_service(struct writer *w, const json_t *root)
{
	json_t *port, *user, *vm;
	size_t i, j, k;

	json_array_foreach(json_object_get(root, "ports"), i, port)
	{
		json_int_t id = ctl_int(port, "id"), sum = 0;
		bool counted = false;
		char *name = port_name(port);
		const struct labels labels = {{"port", name}};

		json_array_foreach(json_object_get(root, "applications"), j, user)
		{
			if (ctl_int(user, "port") == id && json_object_get(user, w->metric->key)) {
				sum += ctl_int(user, w->metric->key);
				counted = true;
			}
		}
		json_array_foreach(json_object_get(root, "vms"), j, vm)
		{
			json_array_foreach(json_object_get(vm, "ports"), k,
				user) if (ctl_int(user, "port") == id)
			{
				sum += ctl_int(user, w->metric->key);
				counted = true;
			}
		}
		if (counted && is_named(port))
			put_sample(w, &labels, (double)sum);
		free(name);
	}
}

static void put_switches(struct writer *w, const json_t *root)
{
	json_t *sw;
	size_t i;

	json_array_foreach(json_object_get(root, "switches"), i, sw)
	{
		const struct labels labels = {{"switch", ctl_string(sw, "name")}};

		put_sample(w, &labels, (double)ctl_int(sw, w->metric->key));
	}
}

static void put_region_size(struct writer *w, const json_t *root)
{
	json_t *region;
	size_t i;

	json_array_foreach(json_object_get(root, "regions"), i, region)
	{
		char *id = ctl_member(region, "id");
		const struct labels labels = {{"region", id}};

		put_sample(w, &labels, (double)ctl_int(region, "size"));
		free(id);
	}
}

static void put_region_free(struct writer *w, const json_t *root)
{
	json_t *region, *count;
	const char *pool;
	size_t i;

	json_array_foreach(json_object_get(root, "regions"), i, region)
	{
		char *id = ctl_member(region, "id");

		json_object_foreach(json_object_get(region, "free"), pool, count)
		{
			const struct labels labels = {{"region", id, "pool", pool}};

			put_sample(w, &labels, (double)json_integer_value(count));
		}
		free(id);
	}
}

static void put_workers(struct writer *w, const json_t *root)
{
	json_t *worker;
	char number[24];
	size_t i;

	json_array_foreach(json_object_get(json_object_get(root, "daemon"), "workers"), i, worker)
	{
		const struct labels labels = {{"worker", number}};

		snprintf(number, sizeof(number), "%zu", i);
		put_sample(w, &labels, (double)ctl_int(worker, w->metric->key));
	}
}

static void put_limits(struct writer *w, const json_t *root)
{
	json_t *limit;
	size_t i;

	json_array_foreach(json_object_get(root, "limits"), i, limit)
	{
		json_int_t value = ctl_int(limit, w->metric->key);
		const struct labels labels = {{"limit", ctl_string(limit, "name")}};

		/* There is none. */
		if (value == INT64_MAX)
			continue;
		put_sample(w, &labels, (double)value);
	}
}

static void put_users(struct writer *w, const json_t *root)
{
	json_t *limit, *used;
	const char *user;
	size_t i;

	json_array_foreach(json_object_get(root, "limits"), i, limit)
	{
		json_object_foreach(json_object_get(limit, "users"), user, used)
		{
			const struct labels labels = {
				{"limit", ctl_string(limit, "name"), "uid", user}};

			put_sample(w, &labels, (double)json_integer_value(used));
		}
	}
}

static const struct metric metrics[] = {
	{"up", "Whether netmapd answers.", GAUGE, put_up, NULL, 0},
	{"build", "The version of netmapd.", INFO, put_version, NULL, 0},
	{"uptime_seconds", "How long netmapd has run.", GAUGE, put_daemon, "uptime_s", 0},
	{"ports", "Ports that there are.", GAUGE, put_length, "ports", 0},
	{"applications", "Applications that have a port.", GAUGE, put_length, "applications", 0},
	{"machines", "Virtual machines.", GAUGE, put_length, "vms", 0},
	{"port", "A port: its kind, whose it is, and who uses it.", INFO, put_port_info, NULL, 0},
	{"ring_packets", "Packets that a ring has sent (tx) or received (rx).", COUNTER, put_rings,
		"packets", 0},
	{"ring_bytes", "Bytes of these packets.", COUNTER, put_rings, "bytes", 0},
	{"ring_drops", "Packets that were dropped at a ring, by cause.", COUNTER, put_drops, NULL,
		0},
	{"ring_syncs", "Times that a ring was looked at by the port.", COUNTER, put_rings, "syncs",
		0},
	{"ring_bad_syncs", "Times that its user has moved a ring out of its bounds.", COUNTER,
		put_rings, "bad_syncs", 0},
	{"ring_slots", "Slots of a ring.", GAUGE, put_rings, "slots", 0},
	{"ring_used_slots",
		"Slots that were sent and are not free again (tx), or received and not given back (rx).",
		GAUGE, put_rings, "fill", 0},
	{"port_interrupts", "Wake-ups of the users of a port.", COUNTER, put_service, "interrupts",
		0},
	{"port_kicks", "Wake-ups of netmapd by the guest that has a port.", COUNTER, put_service,
		"kicks", 0},
	{"port_stopped_rings", "Times that a ring was stopped, because its user did wrong.",
		COUNTER, put_service, "stopped_rings", 0},
	{"switch_ports", "Ports of a switch.", GAUGE, put_switches, "ports", 0},
	{"switch_addresses", "Addresses that a switch has learned.", GAUGE, put_switches, "macs",
		0},
	{"region_size_bytes", "Memory of a region.", GAUGE, put_region_size, NULL, 0},
	{"region_free_objects", "Objects of a region that are nobody's, by pool.", GAUGE,
		put_region_free, NULL, 0},
	{"worker_rings", "Rings that a worker serves.", GAUGE, put_workers, "rings", 0},
	{"worker_busy_seconds", "Time in which a worker had something to do.", COUNTER, put_workers,
		"busy_us", 1e-6},
	{"worker_cpu_seconds", "Processor time of a worker, polling included.", COUNTER,
		put_workers, "cpu_us", 1e-6},
	{"worker_rounds", "Times that a worker went round its rings.", COUNTER, put_workers,
		"rounds", 0},
	{"worker_sleeps", "Times that a worker went to sleep.", COUNTER, put_workers, "sleeps", 0},
	{"worker_wakes", "Times that a port has woken a worker.", COUNTER, put_workers, "wakes", 0},
	{"worker_kicks", "Times that an application has woken a worker.", COUNTER, put_workers,
		"kicks", 0},
	{"control_rounds", "Rounds of the control thread.", COUNTER, put_control, "rounds", 0},
	{"control_rests", "Times that the control thread let somebody wait who asks for too much.",
		COUNTER, put_control, "rests", 0},
	{"control_longest_seconds", "The longest time that one request has taken.", GAUGE,
		put_control, "longest_us", 1e-6},
	{"limit_each", "What one user can have.", GAUGE, put_limits, "limit", 0},
	{"limit_all", "What all users can have.", GAUGE, put_limits, "limit_all", 0},
	{"limit_used", "What all users have.", GAUGE, put_limits, "used", 0},
	{"limit_refused", "Requests that were refused because of a limit.", COUNTER, put_limits,
		"refused", 0},
	{"user_used", "What a user has of what is limited.", GAUGE, put_users, NULL, 0},
};

void metrics_write(FILE *out, const json_t *root, bool openmetrics)
{
	struct writer w = {.out = out, .openmetrics = openmetrics};

	for (size_t i = 0; i < sizeof(metrics) / sizeof(metrics[0]); i++) {
		w.metric = &metrics[i];
		if (!root && w.metric->put != put_up)
			continue;
		put_title(&w);
		w.metric->put(&w, root);
	}
	if (openmetrics)
		fputs("# EOF\n", out);
}

json_t *metrics_report(const struct ctl *ctl)
{
	struct nm_error err;
	json_t *root = NULL;
	int fd = nmd_connect(ctl->socket, NULL, &err);

	if (fd < 0)
		return NULL;
	if (ctl_report_on(fd, &root) != CTL_OK)
		root = NULL;
	close(fd);
	return root;
}

/* ---- the subcommand ---------------------------------------------------------------------------- */

static int write_file(const char *file, const json_t *root, bool openmetrics)
{
	char *beside;
	FILE *out = ctl_replace(file, &beside);

	if (!out)
		return CTL_FAILED;
	metrics_write(out, root, openmetrics);
	return ctl_replaced(out, beside, file);
}

/* One way to give them. */
static int check_options(
	const struct ctl *ctl, const char *file, const char *address, bool openmetrics)
{
	if (ctl->json)
		return ctl_fail(CTL_USAGE, "metrics are no JSON: see netmapctl status --json");
	if (address && file)
		return ctl_fail(CTL_USAGE, "metrics: --listen and --textfile exclude each other");
	if (address && openmetrics)
		return ctl_fail(CTL_USAGE,
			"metrics: with --listen who asks says whether he wants OpenMetrics, not --openmetrics");
	return CTL_OK;
}

int ctl_metrics(int argc, char **argv, const struct ctl *ctl)
{
	const char *file = NULL, *address = NULL;
	bool openmetrics = false;
	int status = CTL_OK;
	json_t *root;

	for (int i = 1; i < argc; i++) {
		if (!strcmp(argv[i], "--openmetrics"))
			openmetrics = true;
		else if (ctl_option(argc, argv, &i, "--textfile", &file) ||
			 ctl_option(argc, argv, &i, "--listen", &address)) {
			if ((!file && !address) || (file && !*file))
				return ctl_fail(CTL_USAGE,
					"metrics: --textfile needs a file, --listen an address");
		} else
			return ctl_fail(CTL_USAGE,
				"metrics takes --openmetrics, --textfile FILE or --listen ADDRESS, not '%s'",
				argv[i]);
	}
	status = check_options(ctl, file, address, openmetrics);
	if (status)
		return status;
	if (address)
		return metrics_serve(ctl, address);
	root = metrics_report(ctl);
	if (file)
		status = write_file(file, root, openmetrics);
	else
		metrics_write(stdout, root, openmetrics);
	json_decref(root);
	return status;
}
