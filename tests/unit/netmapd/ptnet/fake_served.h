/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * fake_served.h - a struct served without workers, for tests of the device model.
 *
 * Implements netmapd/served.h: keeps the state, enforces the table of what is
 * allowed in which state (asserts), records the calls, and writes marks into the
 * CSB arrays so that a test sees which memory it was given.
 *
 * Thread safety: one thread.
 */
#ifndef TESTS_FAKE_SERVED_H
#define TESTS_FAKE_SERVED_H

#include <stdbool.h>
#include <stdint.h>

#include "served.h"

enum fake_state { FAKE_STOPPED, FAKE_RUNNING, FAKE_SUSPENDED };

enum { FAKE_HWCUR = 7, FAKE_HWTAIL = 9 }; /* what start writes; head and cur are 5 and 6 */

struct served {
	struct served_geometry geo;
	enum fake_state state;
	uint32_t hdr_len;
	struct nm_csb_atok *atok; /* while running */
	struct nm_csb_ktoa *ktoa;
	int start_error;  /* what the next served_start() returns */
	int resume_error; /* and served_resume() */
	unsigned int starts, stops, suspends, resumes, resets;
	unsigned int kicks[SERVED_RINGS_MAX];
	int irq[SERVED_RINGS_MAX]; /* duplicated eventfds; -1: none */
};

void fake_served_init(struct served *s, uint32_t tx_rings, uint32_t rx_rings);
void fake_served_done(struct served *s); /* closes eventfds */

/* As a worker that has something to say: signals the eventfd of ring i. False: there is none. */
bool fake_served_interrupt(struct served *s, uint32_t ring);

#endif
