/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Two reports as rates. A port, a ring, a worker is the same in both when its number is; one that is new has rates of what it has
 * done in all, one that has begun again (its counts are smaller) none.
 */
#include "netmapctl.h"

#include <stdlib.h>
#include <string.h>

/* What one rate is made of. */
struct span {
	double seconds;
};

static double rate_of(const struct span *span, json_int_t now, json_int_t before)
{
	return now < before ? 0 : (double)(now - before) / span->seconds;
}

static double member_rate(
	const struct span *span, const json_t *now, const json_t *before, const char *key)
{
	return rate_of(span, ctl_int(now, key), before ? ctl_int(before, key) : 0);
}

static void set_real(json_t *object, const char *key, double value)
{
	json_object_set_new(object, key, json_real(value));
}

/* ---- rings ----------------------------------------------------------------------------------- */

static const json_t *same_ring(const json_t *before, const json_t *ring)
{
	json_t *other;
	size_t i;

	json_array_foreach(json_object_get(before, "rings"), i,
		other) if (!strcmp(ctl_string(other, "dir"), ctl_string(ring, "dir")) &&
			   ctl_int(other, "id") == ctl_int(ring, "id")) return other;
	return NULL;
}

static json_int_t drops_of(const json_t *ring)
{
	json_int_t sum = 0;
	const char *cause;
	json_t *count;

	json_object_foreach(json_object_get(ring, "errors"), cause, count) sum +=
		json_integer_value(count);
	return sum;
}

static json_t *ring_rates(const struct span *span, const json_t *ring, const json_t *before)
{
	json_int_t slots = ctl_int(ring, "slots");
	double packets = member_rate(span, ring, before, "packets");
	double syncs = member_rate(span, ring, before, "syncs");
	json_t *out = json_object();

	json_object_set_new(out, "dir", json_string(ctl_string(ring, "dir")));
	json_object_set_new(out, "id", json_integer(ctl_int(ring, "id")));
	json_object_set_new(out, "slots", json_integer(slots));
	set_real(out, "fill", slots > 1 ? (double)ctl_int(ring, "fill") / (double)(slots - 1) : 0);
	set_real(out, "packets_per_s", packets);
	set_real(out, "bits_per_s", 8 * member_rate(span, ring, before, "bytes"));
	set_real(out, "batch", syncs > 0 ? packets / syncs : 0);
	set_real(out, "drops_per_s", rate_of(span, drops_of(ring), before ? drops_of(before) : 0));
	return out;
}

/* ---- ports ----------------------------------------------------------------------------------- */

static json_t *direction(
	const struct span *span, const json_t *port, const json_t *before, const char *dir)
{
	json_int_t packets = ctl_ring_sum(port, dir, "packets");
	json_int_t bytes = ctl_ring_sum(port, dir, "bytes");
	json_t *out = json_object();

	set_real(out, "packets_per_s",
		rate_of(span, packets, before ? ctl_ring_sum(before, dir, "packets") : 0));
	set_real(out, "bits_per_s",
		8 * rate_of(span, bytes, before ? ctl_ring_sum(before, dir, "bytes") : 0));
	json_object_set_new(out, "packets", json_integer(packets));
	json_object_set_new(out, "bytes", json_integer(bytes));
	return out;
}

static void set_drops(
	json_t *out, const struct span *span, const json_t *port, const json_t *before)
{
	json_t *now = ctl_drops(port), *old = ctl_drops(before), *rates = json_object(), *count;
	double sum = 0;
	const char *cause;

	json_object_foreach(now, cause, count)
	{
		double rate = rate_of(span, json_integer_value(count), ctl_int(old, cause));

		if (rate > 0)
			set_real(rates, cause, rate);
		sum += rate;
	}
	set_real(out, "drops_per_s", sum);
	json_object_set_new(out, "drops", rates);
	json_decref(old);
	json_decref(now);
}

/* Sums of a count of the port's applications and machine ports. False: none of them has it. */
static bool service_count(const json_t *root, json_int_t id, const char *key, json_int_t *sum)
{
	json_t *user, *vm;
	bool found = false;
	size_t i, j;

	*sum = 0;
	json_array_foreach(json_object_get(root, "applications"), i, user)
	{
		if (ctl_int(user, "port") != id || !json_object_get(user, key))
			continue;
		*sum += ctl_int(user, key);
		found = true;
	}
	json_array_foreach(json_object_get(root, "vms"), i, vm)
	{
		json_array_foreach(json_object_get(vm, "ports"), j, user)
		{
			if (ctl_int(user, "port") != id || !json_object_get(user, key))
				continue;
			*sum += ctl_int(user, key);
			found = true;
		}
	}
	return found;
}

static void set_service(json_t *out, const struct span *span, const json_t *now,
	const json_t *before, json_int_t id)
{
	static const char *const keys[][2] = {
		{"interrupts", "interrupts_per_s"}, {"kicks", "kicks_per_s"}};
	json_int_t count, old;

	for (int i = 0; i < 2; i++)
		if (service_count(now, id, keys[i][0], &count)) {
			service_count(before, id, keys[i][0], &old);
			set_real(out, keys[i][1], rate_of(span, count, old));
		}
}

static double fullest(const json_t *rings)
{
	double most = 0;
	json_t *ring;
	size_t i;

	json_array_foreach(rings, i, ring) if (ctl_real(ring, "fill") > most) most =
		ctl_real(ring, "fill");
	return most;
}

static json_t *port_rates(
	const struct span *span, const json_t *port, const json_t *before, const json_t *now)
{
	json_int_t id = ctl_int(port, "id");
	const json_t *old = ctl_find_int(before, "ports", "id", id);
	json_t *out = json_object(), *rings = json_array(), *ring;
	char *by = ctl_used_by(now, port), *name = ctl_member(port, "name");
	size_t i;

	json_array_foreach(json_object_get(port, "rings"), i, ring)
		json_array_append_new(rings, ring_rates(span, ring, same_ring(old, ring)));
	json_object_set_new(out, "id", json_integer(id));
	json_object_set_new(out, "name", json_string(name));
	json_object_set_new(out, "kind", json_string(ctl_string(port, "kind")));
	if (json_object_get(port, "user"))
		json_object_set(out, "user", json_object_get(port, "user"));
	json_object_set_new(out, "used_by", json_string(by));
	set_real(out, "fill", fullest(rings));
	json_object_set_new(out, "tx", direction(span, port, old, "tx"));
	json_object_set_new(out, "rx", direction(span, port, old, "rx"));
	set_drops(out, span, port, old);
	set_service(out, span, now, before, id);
	json_object_set_new(out, "rings", rings);
	free(name);
	free(by);
	return out;
}

/* ---- workers ---------------------------------------------------------------------------------- */

static json_t *worker_rates(const struct span *span, const json_t *worker, const json_t *before)
{
	json_t *out = json_object();

	set_real(out, "busy", member_rate(span, worker, before, "busy_us") / 1e6);
	set_real(out, "cpu", member_rate(span, worker, before, "cpu_us") / 1e6);
	json_object_set_new(out, "rings", json_integer(ctl_int(worker, "rings")));
	set_real(out, "rounds_per_s", member_rate(span, worker, before, "rounds"));
	set_real(out, "wakes_per_s", member_rate(span, worker, before, "wakes"));
	set_real(out, "kicks_per_s", member_rate(span, worker, before, "kicks"));
	return out;
}

json_t *ctl_rates(const json_t *before, const json_t *now)
{
	const json_t *d = json_object_get(now, "daemon"), *old = json_object_get(before, "daemon");
	json_int_t us = ctl_int(d, "clock_us") - ctl_int(old, "clock_us");
	struct span span = {.seconds = us > 0 ? (double)us / 1e6 : 1};
	json_t *out = json_object(), *ports = json_array(), *workers = json_array(), *element;
	size_t i;

	json_array_foreach(json_object_get(d, "workers"), i, element) json_array_append_new(workers,
		worker_rates(&span, element, json_array_get(json_object_get(old, "workers"), i)));
	json_array_foreach(json_object_get(now, "ports"), i, element)
		json_array_append_new(ports, port_rates(&span, element, before, now));
	set_real(out, "interval_s", span.seconds);
	json_object_set_new(out, "version", json_string(ctl_string(d, "version")));
	json_object_set_new(out, "uptime_s", json_integer(ctl_int(d, "uptime_s")));
	json_object_set_new(out, "workers", workers);
	json_object_set_new(out, "ports", ports);
	return out;
}
