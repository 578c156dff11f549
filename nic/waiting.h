/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * waiting.h - to wait for what somebody else is to let go of, within a bound; what takes longer than a moment is announced.
 *
 * Who was killed leaves an interface behind that the kernel gives back later (sockets, programs, claims). Nothing tells when, so it is
 * tried again and again.
 *
 *      struct waiting w = {.ifname = "eth0", .what = "for its last user to end"};
 *
 *      while ((error = try()) == -EBUSY && waiting_more(&w, 3000))
 *              ;
 *
 * Thread safety: one thread.
 */
#ifndef NIC_WAITING_H
#define NIC_WAITING_H

#include <stdbool.h>
#include <stdint.h>

struct waiting {
	const char *ifname, *what; /* for the log: "IFNAME: waits, at most N ms, WHAT" */
	uint64_t start_ms;         /* 0: not begun */
	bool told;
};

/* Sleeps for a little, and returns true; false at once, when so many milliseconds have passed since the first call. */
bool waiting_more(struct waiting *w, uint32_t bound_ms);

#endif
