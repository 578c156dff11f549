/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * signals.h - signals that a program takes when it likes (signalfd), or leaves to another process.
 *
 *      sigset_t set = signals_block((const int[]){SIGTERM, SIGINT, 0});
 *      fd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
 *
 * Thread safety: any thread; it is for itself, and for those that it starts.
 */
#ifndef PROTO_SIGNALS_H
#define PROTO_SIGNALS_H

#include <signal.h>

/* Blocks these as well, up to a 0. Their set. */
sigset_t signals_block(const int *signals);

#endif
