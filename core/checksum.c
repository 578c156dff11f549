/* SPDX-License-Identifier: BSD-2-Clause */
#include "checksum.h"

static uint32_t fold(uint64_t sum)
{
	sum = (sum & 0xffffffff) + (sum >> 32);
	sum = (sum & 0xffffffff) + (sum >> 32);
	sum = (sum & 0xffff) + (sum >> 16);
	sum = (sum & 0xffff) + (sum >> 16);
	return (uint32_t)((sum & 0xffff) + (sum >> 16));
}

/* Sum of `len` bytes in a row; copied to dst on the way, unless it is NULL: what is summed is what
 * is copied. */
static inline uint64_t sum_run(char *dst, const char *src, uint32_t len)
{
	uint64_t sum = 0, word;

	for (; len >= sizeof(word); len -= sizeof(word), src += sizeof(word)) {
		memcpy(&word, src, sizeof(word));
		sum += (word & 0xffffffff) + (word >> 32);
		if (dst) {
			memcpy(dst, &word, sizeof(word));
			dst += sizeof(word);
		}
	}
	if (len > 0) {
		word = 0;
		memcpy(&word, src, len);
		sum += (word & 0xffffffff) + (word >> 32);
		if (dst)
			memcpy(dst, &word, len);
	}
	return sum;
}

/* A run that begins in the middle of a word has its bytes the other way round. */
static void add_run(struct nm_sum *sum, uint64_t run, uint32_t len)
{
	uint32_t folded = fold(run);

	if (sum->odd)
		folded = (folded >> 8 | folded << 8) & 0xffff;
	sum->sum += folded;
	sum->odd ^= len & 1;
}

void nm_sum_add(struct nm_sum *sum, const void *bytes, uint32_t len)
{
	add_run(sum, sum_run(NULL, bytes, len), len);
}

void nm_sum_copy(struct nm_sum *sum, void *dst, const void *src, uint32_t len)
{
	add_run(sum, sum_run(dst, src, len), len);
}

uint16_t nm_sum_fold(const struct nm_sum *sum)
{
	return (uint16_t)fold(sum->sum);
}

uint16_t nm_sum_finish(const struct nm_sum *sum)
{
	uint16_t result = (uint16_t)~nm_sum_fold(sum);

	return result ? result : 0xffff;
}
