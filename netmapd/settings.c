/* SPDX-License-Identifier: BSD-2-Clause */
#include "settings.h"
#include "attachments.h"
#include "nic_poll.h"
#include "placement.h"
#include "port_service.h"
#include "vm.h"

#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <unistd.h>

enum {
	RULES_MAX = 256, /* each port that comes is compared with all of them */
	TURN_WAITS = 32, /* for rounds of workers, in a turn; and as many as one port more needs, */
	TURN_LOOKS = 32, /* and these, until those that have signalled have ended their rounds */
};

/* Of the last change: what is left of it. */
static struct {
	bool goes_on, anew;
	bool only_looks,
		once_more; /* settings_look_again(): it goes on; it is due behind what goes on */
	bool looks;        /* look_once_more() goes on, before other rings move */
	bool all;          /* have moved */
	unsigned next;     /* whom it waits for: workers, then pollers */
	int fd;            /* an eventfd that nobody signals: the loop wants one */
	struct loop_handle *handle;
	uint64_t turns; /* of all changes */
} state = {.fd = -1};

/* ---- rings that move ------------------------------------------------------------------------------ */

/*
 * Who has looked up a ring's worker before it got another one still signals the former. After the barrier what he has published
 * can be seen, and the new ones look once more. False: not all have been waited for yet.
 */
static bool look_once_more(struct daemon *d)
{
	unsigned waits = TURN_LOOKS;

	if (state.next == 0)
		nic_poll_barrier();
	for (; state.next < 2 * WORKERS_MAX; state.next++) {
		struct worker *w = state.next < WORKERS_MAX ? d->workers[state.next]
							    : d->pollers[state.next - WORKERS_MAX];

		if (!w)
			continue;
		if (waits-- == 0)
			return false;
		worker_barrier(w);
	}
	state.next = 0;
	for (unsigned i = 0; i < d->config.workers; i++)
		worker_wake(d->workers[i]);
	return true;
}

/* Workers that are no longer wanted have no rings now: their threads end. False: not all of them yet. */
static bool end_threads(struct daemon *d, int *waits)
{
	for (; d->threads > d->config.workers && *waits > 0; *waits -= 2) {
		worker_stop(d->workers[--d->threads]);
		d->config.cpus[d->threads] = -1;
	}
	return d->threads <= d->config.workers;
}

/* False: there is more to do. */
static bool move_some(struct daemon *d)
{
	int waits = TURN_WAITS;

	if (!state.looks)
		state.all = port_services_place(d, state.anew, &waits) &&
			    attachments_place(d, state.anew, &waits);
	state.looks = !look_once_more(d);
	return !state.looks && state.all && end_threads(d, &waits);
}

/* All workers look at their rings once more, without rings that move. */
static void begin_look(void)
{
	state.goes_on = state.only_looks = state.looks = state.all = true;
	state.once_more = state.anew = false;
	state.next = 0;
}

static void take_turn(void *arg, uint32_t events)
{
	struct daemon *d = arg;

	if (!state.goes_on)
		return;
	state.turns++;
	state.goes_on = !move_some(d);
	if (!state.goes_on && state.once_more)
		begin_look();
	if (state.goes_on)
		loop_again(d->loop, state.handle);
}

/* Its pass at the end is one for those who want to look again as well. */
static void move_rings(struct daemon *d, bool anew)
{
	if (anew)
		d->next_worker = 0;
	d->move++;
	state.goes_on = true;
	state.only_looks = state.once_more = false;
	state.anew = anew;
	state.looks = false;
	state.next = 0;
	take_turn(d, 0);
}

void settings_look_again(struct daemon *d)
{
	if (state.goes_on) {
		state.once_more = true;
		return;
	}
	begin_look();
	loop_again(d->loop, state.handle);
}

bool settings_go_on(void)
{
	return state.goes_on && !state.only_looks;
}

uint64_t settings_turns(void)
{
	return state.turns;
}

int settings_begin(struct daemon *d)
{
	state.fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (state.fd < 0)
		return -errno;
	return loop_add(d->loop, state.fd, EPOLLIN, take_turn, d, &state.handle);
}

/* ---- workers ------------------------------------------------------------------------------------- */

/* Those that were stopped are there, and run again. */
static int start_worker(struct daemon *d, unsigned number, const struct worker_config *config)
{
	if (d->workers[number])
		return worker_restart(d->workers[number], config);
	d->workers[number] = worker_new(config);
	return d->workers[number] ? 0 : -errno;
}

static int add_workers(struct daemon *d, unsigned count, struct nm_error *err)
{
	unsigned had = d->config.workers;

	for (unsigned i = had; i < count; i++) {
		const struct worker_config config = {
			.poll_us = d->config.poll_us,
			.cpu = d->config.cpus[i],
			.stopped = d->stopped_rings,
			.number = i,
			.loop = d->loop,
		};
		int error = start_worker(d, i, &config);

		if (!error)
			continue;
		nm_error_set(err, error, "%u workers: no thread for number %u: %s", count, i,
			strerror(-error));
		while (i-- > had)
			worker_stop(d->workers[i]);
		return err->code;
	}
	return 0;
}

static int check_rules(const struct daemon *d, unsigned workers, struct nm_error *err)
{
	for (const struct placement_rule *rule = d->places; rule; rule = rule->next)
		for (uint32_t i = 0; i < rule->item.count; i++)
			if (rule->item.numbers[i] >= workers)
				return nm_error_set(err, -EINVAL,
					"%u workers are too few: %s is placed on number %u; change that first (place %s any)",
					workers, rule->item.name, rule->item.numbers[i],
					rule->item.name);
	return 0;
}

/*
 * Workers are stopped, and never freed while netmapd serves: rings that nobody serves (of a port whose one end is closed, or that a
 * device has lent) still name the worker that had them, and who puts packets there wakes it.
 */
static int set_workers(struct daemon *d, unsigned count, struct nm_error *err)
{
	unsigned had = d->config.workers;
	int error;

	if (count == had)
		return 0;
	error = count > had ? add_workers(d, count, err) : check_rules(d, count, err);
	if (error)
		return error;
	d->config.workers = count;
	if (count > d->threads)
		d->threads = count;
	move_rings(d, true);
	return 0;
}

static bool may_run_on(uint32_t cpu)
{
	cpu_set_t set;

	return cpu < CPU_SETSIZE && sched_getaffinity(0, sizeof(set), &set) == 0 &&
	       CPU_ISSET(cpu, &set);
}

static int set_cpus(struct daemon *d, const struct config_item *item, struct nm_error *err)
{
	if (item->count > d->config.workers)
		return nm_error_set(err, -EINVAL, "%u CPUs are named, but there are %u workers",
			item->count, d->config.workers);
	for (uint32_t i = 0; i < item->count; i++)
		if (!may_run_on(item->numbers[i]))
			return nm_error_set(
				err, -EINVAL, "netmapd can't run on CPU %u", item->numbers[i]);
	for (unsigned i = 0; i < d->config.workers; i++) {
		int cpu = i < item->count ? (int)item->numbers[i] : -1;
		int error = worker_set_cpu(d->workers[i], cpu);

		if (error)
			return nm_error_set(err, error, "worker %u can't run on CPU %d: %s", i, cpu,
				strerror(-error));
		d->config.cpus[i] = cpu;
	}
	return 0;
}

static int set_value(struct daemon *d, const struct config_item *item, struct nm_error *err)
{
	uint32_t value = item->numbers[0];

	switch (item->setting) {
	case CONFIG_WORKERS:
		return set_workers(d, value, err);
	case CONFIG_CPUS:
		return set_cpus(d, item, err);
	case CONFIG_POLL_US:
		d->config.poll_us = value;
		for (unsigned i = 0; i < d->config.workers; i++)
			worker_set_poll(d->workers[i], value);
		return 0;
	case CONFIG_SPREAD:
		if (d->config.ring_each == (value == 1))
			return 0;
		d->config.ring_each = value == 1;
		move_rings(d, true);
		return 0;
	default:
		full_wait_set_all(d, value);
		return 0;
	}
}

/* ---- placement ------------------------------------------------------------------------------------ */

static void remove_rule(struct daemon *d, const char *pattern)
{
	struct placement_rule **link = &d->places, *rule;

	while ((rule = *link)) {
		if (strcmp(rule->item.name, pattern) == 0) {
			*link = rule->next;
			free(rule);
		} else {
			link = &rule->next;
		}
	}
}

static int new_rule(struct daemon *d, const struct config_item *item, struct placement_rule **out,
	struct nm_error *err)
{
	unsigned rules = 0;

	for (uint32_t i = 0; i < item->count; i++)
		if (item->numbers[i] >= d->config.workers)
			return nm_error_set(err, -EINVAL,
				"%s: there is no worker %u, the last one is number %u", item->name,
				item->numbers[i], d->config.workers - 1);
	/* The one that it replaces goes. */
	for (const struct placement_rule *rule = d->places; rule; rule = rule->next)
		rules += strcmp(rule->item.name, item->name) != 0;
	if (rules >= RULES_MAX)
		return nm_error_set(err, -ENOSPC,
			"%s: there are %u placements already, and no more are possible", item->name,
			rules);
	*out = malloc(sizeof(**out));
	if (!*out)
		return nm_error_set(err, -ENOMEM, "out of memory");
	(*out)->item = *item;
	return 0;
}

static int set_place(struct daemon *d, const struct config_item *item, struct nm_error *err)
{
	struct placement_rule *rule = NULL;
	int error = item->count > 0 ? new_rule(d, item, &rule, err) : 0;

	if (error)
		return error;
	remove_rule(d, item->name);
	if (rule) {
		rule->next = d->places;
		d->places = rule;
	}
	/* Without their rule, ports go where they would have gone. */
	move_rings(d, item->count == 0);
	return 0;
}

int settings_change(struct daemon *d, const struct config_item *item, struct nm_error *err)
{
	os_assert(!settings_go_on());
	if (item->kind == CONFIG_FULL_WAIT)
		return full_wait_rule(d, item, err);
	return item->kind == CONFIG_SET ? set_value(d, item, err) : set_place(d, item, err);
}

void settings_end(struct daemon *d)
{
	loop_del(d->loop, state.handle);
	state.handle = NULL;
	if (state.fd >= 0)
		close(state.fd);
	state.fd = -1;
	state.goes_on = false;
	while (d->places) {
		struct placement_rule *rule = d->places;

		d->places = rule->next;
		free(rule);
	}
}

/* ---- status -------------------------------------------------------------------------------------- */

json_t *settings_json(const struct daemon *d)
{
	const uint32_t values[CONFIG_SETTINGS] = {
		[CONFIG_WORKERS] = d->config.workers,
		[CONFIG_POLL_US] = d->config.poll_us,
		[CONFIG_SPREAD] = d->config.ring_each,
		[CONFIG_FULL_WAIT_MS] = d->config.full_wait.all,
	};
	json_t *out = json_object();

	for (int setting = 0; setting < CONFIG_SETTINGS; setting++) {
		struct config_item item = {.setting = setting, .numbers = {values[setting]}};
		char text[CONFIG_TEXT_MAX];

		item.count = setting != CONFIG_CPUS;
		for (unsigned i = 0; setting == CONFIG_CPUS && i < d->config.workers; i++)
			if (d->config.cpus[i] >= 0)
				item.numbers[item.count++] = (uint32_t)d->config.cpus[i];
		json_object_set_new(
			out, config_setting_name(setting), json_string(config_value(&item, text)));
	}
	return out;
}

json_t *settings_placement_json(const struct daemon *d)
{
	json_t *out = json_array();

	for (const struct placement_rule *rule = d->places; rule; rule = rule->next) {
		char text[CONFIG_TEXT_MAX];
		json_t *one = json_object();

		json_object_set_new(one, "pattern", json_string(rule->item.name));
		json_object_set_new(one, "workers", json_string(config_value(&rule->item, text)));
		json_array_insert_new(out, 0, one);
	}
	return out;
}
