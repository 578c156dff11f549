/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * setup.h - ports and addresses of the workers.
 *
 * Thread safety: called by main before the workers start, or after they have ended.
 */
#ifndef PKTGEN_SETUP_H
#define PKTGEN_SETUP_H

#include "worker.h"

/*
 * Opens o->threads ports into w[0..], each with a pair of rings of its own when
 * there are several, and finds out header length and source address. replay: what will be sent
 * with -P. Returns 0, or the exit status after having reported.
 */
int setup_open(const struct gen_options *o, struct worker *w, const struct replay *replay);
void setup_close(const struct gen_options *o, struct worker *w);

/* Seconds to wait for the link. */
double setup_wait_link(const struct gen_options *o, const struct worker *w);

/* Ties the calling thread to its CPU if -a was given. */
void setup_affinity(const struct gen_options *o, unsigned int id);

#endif
