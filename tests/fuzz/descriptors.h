/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * descriptors.h - descriptors that a client may pass: what is wanted, and all that is not.
 *
 * Thread safety: none needed.
 */
#ifndef TESTS_FUZZ_DESCRIPTORS_H
#define TESTS_FUZZ_DESCRIPTORS_H

#include "fuzz.h"

struct msghdr;

/* The caller's to close. */
int fuzz_make_fd(struct fuzz_in *in);

/* Lets a message carry `count` descriptors, if any: they stay the caller's. `control` has room for them
 * (CMSG_SPACE), and lives until the message is sent. */
void fuzz_attach_fds(struct msghdr *msg, void *control, const int *fds, uint32_t count);

#endif
