/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * checksum.h - internet checksums (RFC 1071) of bytes in several runs.
 *
 *      struct nm_sum sum = {0};
 *      nm_sum_add(&sum, header, 20);  nm_sum_copy(&sum, dst, data, len);
 *      checksum = nm_sum_finish(&sum);
 *
 * Thread safety: pure functions on the caller's memory. The bytes may change meanwhile: what
 * nm_sum_copy() has summed is what it has copied.
 */
#ifndef CORE_CHECKSUM_H
#define CORE_CHECKSUM_H

#include "os.h"

/* Sum of 16-bit words in memory order, not complemented. `odd`: the next byte is the second of a
 * word. Begins as {0}. */
struct nm_sum {
	uint64_t sum;
	bool odd;
};

void nm_sum_add(struct nm_sum *sum, const void *bytes, uint32_t len);
/* Adds the bytes and copies them to dst. */
void nm_sum_copy(struct nm_sum *sum, void *dst, const void *src, uint32_t len);
/* The sum in 16 bits, not complemented. */
uint16_t nm_sum_fold(const struct nm_sum *sum);
/* The checksum as it is stored; never 0, which means "none" for UDP and is the same as 0xffff. */
uint16_t nm_sum_finish(const struct nm_sum *sum);

#endif
