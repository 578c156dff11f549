/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * request.h - ioctl() and mmap() on a file of /dev/netmap, as the kernel would serve them.
 *
 * Requests lie in the program's memory, at addresses that may be wrong: they are
 * copied in and out as the kernel does, and EFAULT is an answer.
 *
 * Thread safety: any thread.
 */
#ifndef LIBNETMAP_FD_REQUEST_H
#define LIBNETMAP_FD_REQUEST_H

#include "file.h"

/* Executes a request whose parts lie in memory of this library or of a caller that answers for it; a
 * REGISTER gives the file its port. 0 or a negative errno with a text. */
int nmfd_request(struct nmfd_file *f, struct nmreq_header *hdr, struct nm_error *why);

/* 0 or a negative errno. */
int nmfd_ioctl(struct nmfd_file *f, int fd, unsigned long request, void *arg);
/* An address, or MAP_FAILED with errno. */
void *nmfd_mmap(struct nmfd_file *f, void *addr, size_t len, int prot, int flags, off64_t offset);

#endif
