/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * fd.h - descriptors that may be there or not: -1.
 *
 * Thread safety: no state.
 */
#ifndef NIC_FD_H
#define NIC_FD_H

#include <unistd.h>

/* Afterwards it is -1. */
static inline void fd_close(int *fd)
{
	if (*fd >= 0)
		close(*fd);
	*fd = -1;
}

#endif
