/* SPDX-License-Identifier: BSD-2-Clause */
#include "waiting.h"

#include <time.h>

#include "log.h"

enum { AGAIN_MS = 10, MOMENT_MS = 200 };

static uint64_t now_ms(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000 + (uint64_t)ts.tv_nsec / 1000000;
}

bool waiting_more(struct waiting *w, uint32_t bound_ms)
{
	uint64_t now = now_ms();

	if (!w->start_ms)
		w->start_ms = now;
	if (now - w->start_ms >= bound_ms)
		return false;
	if (!w->told && now - w->start_ms >= MOMENT_MS) {
		w->told = true;
		nic_log("%s: waits, at most %u ms, %s", w->ifname, bound_ms, w->what);
	}
	nanosleep(&(struct timespec){.tv_nsec = AGAIN_MS * 1000000L}, NULL);
	return true;
}
