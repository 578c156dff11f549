/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * guestmem.h - the guest memory that one vfio-user client has announced.
 *
 * The client tells which guest-physical ranges a device may reach (DMA_MAP), and
 * takes them back (DMA_UNMAP). This is that table: sorted ranges without overlap,
 * each with a piece of a file behind it, or with nothing (ROM, device memory).
 *
 * Nothing is mapped until it is needed, and then only the pages that are needed:
 * a range may be many GiB, and address space is shared with other machines. What
 * a device needs for a while it opens as a window:
 *
 *      guestmem_map(gm, 0, 1 << 30, GUESTMEM_READ | GUESTMEM_WRITE, fd, 0);
 *      struct guestmem_window w;
 *      if (guestmem_open(gm, 0x1000, 4096, GUESTMEM_READ | GUESTMEM_WRITE, &w) == 0)
 *              ... w.addr ...
 *      guestmem_close(gm, &w);
 *      guestmem_unmap(gm, 0, 1 << 30);         -EBUSY while a window into it is open
 *
 * A file that its owner can shrink would kill this process with SIGBUS. So a range
 * is usable only if its file is a memfd sealed against shrinking and large enough
 * to hold it. On huge pages (hugetlb) a hole that the owner punches can fault as well: windows
 * into such files are guarded (fault.h).
 * Other ranges are kept, so that the client's table and this one stay the same,
 * but no window opens into them; the reason is logged once per client.
 *
 * Thread safety: one thread makes all calls. The memory of an open window may be
 * used by any thread; the guest writes it at the same time.
 */
#ifndef NETMAPD_GUESTMEM_H
#define NETMAPD_GUESTMEM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct guestmem;
struct nm_quota;

enum {
	GUESTMEM_RANGES_MAX = 4096, /* of one client */
	GUESTMEM_FILES_MAX = 64,    /* distinct files behind them; each is one descriptor here */
	GUESTMEM_PAGE = 4096,       /* bytes: addresses, sizes, and offsets are multiples */
};

enum guestmem_prot { GUESTMEM_READ = 1, GUESTMEM_WRITE = 2 };

/* A mapped piece of guest memory. All 0: not open. */
struct guestmem_window {
	void *addr;   /* of the first byte asked for */
	uint64_t gpa; /* its guest-physical address */
	uint64_t len; /* bytes */
	void *map;    /* the pages around it */
	size_t map_len;
	bool guarded;
	struct guestmem_window *next; /* open windows */
};

/* `name` is for the log and must outlive the table. NULL: no memory. */
struct guestmem *guestmem_new(const char *name);

/* Who pays for its ranges (LIMIT_DMA_RANGES); nobody, without a call. While there is none. */
void guestmem_set_payer(struct guestmem *gm, struct nm_quota *payer);

/* No window may be open. NULL is allowed. */
void guestmem_free(struct guestmem *gm);

/*
 * Adds the range [gpa, gpa + size), all in bytes. `prot` is a set of enum guestmem_prot. `fd`
 * stays the caller's; -1: no file, then offset must be 0.
 *   -EINVAL  size 0, wraps around, not whole pages, no or unknown prot bits
 *   -EEXIST  overlaps another range
 *   -ENOSPC  GUESTMEM_RANGES_MAX reached
 *   -EDQUOT  the payer can't have more; the log says what to do
 *   -ENOMEM
 */
int guestmem_map(struct guestmem *gm, uint64_t gpa, uint64_t size, unsigned int prot, int fd,
	uint64_t offset);

/* True if exactly this range is in the table. */
bool guestmem_has(const struct guestmem *gm, uint64_t gpa, uint64_t size);

/* Removes exactly this range. -ENOENT: there is none; -EBUSY: a window into it is open. */
int guestmem_unmap(struct guestmem *gm, uint64_t gpa, uint64_t size);

/* Removes all ranges. -EBUSY: a window is open. */
int guestmem_unmap_all(struct guestmem *gm);

uint32_t guestmem_ranges(const struct guestmem *gm);

/*
 * Maps [gpa, gpa + len), which must lie within one usable range that allows `prot`.
 *   -EINVAL  len 0 or wraps around
 *   -EFAULT  not within one range, or the range is not usable
 *   -EACCES  the range does not allow `prot`
 *   else     as mmap
 * On failure *window is all 0.
 */
int guestmem_open(struct guestmem *gm, uint64_t gpa, uint64_t len, unsigned int prot,
	struct guestmem_window *window);

/* Unmaps a window and clears it. A window that is not open: nothing happens. */
void guestmem_close(struct guestmem *gm, struct guestmem_window *window);

/* True if the two byte ranges share a byte. A length of 0 shares none. */
static inline bool guestmem_overlap(uint64_t a, uint64_t a_len, uint64_t b, uint64_t b_len)
{
	if (a <= b)
		return a_len > b - a && b_len > 0;
	return b_len > a - b && a_len > 0;
}

#endif
