/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * fake_port_service.h - a struct port_service without workers, for tests of the device model.
 *
 * Implements netmapd/port_service.h: keeps the state, enforces the table of what is
 * allowed in which state (asserts), records the calls, and writes marks into the
 * CSB arrays so that a test sees which memory it was given.
 *
 * Thread safety: one thread.
 */
#ifndef TESTS_FAKE_PORT_SERVICE_H
#define TESTS_FAKE_PORT_SERVICE_H

#include <stdbool.h>
#include <stdint.h>

#include "port_service.h"
#include "rss.h"

enum { FAKE_HWCUR = 7, FAKE_HWTAIL = 9 }; /* what start writes; head and cur are 5 and 6 */

struct port_service {
	struct port_service_geometry geo;
	enum port_service_state state;
	uint32_t hdr_len;
	struct nm_csb_atok *atok; /* while running */
	struct nm_csb_ktoa *ktoa;
	int start_error; /* what the next port_service_start() returns */
	unsigned int starts, stops, suspends, resumes, resets;
	unsigned int kicks[PORT_SERVICE_RINGS_MAX];
	uint32_t knows; /* NM_KNOWS_* */
	bool rss_on;    /* as rss says */
	struct nm_rss_config rss;
	int rss_error; /* what the next port_service_set_rss() that sets one returns */
	int socket;    /* of the client; -1: none */
	int irq[PORT_SERVICE_RINGS_MAX]; /* -1: none */
	int replaced
		[PORT_SERVICE_RINGS_MAX]; /* since port_service_sync_irqs(); must be open; -1: none */
};

void fake_port_service_init(struct port_service *s, uint32_t tx_rings, uint32_t rx_rings);

/* As a worker that has something to say: signals the eventfd of ring i. False: there is none. */
bool fake_port_service_interrupt(struct port_service *s, uint32_t ring);

#endif
