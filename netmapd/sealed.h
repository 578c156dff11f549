/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * sealed.h - may the memory of a file that another process made be touched?
 *
 * Who maps a file that its owner can shrink dies of SIGBUS when that happens. So files of guests and
 * applications are used only if they are memfds sealed against shrinking, and large enough. Of huge pages
 * (hugetlb) they may be where the mapping is guarded (fault.h): a hole punched there can fault, too.
 *
 * Thread safety: a pure function of the descriptor.
 */
#ifndef NETMAPD_SEALED_H
#define NETMAPD_SEALED_H

#include <stdint.h>
#include <sys/stat.h>

/*
 * huge NULL: not of huge pages. Else *huge becomes their size in bytes, 0 for ordinary ones: mappings begin and
 * end at multiples of it, and are guarded.
 *
 * NULL if [offset, offset + bytes) of the file is there and stays there; *st describes it then. Else
 * why not, to be read behind "its file". The seal is looked at before the size: what is sealed
 * then can't become smaller afterwards.
 */
const char *sealed_check(int fd, uint64_t offset, uint64_t bytes, struct stat *st, uint64_t *huge);

#endif
