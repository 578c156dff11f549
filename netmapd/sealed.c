/* SPDX-License-Identifier: BSD-2-Clause */
#include "sealed.h"

#include <fcntl.h>
#include <linux/magic.h>
#include <stddef.h>
#include <sys/vfs.h>

const char *sealed_check(int fd, uint64_t offset, uint64_t bytes, struct stat *st, uint64_t *huge)
{
	struct statfs fs;
	int seals = fcntl(fd, F_GET_SEALS);

	if (seals < 0 || !(seals & F_SEAL_SHRINK))
		return "is not a memfd sealed against shrinking (share=on,seal=on)";
	if (fstat(fd, st) < 0 || fstatfs(fd, &fs) < 0)
		return "can't be examined";
	if (fs.f_type == HUGETLBFS_MAGIC && !huge)
		return "is on huge pages, which are not supported";
	if (huge)
		*huge = fs.f_type == HUGETLBFS_MAGIC ? (uint64_t)fs.f_bsize : 0;
	if (st->st_size < 0 || offset > (uint64_t)st->st_size ||
		bytes > (uint64_t)st->st_size - offset)
		return "is smaller than the range";
	return NULL;
}
