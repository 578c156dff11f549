// SPDX-License-Identifier: BSD-2-Clause
#include "turns.h"
#include "nic.h"

#include <linux/sched.h>
#include <linux/sched/signal.h>
#include <linux/wait.h>
#include <linux/workqueue.h>

static DECLARE_WAIT_QUEUE_HEAD(waiters);

int nmk_between_parts(void)
{
	cond_resched();
	return fatal_signal_pending(current) ? -EINTR : 0;
}

int nmk_await_make(const struct nm_core *core, uint32_t ended)
{
	if (wait_event_killable(waiters, OS_LOAD(&core->makes_ended) != ended))
		return -EINTR;
	return 0;
}

/* As for each small port, too: there is hardly ever a waiter. */
void nmk_make_ended(const struct nm_core *core)
{
	if (wq_has_sleeper(&waiters))
		wake_up_all(&waiters);
}

struct errand {
	struct work_struct work;
	void (*fn)(void *arg);
	void *arg;
};

static void run_errand(struct work_struct *work)
{
	struct errand *errand = container_of(work, struct errand, work);

	errand->fn(errand->arg);
}

void nmk_run_apart(void (*fn)(void *arg), void *arg)
{
	struct errand errand = {.fn = fn, .arg = arg};

	INIT_WORK_ONSTACK(&errand.work, run_errand);
	queue_work(nmk_wq, &errand.work);
	flush_work(&errand.work);
	destroy_work_on_stack(&errand.work);
}
