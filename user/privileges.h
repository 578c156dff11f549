/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * privileges.h - what a thread gives up for good: capabilities, the file system. A part of netmapd's sandbox.
 *
 * Linux keeps both for each thread. Threads that serve others begin with
 *
 *      privileges_none();
 *
 * and have neither from then on, once privileges_want(true) was called. Without Landlock in the kernel the file system stays.
 *
 * Thread safety: each thread for itself; privileges_want() before there are others.
 */
#ifndef USER_PRIVILEGES_H
#define USER_PRIVILEGES_H

#include <stdbool.h>
#include <stdint.h>

/* Without it the others do nothing. */
void privileges_want(bool want);

/* This thread keeps no capability, and opens no file any more. What it has open stays. */
void privileges_none(void);

/* This thread keeps these capabilities (bits), as far as it has them. 0 or a negative errno. */
int privileges_keep(uint64_t capabilities);

/*
 * This thread, and those that it starts, can read files, write to those in `devices` (a list that ends with NULL), and write
 * and make files in `dir` and below. 0, or a negative errno: -EOPNOTSUPP, -ENOSYS: the kernel has no Landlock.
 */
int privileges_write_only_in(const char *dir, const char *const devices[]);

#endif
