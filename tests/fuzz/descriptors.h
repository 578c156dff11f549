/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * descriptors.h - descriptors that a client may pass: what is wanted, and all that is not.
 *
 * Thread safety: none needed.
 */
#ifndef TESTS_FUZZ_DESCRIPTORS_H
#define TESTS_FUZZ_DESCRIPTORS_H

#include "fuzz.h"

/* The caller's to close. */
int fuzz_make_fd(struct fuzz_in *in);

#endif
