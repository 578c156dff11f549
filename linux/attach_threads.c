// SPDX-License-Identifier: BSD-2-Clause
/* Threads for devices that are attached to switches. */
#define pr_fmt(fmt) "netmap: " fmt

#include "attach_threads.h"
#include "attachment.h"
#include "nic.h"
#include "kmod.h"

#include <linux/cpumask.h>
#include <linux/kthread.h>
#include <linux/sched.h>
#include <linux/slab.h>

struct runner;

struct waiter {
	wait_queue_entry_t entry;
	struct runner *runner;
};

/* A thread: steps the ring pairs first, first + stride, … */
struct runner {
	struct nm_attachment *att;
	struct task_struct *task;
	uint32_t first, stride;
	bool woken;
	struct waiter *waiters; /* one per ring; NULL: it never sleeps */
};

struct runners {
	uint32_t count;
	struct runner runner[];
};

/* ---- a thread ------------------------------------------------------------------------ */

/* A device's tx ring may be going on by itself, too: see nic_tx.c. */
static bool step_pair(struct nm_attachment *att, uint32_t pair,
	bool (*step)(struct nm_attachment *att, uint32_t pair))
{
	struct nm_ring *tx = nm_attachment_ring(att, pair, NM_ATTACHMENT_DEVICE_TX);
	bool result;

	if (tx)
		mutex_lock(&tx->wakeup.sync);
	result = step(att, pair);
	if (tx)
		mutex_unlock(&tx->wakeup.sync);
	return result;
}

static bool step_all(const struct runner *r, bool (*step)(struct nm_attachment *att, uint32_t pair))
{
	bool moved = false;

	for (uint32_t pair = r->first; pair < r->att->pairs; pair += r->stride)
		moved |= step_pair(r->att, pair, step);
	return moved;
}

static int wake_runner(wait_queue_entry_t *entry, unsigned int mode, int flags, void *key)
{
	struct runner *r = container_of(entry, struct waiter, entry)->runner;

	WRITE_ONCE(r->woken, true);
	wake_up_process(r->task);
	return 1;
}

static struct nm_ring *ring_at(const struct runner *r, uint32_t i)
{
	return nm_attachment_ring(r->att, i / NM_ATTACHMENT_RINGS, i % NM_ATTACHMENT_RINGS);
}

static uint32_t num_waiters(const struct nm_attachment *att)
{
	return att->pairs * NM_ATTACHMENT_RINGS;
}

static void watch_rings(struct runner *r, bool on)
{
	for (uint32_t i = 0; i < num_waiters(r->att); i++) {
		struct nm_ring *ring = ring_at(r, i);

		if (ring && on)
			add_wait_queue(&ring->wakeup.wq, &r->waiters[i].entry);
		else if (ring)
			remove_wait_queue(&ring->wakeup.wq, &r->waiters[i].entry);
	}
}

/* Ports whose packets come from another machine want to be told that somebody sleeps. What has
 * moved meanwhile is seen by the step that follows. */
static void arm_rings(const struct runner *r)
{
	for (uint32_t i = 0; i < num_waiters(r->att); i++) {
		struct nm_ring *ring = ring_at(r, i);

		if (ring && ring->wakeup.about_to_sleep && !OS_LOAD(&ring->port->dead)) {
			mutex_lock(&ring->wakeup.sync);
			(void)ring->wakeup.about_to_sleep(ring);
			mutex_unlock(&ring->wakeup.sync);
		}
	}
}

static void sleep_until_work(struct runner *r)
{
	WRITE_ONCE(r->woken, false);
	watch_rings(r, true);
	arm_rings(r);
	if (!step_all(r, nm_attachment_prepare_sleep)) {
		for (;;) {
			set_current_state(TASK_INTERRUPTIBLE);
			if (READ_ONCE(r->woken) || kthread_should_stop() || kthread_should_park())
				break;
			schedule();
		}
		__set_current_state(TASK_RUNNING);
	}
	watch_rings(r, false);
}

/* It isn't freezable: it is stopped and parked under core->lock, which waits for it. Devices that sleep say so: a queue of theirs is
 * stopped, or a ring doesn't move (ptnet_pm.c). */
static int run(void *arg)
{
	struct runner *r = arg;

	while (!kthread_should_stop()) {
		if (kthread_should_park())
			kthread_parkme();
		if (!step_all(r, nm_attachment_step) && r->waiters)
			sleep_until_work(r);
		cond_resched();
	}
	return 0;
}

/* ---- start and stop ------------------------------------------------------------------ */

/* Those that were never woken have done nothing, and end as well. */
static void stop_runners(struct runners *rs)
{
	for (uint32_t i = 0; i < rs->count; i++) {
		if (rs->runner[i].task)
			kthread_stop(rs->runner[i].task);
		kfree(rs->runner[i].waiters);
	}
	kfree(rs);
}

static int make_waiters(struct runner *r)
{
	uint32_t n = num_waiters(r->att);

	r->waiters = kcalloc(n, sizeof(*r->waiters), GFP_KERNEL);
	if (!r->waiters)
		return -ENOMEM;
	for (uint32_t i = 0; i < n; i++) {
		init_waitqueue_func_entry(&r->waiters[i].entry, wake_runner);
		r->waiters[i].runner = r;
	}
	return 0;
}

/* Its thread waits to be woken. cpu < 0: one that sleeps, anywhere. */
static int make_runner(struct runner *r, int cpu)
{
	const struct nm_attachment *att = r->att;
	struct task_struct *task;
	int error = cpu < 0 ? make_waiters(r) : 0;

	if (error)
		return error;
	task = cpu < 0 ? kthread_create(run, r, "netmap-%s", att->name)
		       : kthread_create(run, r, "netmap-%s/%d", att->name, cpu);
	if (IS_ERR(task))
		return PTR_ERR(task);
	if (cpu >= 0)
		kthread_bind(task, (unsigned int)cpu);
	r->task = task;
	return 0;
}

/* count 0: one thread that sleeps. */
static struct runners *make_runners(struct nm_attachment *att, uint32_t first_cpu, uint32_t count)
{
	uint32_t threads = max(count, 1u);
	struct runners *rs = kzalloc(struct_size(rs, runner, threads), GFP_KERNEL);
	int error = 0;

	if (!rs)
		return ERR_PTR(-ENOMEM);
	rs->count = threads;
	for (uint32_t i = 0; i < threads && !error; i++) {
		rs->runner[i].att = att;
		rs->runner[i].first = i;
		rs->runner[i].stride = threads;
		error = make_runner(&rs->runner[i], count > 0 ? (int)(first_cpu + i) : -1);
	}
	if (error) {
		stop_runners(rs);
		return ERR_PTR(error);
	}
	return rs;
}

/* An error (no memory, or the caller was killed) leaves those that there are. */
static int replace_runners(
	struct nm_attachment *att, uint32_t first_cpu, uint32_t count, struct nm_error *err)
{
	struct runners *rs = make_runners(att, first_cpu, count);

	if (IS_ERR(rs))
		return nm_error_set(err, (int)PTR_ERR(rs),
			"%s: its thread can't be started: error %d", att->name, (int)-PTR_ERR(rs));
	nmk_attachment_stop(att); /* two threads never step the same rings */
	att->sched = rs;
	for (uint32_t i = 0; i < rs->count; i++)
		wake_up_process(rs->runner[i].task);
	return 0;
}

static bool is_over(const struct nm_attachment *att)
{
	return att->device.port->dead || att->sw.port->dead;
}

int nmk_attachment_start(struct nm_attachment *att, struct nm_error *err)
{
	if (is_over(att))
		return nm_error_set(err, -ENXIO, "%s: the device is gone", att->name);
	return replace_runners(att, 0, 0, err);
}

void nmk_attachment_stop(struct nm_attachment *att)
{
	if (att->sched)
		stop_runners(att->sched);
	att->sched = NULL;
}

/* A thread that is parked watches no ring. */
void nmk_attachment_pause(struct nm_attachment *att, bool on)
{
	struct runners *rs = att->sched;

	for (uint32_t i = 0; rs && i < rs->count; i++) {
		if (on)
			kthread_park(rs->runner[i].task);
		else
			kthread_unpark(rs->runner[i].task);
	}
}

int nmk_attachment_poll(
	struct nm_attachment *att, uint32_t first_cpu, uint32_t count, struct nm_error *err)
{
	if (is_over(att))
		return nm_error_set(err, -ENXIO, "%s: the device is gone", att->name);
	if (count > att->pairs) {
		return nm_error_set(err, -EINVAL,
			"%s: %u polling threads; it has %u pairs of rings", att->name, count,
			att->pairs);
	}
	for (uint32_t i = 0; i < count; i++) {
		if (first_cpu >= nr_cpu_ids || i >= nr_cpu_ids - first_cpu ||
			!cpu_online(first_cpu + i))
			return nm_error_set(err, -EINVAL, "%s: there is no CPU %llu", att->name,
				(unsigned long long)first_cpu + i);
	}
	return replace_runners(att, first_cpu, count, err);
}

/* ---- devices that go ----------------------------------------------------------------- */

/* One of those that are asked for. */
struct wanted {
	bool dead_only;
	const struct net *ns; /* NULL: of any namespace */
};

struct found {
	void *ns;
	char name[NETMAP_REQ_IFNAMSIZ];
};

static bool is_wanted(const struct nm_attachment *att, const struct wanted *wanted)
{
	return (!wanted->dead_only || is_over(att)) && (!wanted->ns || att->ns == wanted->ns);
}

static bool find_one(const struct wanted *wanted, struct found *found)
{
	const struct nm_attachment *att;

	nm_core_lock(&netmap_core);
	for (att = netmap_core.attachments; att; att = att->next)
		if (is_wanted(att, wanted))
			break;
	if (att) {
		found->ns = att->ns;
		memcpy(found->name, att->name, sizeof(found->name));
	}
	nm_core_unlock(&netmap_core);
	return att;
}

static void detach(const struct wanted *wanted)
{
	struct found found;
	struct nm_error err;
	uint32_t index;

	while (find_one(wanted, &found)) {
		if (nm_attachment_remove(&netmap_core, found.ns, found.name, &index, &err) == 0 &&
			wanted->dead_only)
			os_log(OS_LOG_INFO, "%s: its device is gone: taken off the switch",
				found.name);
	}
}

static void reap(struct work_struct *work)
{
	detach(&(struct wanted){.dead_only = true});
}

static DECLARE_WORK(reap_work, reap);

void nmk_attachment_reap(void)
{
	queue_work(nmk_wq, &reap_work);
}

void nmk_attachment_stop_dead(void)
{
	bool any = false;

	for (struct nm_attachment *att = netmap_core.attachments; att; att = att->next) {
		if (!is_over(att))
			continue;
		nmk_attachment_stop(att);
		any = true;
	}
	if (any)
		nmk_attachment_reap();
}

void nmk_attachment_detach_all(const struct net *ns)
{
	detach(&(struct wanted){.ns = ns});
	flush_work(&reap_work); /* what that one has found before is off, too */
}
