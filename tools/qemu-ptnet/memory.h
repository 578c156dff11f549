/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * memory.h - guest memory that another process can map.
 *
 * netmapd reads and writes the CSB, which lies in the guest's RAM, so QEMU must
 * allocate that RAM shared, and as a memfd whose size is sealed: netmapd takes no
 * other, because its owner could shrink it under netmapd's feet. Who says nothing
 * about it gets such a backend of the size of -m. Who has backends of their own
 * (huge pages, NUMA nodes, DIMMs) keeps them, and is told when one won't do: QEMU
 * would start, and the devices would stay dead.
 *
 * Thread safety: none needed, the program has one thread.
 */
#ifndef QEMU_PTNET_MEMORY_H
#define QEMU_PTNET_MEMORY_H

#include <stdbool.h>
#include <stdint.h>

#include "scan.h"

#define MEMORY_DEFAULT_BYTES (128ULL << 20) /* what QEMU's x86 machines have without -m */

struct memory {
	bool add;       /* a backend has to be added */
	uint64_t bytes; /* its size */
	char *id;       /* its name, one that the user hasn't taken; NULL if !add */
};

/*
 * Looks at -m, -machine, -object, -numa, -device and -mem-path. memory_free() is
 * due in any case. -EINVAL with a text: the guest's memory can't be shared this way.
 */
int memory_plan(struct memory *m, const struct scan *s, char err[TEXT_ERR]);
void memory_free(struct memory *m);

/*
 * A size as -m takes it: 512 (MiB), 1G, 1.5g, 262144K. Writes bytes, rounded up as
 * QEMU does. -EINVAL: not a size, or 2^63 bytes and more.
 */
int memory_parse_size(const char *text, uint64_t *bytes);

#endif
