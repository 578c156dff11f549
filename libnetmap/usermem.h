/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * usermem.h - memory at an address that a program gave, and that may not exist.
 *
 * The kernel answers EFAULT where a request points to nothing. Who plays the kernel
 * (the CSB mode, netmap-run) does the same: the system copies, and checks.
 *
 * Thread safety: pure functions.
 */
#ifndef LIBNETMAP_USERMEM_H
#define LIBNETMAP_USERMEM_H

#include <stddef.h>
#include <stdint.h>

int nmlib_user_read(void *dst, uint64_t addr, size_t bytes);        /* 0 or -EFAULT */
int nmlib_user_write(uint64_t addr, const void *src, size_t bytes); /* 0 or -EFAULT */

#endif
