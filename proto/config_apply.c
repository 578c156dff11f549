/* SPDX-License-Identifier: BSD-2-Clause */
#include "config_apply.h"
#include "bounds.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <net/netmap.h>

#include "proto_client.h"
#include "report.h"

enum {
	DEFAULT_REGION = 1, /* of persistent ports and pipes */
	PART_DONE = 1,      /* see change_fn */
};

static const struct config_place nowhere;

/*
 * Makes a change: 0, a negative errno, or PART_DONE: it is made but for what the text says, whose errno err->code is.
 */
typedef int change_fn(int fd, const struct config_item *item, struct nm_error *err);

/* ---- requests ---------------------------------------------------------------------------------- */

/* A control request about `name`, as an application makes it. The body stands behind the header. */
static int ask(int fd, uint16_t type, const char *name, const void *body, size_t bytes,
	struct nm_error *err)
{
	struct {
		struct nmd_hdr hdr;
		struct nmreq_header req;
		char body[128];
	} message = {.req = {.nr_version = NETMAP_API, .nr_reqtype = type}};
	_Alignas(struct nmd_nmreq_reply) char reply[NMD_MSG_MAX];
	size_t size = offsetof(typeof(message), body) + bytes;
	ssize_t n;

	if (bytes > 0) {
		message.req.nr_body = sizeof(message.req);
		memcpy(message.body, body, bytes);
	}
	snprintf(message.req.nr_name, sizeof(message.req.nr_name), "%s", name);
	nmd_hdr_init(&message.hdr, NMD_NMREQ, size);
	n = nmd_ask(fd, &message, reply, sizeof(reply), sizeof(struct nmd_nmreq_reply), err);
	return n < 0 ? (int)n : 0;
}

static int set(int fd, const struct config_item *item, struct nm_error *err)
{
	struct nmd_set req = {.text = ""};
	struct nmd_reply reply;
	char text[CONFIG_TEXT_MAX];

	config_text(item, text);
	snprintf(req.text, sizeof(req.text), "%s", text);
	nmd_hdr_init(&req.hdr, NMD_SET,
		offsetof(struct nmd_set, text) +
			(strlen(text) < NMD_SPEC_MAX ? NMD_SPEC_MAX : NMD_SET_MAX));
	return nmd_call(fd, &req, &reply, sizeof(reply), err);
}

static int limit(int fd, const struct config_item *item, struct nm_error *err)
{
	struct nmd_limit req = {.text = ""};
	struct nmd_reply reply;

	nmd_hdr_init(&req.hdr, NMD_LIMIT, sizeof(req));
	memcpy(req.text, item->name, sizeof(req.text));
	return nmd_call(fd, &req, &reply, sizeof(reply), err);
}

static int make_port(int fd, const struct config_item *item, struct nm_error *err)
{
	const struct nmreq_vale_newif body = {
		.nr_tx_slots = item->tx_slots,
		.nr_rx_slots = item->rx_slots,
		.nr_tx_rings = (uint16_t)item->tx_rings,
		.nr_rx_rings = (uint16_t)item->rx_rings,
		.nr_mem_id = (uint16_t)item->region,
	};

	return ask(fd, NETMAP_REQ_VALE_NEWIF, item->name, &body, sizeof(body), err);
}

static int poll_device(int fd, const struct config_item *item, struct nm_error *err)
{
	const struct nmreq_vale_polling body = {
		.nr_mode = NETMAP_POLLING_MODE_MULTI_CPU,
		.nr_first_cpu_id = item->poll_cpu,
		.nr_num_polling_cpus = item->poll_threads,
	};

	return ask(fd, NETMAP_REQ_VALE_POLLING_ENABLE, item->name, &body, sizeof(body), err);
}

static int dont_poll_device(int fd, const struct config_item *item, struct nm_error *err)
{
	const struct nmreq_vale_polling body = {.nr_mode = NETMAP_POLLING_MODE_SINGLE_CPU};

	return ask(fd, NETMAP_REQ_VALE_POLLING_DISABLE, item->name, &body, sizeof(body), err);
}

static int attach_device(int fd, const struct config_item *item, struct nm_error *err)
{
	const struct nmreq_vale_attach body = {
		.reg = {.nr_mode = item->host ? NR_REG_NIC_SW : NR_REG_ALL_NIC}};
	int error = ask(fd, NETMAP_REQ_VALE_ATTACH, item->name, &body, sizeof(body), err);

	if (error || item->poll_threads == 0)
		return error;
	return poll_device(fd, item, err) ? PART_DONE : 0;
}

static int detach_device(int fd, const struct config_item *item, struct nm_error *err)
{
	const struct nmreq_vale_detach body = {0};

	return ask(fd, NETMAP_REQ_VALE_DETACH, item->name, &body, sizeof(body), err);
}

static int remove_port(int fd, const struct config_item *item, struct nm_error *err)
{
	return ask(fd, NETMAP_REQ_VALE_DELIF, item->name, NULL, 0, err);
}

static int attach_anew(int fd, const struct config_item *item, struct nm_error *err)
{
	int error = detach_device(fd, item, err);

	return error ? error : attach_device(fd, item, err);
}

static int poll_anew(int fd, const struct config_item *item, struct nm_error *err)
{
	int error = dont_poll_device(fd, item, err);

	return error || item->poll_threads == 0 ? error : poll_device(fd, item, err);
}

/* ---- what is there ------------------------------------------------------------------------------- */

static const char *string(const json_t *object, const char *key)
{
	const char *text = json_string_value(json_object_get(object, key));

	return text ? text : "";
}

static uint32_t number(const json_t *object, const char *key)
{
	return (uint32_t)json_integer_value(json_object_get(object, key));
}

static uint64_t amount(const json_t *object, const char *key)
{
	return (uint64_t)json_integer_value(json_object_get(object, key));
}

/* "set NAME VALUE", "place PATTERN WORKERS", as netmapd has it in its report. */
static int add_line(struct config *config, const char *what, const char *name, const char *value,
	struct nm_error *err)
{
	char line[CONFIG_TEXT_MAX];
	struct config_item item;
	int error;

	if ((size_t)snprintf(line, sizeof(line), "%s %s %s", what, name, value) >= sizeof(line))
		return nm_error_set(err, -EPROTO,
			"netmapd's report has a value of %zu bytes for %s %.60s; at most %d are possible",
			strlen(value), what, name, CONFIG_LIST_MAX);
	error = config_parse(line, &item, err);
	return error ? error : config_add(config, &item, err);
}

/* As netmapd has it in its report. */
static int add_full_waits(struct config *config, const json_t *daemon, struct nm_error *err)
{
	const json_t *one;
	char ms[16];
	size_t i;
	int error = 0;

	json_array_foreach(json_object_get(daemon, "full_wait"), i, one)
	{
		snprintf(ms, sizeof(ms), "%u", number(one, "ms"));
		if (!error)
			error = add_line(config, "full-wait", string(one, "name"), ms, err);
	}
	return error;
}

static uint32_t count_rings(const json_t *port, const char *dir, uint32_t *slots)
{
	const json_t *ring;
	uint32_t count = 0;
	size_t i;

	json_array_foreach(json_object_get(port, "rings"), i, ring)
	{
		if (strcmp(string(ring, "dir"), dir) != 0 ||
			json_is_true(json_object_get(ring, "host")))
			continue;
		count++;
		*slots = number(ring, "slots");
	}
	return count;
}

/* A region that was named by its number; others get a number of their own each time. */
static uint32_t named_region(const json_t *report, const json_t *port)
{
	uint32_t id = number(port, "region");
	const json_t *region;
	size_t i;

	json_array_foreach(json_object_get(report, "regions"), i, region)
	{
		if (number(region, "id") == id && json_is_true(json_object_get(region, "shared")))
			return id == DEFAULT_REGION ? 0 : id;
	}
	return 0;
}

static int add_ports(struct config *config, const json_t *report, struct nm_error *err)
{
	const json_t *list = json_object_get(report, "ports");
	int error = 0;

	/* The report begins with the last one. */
	for (size_t i = json_array_size(list); i-- > 0 && !error;) {
		const json_t *port = json_array_get(list, i);
		struct config_item item = {
			.kind = CONFIG_PORT, .region = named_region(report, port)};

		if (strcmp(string(port, "kind"), "tap") != 0)
			continue;
		snprintf(item.name, sizeof(item.name), "%s", string(port, "name"));
		item.tx_rings = count_rings(port, "tx", &item.tx_slots);
		item.rx_rings = count_rings(port, "rx", &item.rx_slots);
		error = config_add(config, &item, err);
	}
	return error;
}

static int add_attached(struct config *config, const json_t *report, struct nm_error *err)
{
	const json_t *list = json_object_get(report, "attached");
	int error = 0;

	for (size_t i = json_array_size(list); i-- > 0 && !error;) {
		const json_t *att = json_array_get(list, i);
		struct config_item item = {.kind = CONFIG_ATTACH,
			.host = json_is_true(json_object_get(att, "host_rings")),
			.poll_threads = number(att, "poll_threads"),
			.poll_cpu = number(att, "poll_cpu")};

		snprintf(item.name, sizeof(item.name), "%s", string(att, "name"));
		if (item.poll_threads == 0)
			item.poll_cpu = 0;
		error = config_add(config, &item, err);
	}
	return error;
}

/* Those that are not as they were at the start. */
static int add_limits(struct config *config, const json_t *report, struct nm_error *err)
{
	const json_t *limit;
	int error = 0;
	size_t i;

	json_array_foreach(json_object_get(report, "limits"), i, limit)
	{
		struct config_item item = {.kind = CONFIG_LIMIT_ALL};

		if (error || !json_is_true(json_object_get(limit, "changed")))
			continue;
		snprintf(item.name, sizeof(item.name), "%.20s=%lld/%lld", string(limit, "name"),
			(long long)json_integer_value(json_object_get(limit, "limit")),
			(long long)json_integer_value(json_object_get(limit, "limit_all")));
		error = config_add(config, &item, err);
	}
	return error;
}

int config_of_report(const json_t *report, struct config *config, struct nm_error *err)
{
	const json_t *daemon = json_object_get(report, "daemon");
	const json_t *settings = json_object_get(daemon, "settings"), *place;
	int error = 0;
	size_t i;

	if (!json_is_object(settings))
		return nm_error_set(err, -EPROTO,
			"netmapd's report has no settings: it is older than this program");
	for (int s = 0; s < CONFIG_SETTINGS && !error; s++)
		error = add_line(config, "set", config_setting_name(s),
			string(settings, config_setting_name(s)), err);
	json_array_foreach(json_object_get(daemon, "placement"), i, place) if (!error) error =
		add_line(config, "place", string(place, "pattern"), string(place, "workers"), err);
	if (!error)
		error = add_full_waits(config, daemon, err);
	if (!error)
		error = add_limits(config, report, err);
	if (!error)
		error = add_ports(config, report, err);
	return error ? error : add_attached(config, report, err);
}

/* ---- changes ---------------------------------------------------------------------------------------- */

struct applying {
	struct config_apply *how;
	int failures;
	bool broken;    /* the connection: nothing more can be asked */
	bool part_done; /* the last change that failed had made something */
	const struct config_item
		*placed; /* the last placement that was there as the file wants it */
	bool place_anew; /* so are all that follow */
};

static void tell(struct applying *a, const struct config_item *item, const char *text,
	const char *was, const char *error)
{
	const struct config_change change = {&item->at, text, was, error};

	a->how->changes++;
	a->failures += error != NULL;
	a->how->changed(a->how->arg, &change);
}

static void change(struct applying *a, const struct config_item *item, const char *text,
	const char *was, change_fn *fn)
{
	struct nm_error err = {0}, why;
	int error = 0;

	if (!a->how->check)
		error = fn(a->how->fd, item, &err);
	a->part_done = error == PART_DONE;
	if (a->part_done)
		error = err.code;
	/* An answer that comes too late would be taken for the next one's. */
	if (error == -ECONNRESET || error == -EPIPE || error == -ETIMEDOUT) {
		a->broken = true;
		a->how->given_up = error == -ETIMEDOUT;
		why = err;
		nm_error_set(&err, error, "%.200s: %s", text, why.text);
	}
	tell(a, item, text, was, error ? err.text : NULL);
}

static bool differs(uint32_t wanted, uint32_t have)
{
	return wanted != 0 && wanted != have;
}

/* Rings are for life. */
static void want_port(
	struct applying *a, const struct config_item *item, const struct config_item *have)
{
	char text[CONFIG_TEXT_MAX], was[CONFIG_TEXT_MAX], error[2 * CONFIG_TEXT_MAX];

	config_text(item, text);
	if (!have) {
		change(a, item, text, "", make_port);
		return;
	}
	if (!differs(item->tx_rings, have->tx_rings) && !differs(item->rx_rings, have->rx_rings) &&
		!differs(item->tx_slots, have->tx_slots) &&
		!differs(item->rx_slots, have->rx_slots) &&
		(item->region == DEFAULT_REGION || !differs(item->region, have->region)))
		return;
	snprintf(error, sizeof(error),
		"%s is there with other rings (%s), which stay as they are made: remove it first (vale-ctl -r %s)",
		item->name, config_text(have, was), item->name);
	tell(a, item, text, was, error);
}

static void want_attached(
	struct applying *a, const struct config_item *item, const struct config_item *have)
{
	char text[CONFIG_TEXT_MAX], was[CONFIG_TEXT_MAX] = "";
	change_fn *fn = attach_device;

	if (have) {
		config_text(have, was);
		if (have->host != item->host)
			fn = attach_anew;
		else if (have->poll_threads != item->poll_threads ||
			 have->poll_cpu != item->poll_cpu)
			fn = have->poll_threads ? poll_anew : poll_device;
		else
			return;
	}
	change(a, item, config_text(item, text), was, fn);
}

static void want_value(
	struct applying *a, const struct config_item *item, const struct config_item *have)
{
	char text[CONFIG_TEXT_MAX], was[CONFIG_TEXT_MAX] = "";

	config_text(item, text);
	if (have)
		config_text(have, was);
	if (strcmp(text, was) != 0)
		change(a, item, text, was, set);
}

static bool follows(const struct config_item *item, const struct config_item *before)
{
	while (before && before != item)
		before = before->next;
	return before != NULL;
}

/*
 * Of placements that match the last one that was set counts. So netmapd's are to be in the order of the file: behind one that
 * is set, or that has another place there, all are set anew.
 */
static void want_place(
	struct applying *a, const struct config_item *item, const struct config_item *have)
{
	char text[CONFIG_TEXT_MAX], was[CONFIG_TEXT_MAX] = "";

	if (item->count == 0) {
		if (have)
			want_value(a, item, have);
		return;
	}
	config_text(item, text);
	if (have)
		config_text(have, was);
	if (!a->place_anew && strcmp(text, was) == 0 && (!a->placed || follows(have, a->placed))) {
		a->placed = have;
		return;
	}
	a->place_anew = true;
	change(a, item, text, was, set);
}

/* "any" is as if there were none. */
static void want_full_wait(
	struct applying *a, const struct config_item *item, const struct config_item *have)
{
	if (item->count > 0 || have)
		want_value(a, item, have);
}

/* A limit with only a part for each user, "ports=5", says nothing of all. */
static bool has_limit(const json_t *report, const struct config_item *item)
{
	struct bound_wanted wanted;
	struct nm_error err;
	const json_t *limit;
	size_t i;

	if (bound_parse(item->name, false, &wanted, &err) != 0)
		return false; /* netmapd says why */
	json_array_foreach(json_object_get(report, "limits"), i, limit)
	{
		if (strcmp(string(limit, "name"), bound_name(wanted.what)) == 0)
			return amount(limit, "limit") == wanted.user &&
			       (!wanted.all || amount(limit, "limit_all") == wanted.all);
	}
	return false;
}

static void want(struct applying *a, const struct config_item *item, const struct config *have,
	const json_t *report)
{
	const struct config_item *same = config_find(have, item);
	char text[CONFIG_TEXT_MAX];

	switch (item->kind) {
	case CONFIG_SET:
		want_value(a, item, same);
		break;
	case CONFIG_PLACE:
		want_place(a, item, same);
		break;
	case CONFIG_LIMIT_ALL:
		if (!has_limit(report, item))
			change(a, item, config_text(item, text), "", limit);
		break;
	case CONFIG_PORT:
		want_port(a, item, same);
		break;
	case CONFIG_ATTACH:
		want_attached(a, item, same);
		break;
	case CONFIG_FULL_WAIT:
		want_full_wait(a, item, same);
	}
}

static void own(struct applying *a, const struct config_item *item)
{
	struct config_item copy = *item;
	char text[CONFIG_TEXT_MAX];
	struct nm_error err;

	copy.at = nowhere; /* the names of files go */
	if (a->how->owned && config_add(a->how->owned, &copy, &err) != 0)
		tell(a, item, config_text(item, text), "", err.text);
}

static bool was_before(const struct applying *a, const struct config_item *item)
{
	return a->how->before && config_find(a->how->before, item);
}

/* Of one that is there and isn't wanted any more. */
static void drop(struct applying *a, const struct config_item *have)
{
	struct config_item none = *have;
	char text[CONFIG_TEXT_MAX], was[CONFIG_TEXT_MAX];

	none.at = nowhere;
	config_text(have, was);
	switch (have->kind) {
	case CONFIG_PLACE:
	case CONFIG_FULL_WAIT:
		none.count = 0;
		change(a, &none, config_text(&none, text), was, set);
		break;
	case CONFIG_PORT:
		snprintf(text, sizeof(text), "remove %s", have->name);
		change(a, &none, text, was, remove_port);
		break;
	case CONFIG_ATTACH:
		snprintf(text, sizeof(text), "detach %s", have->name);
		change(a, &none, text, was, detach_device);
		break;
	default:
		break;
	}
}

/* What could not go, or was not asked for, goes the next time. */
static void drop_kind(struct applying *a, enum config_kind kind, const struct config *config,
	const struct config *have)
{
	for (const struct config_item *i = have->items; i; i = i->next) {
		int failures = a->failures;
		bool asked = !a->broken;

		if (i->kind != kind || config_find(config, i) ||
			(a->how->before && !was_before(a, i)))
			continue;
		if (asked)
			drop(a, i);
		if (!asked || a->failures > failures)
			own(a, i);
	}
}

static bool is_any(const struct config_item *item)
{
	return (item->kind == CONFIG_PLACE || item->kind == CONFIG_FULL_WAIT) && item->count == 0;
}

/* What could not be made is another's, if it is there: unless it was the configuration's before, no answer came, or it was made but
 * for how it is polled. A line that takes something back has made nothing. */
static void apply_kind(struct applying *a, enum config_kind kind, const struct config *config,
	const struct config *have, const json_t *report)
{
	for (const struct config_item *i = config->items; i; i = i->next) {
		int failures = a->failures;
		bool asked = !a->broken;

		if (i->kind != kind)
			continue;
		a->part_done = false;
		if (asked)
			want(a, i, have, report);
		if (is_any(i))
			continue;
		if ((asked && (a->failures == failures || a->broken || a->part_done)) ||
			(config_find(have, i) && was_before(a, i)))
			own(a, i);
	}
}

static const struct config_item *find_setting(
	const struct config *config, enum config_setting setting)
{
	const struct config_item item = {.kind = CONFIG_SET, .setting = setting};

	return config_find(config, &item);
}

/* In their own order: the workers, then the CPUs of so many. */
static void apply_settings(struct applying *a, const struct config *config,
	const struct config *have, const json_t *report)
{
	for (int s = 0; s < CONFIG_SETTINGS && !a->broken; s++) {
		const struct config_item *item = find_setting(config, s);

		if (item)
			want(a, item, have, report);
	}
}

/* Workers that end have no rings placed on them, those that are placed on are there. */
static void apply_workers(struct applying *a, const struct config *config,
	const struct config *have, const json_t *report)
{
	const struct config_item *to = find_setting(config, CONFIG_WORKERS);
	bool fewer = to && to->numbers[0] < find_setting(have, CONFIG_WORKERS)->numbers[0];

	if (fewer)
		apply_kind(a, CONFIG_PLACE, config, have, report);
	apply_settings(a, config, have, report);
	if (!fewer)
		apply_kind(a, CONFIG_PLACE, config, have, report);
}

static void apply(struct applying *a, const struct config *config, const struct config *have,
	const json_t *report)
{
	/* A device is attached when it is there, and goes when it is not attached any more. */
	static const enum config_kind going[] = {
		CONFIG_ATTACH, CONFIG_PORT, CONFIG_PLACE, CONFIG_FULL_WAIT};
	static const enum config_kind coming[] = {
		CONFIG_LIMIT_ALL, CONFIG_FULL_WAIT, CONFIG_PORT, CONFIG_ATTACH};

	for (size_t i = 0; a->how->exact && i < sizeof(going) / sizeof(going[0]); i++)
		drop_kind(a, going[i], config, have);
	apply_workers(a, config, have, report);
	for (size_t i = 0; i < sizeof(coming) / sizeof(coming[0]); i++)
		apply_kind(a, coming[i], config, have, report);
}

int config_apply(const struct config *config, struct config_apply *how, struct nm_error *err)
{
	struct applying a = {.how = how};
	struct config have = {0};
	json_t *report;
	int error = nmd_report(how->fd, &report, err);

	if (error)
		return error;
	error = config_of_report(report, &have, err);
	if (!error)
		apply(&a, config, &have, report);
	config_free(&have);
	json_decref(report);
	return error ? error : a.failures;
}
