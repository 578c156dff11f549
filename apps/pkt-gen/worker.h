/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * worker.h - a thread of pkt-gen and what it shares with main.
 *
 * Each worker has a port of its own (one pair of rings when there are several)
 * and runs one of the loops below until it is done, told to stop, or without
 * progress for too long. Main reads the statistics meanwhile.
 *
 * Thread safety: main fills a struct worker in before the thread starts, and
 * reads all of it after the thread has ended; meanwhile only `stats`. gen_stop is
 * set once, by main.
 */
#ifndef PKTGEN_WORKER_H
#define PKTGEN_WORKER_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>
#include <libnetmap.h>

#include "check.h"
#include "options.h"
#include "replay.h"
#include "stats.h"

enum {
	WORKER_POLL_MS = 100, /* how late a worker may notice gen_stop */
	WORKER_ERR = 256,
};

enum worker_end {
	WORKER_RUNNING,
	WORKER_DONE,    /* all packets sent or received */
	WORKER_STOPPED, /* by gen_stop */
	WORKER_IDLE,    /* no progress for o->timeout */
	WORKER_FAILED,  /* text in err */
};

struct worker {
	const struct gen_options *o;
	unsigned int id;
	uint64_t count; /* of this worker; 0: no end */
	double rate;    /* of this worker; 0: no limit */
	uint8_t src_mac[6];
	struct nmport_d *port;
	uint32_t hdr_len; /* virtio-net header in front of each packet, bytes */
	int done_fd;      /* eventfd, written at the end */
	pthread_t thread;

	struct stats stats;
	uint64_t begin, end;         /* ns, monotonic: first and last packet */
	uint64_t asked;              /* ping: packets sent */
	uint64_t pending;            /* tx: slots that had not left at the end */
	const struct replay *replay; /* NULL: none */
	struct check check;
	struct rtt rtt;
	enum worker_end result;
	char err[WORKER_ERR];
};

extern volatile bool gen_stop;

/* The loops. Each returns how it ended (not WORKER_RUNNING). */
enum worker_end tx_run(struct worker *w);
enum worker_end rx_run(struct worker *w);
enum worker_end ping_run(struct worker *w);
enum worker_end pong_run(struct worker *w);

/* ---- for the loops -------------------------------------------------------------------- */

uint64_t now_ns(void);

/* Progress, for o->timeout. */
struct idle {
	uint64_t last;  /* ns */
	uint64_t limit; /* ns; 0: none */
};
void idle_start(struct idle *idle, const struct gen_options *o);
void idle_progress(struct idle *idle);
bool idle_over(const struct idle *idle);

/* Writes "what: errno" to w->err. Returns WORKER_FAILED. */
enum worker_end worker_failed(struct worker *w, const char *what);

/* Waits for an event of the port, WORKER_POLL_MS at most. 1: it is there; 0: not; -1: failed, text
 * in w->err. */
int worker_poll(struct worker *w, short events);

/* Sleeps until `wake` (ns), WORKER_POLL_MS at most. */
void sleep_until(uint64_t wake);

/* The frame in a slot; *len is 0 if the slot is too short for the virtio-net header. */
uint8_t *slot_frame(
	const struct worker *w, struct netmap_ring *ring, struct netmap_slot *slot, uint32_t *len);

#endif
