/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * request.h - ioctl() and mmap() on a file of /dev/netmap, as the kernel would serve them.
 *
 * Requests lie in the program's memory, at addresses that may be wrong: they are
 * copied in and out as the kernel does, and EFAULT is an answer.
 *
 * Thread safety: any thread.
 */
#ifndef NETMAP_RUN_REQUEST_H
#define NETMAP_RUN_REQUEST_H

#include "file.h"

/* 0 or a negative errno. */
int run_ioctl(struct run_file *f, int fd, unsigned long request, void *arg);
/* An address, or MAP_FAILED with errno. */
void *run_mmap(struct run_file *f, void *addr, size_t len, int prot, int flags, off_t offset);

#endif
