/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Devices on switches: their pairs of rings go to workers as rings of ports do, by the same rule
 * (one worker per port, or one per ring). VALE_POLLING_ENABLE takes the pairs from these and gives
 * them to workers of the device's own, bound to the CPUs that were asked for, which never sleep.
 */
#include "attachments.h"
#include "placement.h"
#include "settings.h"

#include <sched.h>
#include <stdio.h>
#include <unistd.h>

struct pair {
	struct worker_attachment entry;
	struct worker *worker;
};

/* nm_attachment.sched */
struct sched {
	uint32_t own[WORKERS_MAX]; /* places in daemon.pollers, while it polls */
	uint32_t num_own;
	uint32_t first_cpu; /* of those */
	bool paused;        /* no worker has the pairs */
	uint32_t placed;    /* the daemon.move that its pairs have their workers from */
	uint32_t num_pairs;
	struct pair pairs[];
};

static void wake_worker(void *arg)
{
	worker_wake(arg);
}

static void set_wakeups(const struct nm_attachment *att, uint32_t pair, struct worker *w)
{
	for (uint32_t which = 0; which < NM_ATTACHMENT_RINGS; which++) {
		struct nm_ring *ring = nm_attachment_ring(att, pair, which);

		if (ring)
			os_wakeup_set(&ring->wakeup, wake_worker, w);
	}
}

static void remove_pairs(struct sched *sched)
{
	for (uint32_t i = 0; i < sched->num_pairs; i++)
		worker_remove_attachment(sched->pairs[i].worker, &sched->pairs[i].entry);
}

/* A producer that signals the former worker while this goes on does no harm: the new one looks at
 * its rings when it gets them. */
static void add_pairs(struct nm_attachment *att, struct sched *sched)
{
	for (uint32_t i = 0; i < sched->num_pairs; i++) {
		set_wakeups(att, i, sched->pairs[i].worker);
		worker_add_attachment(sched->pairs[i].worker, &sched->pairs[i].entry);
	}
}

static void assign_shared(struct nm_attachment *att, struct sched *sched)
{
	struct placement_turn turn;

	placement_begin(att->core->platform, att->name, &turn);
	for (uint32_t i = 0; i < sched->num_pairs; i++)
		sched->pairs[i].worker = placement_next(&turn);
	sched->placed = turn.daemon->move;
}

/* How often a worker was waited for. */
static int move_pair(
	struct nm_attachment *att, struct sched *sched, uint32_t number, struct worker *to)
{
	struct pair *pair = &sched->pairs[number];

	if (pair->worker == to)
		return 0;
	if (!sched->paused)
		worker_remove_attachment(pair->worker, &pair->entry);
	pair->worker = to;
	set_wakeups(att, number, to);
	if (sched->paused)
		return 0;
	worker_add_attachment(to, &pair->entry);
	return 2;
}

/* One that polls has workers of its own. How often a worker was waited for. */
static int place(struct nm_attachment *att, struct sched *sched, bool anew)
{
	struct daemon *d = att->core->platform;
	struct placement_turn turn;
	int waits = 0;

	sched->placed = d->move;
	if (sched->num_own > 0)
		return 0;
	for (uint32_t i = 0; i < sched->num_pairs; i++)
		anew |= !placement_is_there(d, sched->pairs[i].worker);
	if (!anew && !placement_rules(d, att->name))
		return 0;
	placement_begin(d, att->name, &turn);
	for (uint32_t i = 0; i < sched->num_pairs; i++)
		waits += move_pair(att, sched, i, placement_next(&turn));
	return waits;
}

bool attachments_place(struct daemon *d, bool anew, int *waits)
{
	nm_core_lock(&d->core);
	for (struct nm_attachment *att = d->core.attachments; att && *waits > 0; att = att->next) {
		struct sched *sched = att->sched;

		if (sched && sched->placed != d->move)
			*waits -= place(att, sched, anew);
	}
	nm_core_unlock(&d->core);
	return *waits > 0;
}

uint32_t attachments_polling(const struct nm_attachment *att, uint32_t *first_cpu)
{
	const struct sched *sched = att->sched;

	*first_cpu = sched ? sched->first_cpu : 0;
	return sched ? sched->num_own : 0;
}

int attachments_start(struct nm_attachment *att, struct nm_error *err)
{
	struct sched *sched =
		os_zalloc(sizeof(*sched) + (size_t)att->pairs * sizeof(sched->pairs[0]));

	if (!sched)
		return nm_error_set(err, -ENOMEM, "%s: out of memory", att->name);
	sched->num_pairs = att->pairs;
	for (uint32_t i = 0; i < sched->num_pairs; i++)
		sched->pairs[i].entry = (struct worker_attachment){.att = att, .pair = i};
	att->sched = sched;
	full_wait_of_new(att->core->platform, att->sw.port);
	if (att->sw_host.port)
		full_wait_of_new(att->core->platform, att->sw_host.port);
	assign_shared(att, sched);
	add_pairs(att, sched);
	return 0;
}

/*
 * The pairs, which no worker has now, get shared workers again, and the threads of those that polled end. Whoever has looked up
 * a ring's worker before still signals one of these, so they stay, stopped, until another device is polled.
 */
static void end_polling(struct nm_attachment *att, struct sched *sched)
{
	struct daemon *d = att->core->platform;

	assign_shared(att, sched);
	for (uint32_t i = 0; i < sched->num_pairs; i++)
		set_wakeups(att, i, sched->pairs[i].worker);
	while (sched->num_own > 0)
		worker_stop(d->pollers[sched->own[--sched->num_own]]);
}

void attachments_stop(struct nm_attachment *att)
{
	struct sched *sched = att->sched;

	if (!sched)
		return;
	remove_pairs(sched);
	end_polling(att, sched);
	att->sched = NULL;
	os_free(sched);
}

/* A ring that it gives away still signals the worker it had, until whoever has it then says otherwise. */
void attachments_pause(struct nm_attachment *att, bool on)
{
	struct sched *sched = att->sched;

	if (!sched)
		return;
	sched->paused = on;
	if (on)
		remove_pairs(att->sched);
	else
		add_pairs(att, att->sched);
}

/* ---- polling ------------------------------------------------------------------------------ */

static bool can_run_on(uint32_t cpu)
{
	cpu_set_t set;

	return cpu < CPU_SETSIZE && sched_getaffinity(0, sizeof(set), &set) == 0 &&
	       CPU_ISSET(cpu, &set);
}

/* Its place in d->pollers, or a negative errno. */
static int new_poller(struct daemon *d, int cpu)
{
	struct worker_config config = {
		.never_sleeps = true, .cpu = cpu, .stopped = -1, .loop = d->loop};
	unsigned i = 0;
	int error;

	while (i < WORKERS_MAX && d->pollers[i] && worker_runs(d->pollers[i]))
		i++;
	if (i == WORKERS_MAX)
		return -EAGAIN;
	config.number = WORKERS_MAX + i;
	if (d->pollers[i]) {
		error = worker_restart(d->pollers[i], &config);
	} else {
		d->pollers[i] = worker_new(&config);
		error = d->pollers[i] ? 0 : -errno;
	}
	return error ? error : (int)i;
}

/* Pairs go to `count` workers of their own. */
static int take_pollers(struct daemon *d, struct nm_attachment *att, uint32_t first_cpu,
	uint32_t count, struct nm_error *err)
{
	struct sched *sched = att->sched;

	sched->first_cpu = first_cpu;
	for (uint32_t i = 0; i < count; i++) {
		int own = new_poller(d, (int)(first_cpu + i));

		if (own < 0) {
			nm_error_set(err, own, "%s: no thread for CPU %u: %s", att->name,
				first_cpu + i, strerror(-own));
			return own;
		}
		sched->own[sched->num_own++] = (uint32_t)own;
		for (uint32_t pair = i; pair < sched->num_pairs; pair += count)
			sched->pairs[pair].worker = d->pollers[own];
	}
	add_pairs(att, sched);
	return 0;
}

static int check_cpus(
	const struct nm_attachment *att, uint32_t first, uint32_t count, struct nm_error *err)
{
	if (count > att->pairs)
		return nm_error_set(err, -EINVAL, "%s: %u threads for %u pairs of rings", att->name,
			count, att->pairs);
	for (uint32_t i = 0; i < count; i++) {
		if (first < CPU_SETSIZE && can_run_on(first + i))
			continue;
		return nm_error_set(err, -EINVAL, "%s: netmapd can't run on CPU %llu", att->name,
			(unsigned long long)first + i);
	}
	return 0;
}

int attachments_poll(
	struct nm_attachment *att, uint32_t first_cpu, uint32_t count, struct nm_error *err)
{
	struct daemon *d = att->core->platform;
	struct sched *sched = att->sched;
	int error = check_cpus(att, first_cpu, count, err);
	bool polled = sched->num_own > 0;

	if (error)
		return error;
	remove_pairs(sched);
	end_polling(att, sched);
	if (count > 0)
		error = take_pollers(d, att, first_cpu, count, err);
	if (error)
		end_polling(att, sched);
	if (error || count == 0)
		add_pairs(att, sched);
	if (polled || error)
		settings_look_again(d);
	return error;
}

void attachments_end(struct daemon *d)
{
	struct nm_error err;
	char name[NETMAP_REQ_IFNAMSIZ];
	uint32_t index;

	for (;;) {
		nm_core_lock(&d->core);
		os_snprintf(name, sizeof(name), "%s",
			d->core.attachments ? d->core.attachments->name : "");
		nm_core_unlock(&d->core);
		if (!name[0])
			return;
		if (nm_attachment_remove(&d->core, NULL, name, &index, &err) != 0) {
			os_log(OS_LOG_WARN, "%s", err.text);
			return;
		}
	}
}
