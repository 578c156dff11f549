/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * kernel.h - which Linux this is, where trying would tell it too late.
 *
 * Thread safety: any thread; no state.
 */
#ifndef NIC_KERNEL_H
#define NIC_KERNEL_H

#include <stdbool.h>

/* Linux major.minor, or a later one. */
bool kernel_is_at_least(unsigned long major, unsigned long minor);

#endif
