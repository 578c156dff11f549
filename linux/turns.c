// SPDX-License-Identifier: BSD-2-Clause
#include "turns.h"

#include <linux/sched.h>
#include <linux/sched/signal.h>
#include <linux/wait.h>

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
