/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Ranges are an array, sorted by address, searched by bisection. A file is kept once however many
 * ranges are behind it (a client sends a new descriptor of the same file with each), found by
 * device, inode and access, and closed with its last range.
 */
#include "guestmem.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "closer.h"
#include "accounts.h"
#include "fault.h"
#include "os.h"
#include "os_user.h"
#include "sealed.h"

/* A file behind ranges. Clients send the same file again and again: it is kept once. */
struct gm_file {
	dev_t dev;
	ino_t ino;
	int access; /* O_RDONLY, O_WRONLY or O_RDWR */
	int fd;     /* ours; -1: free entry */
	uint32_t refs;
	uint64_t page; /* bytes: mappings begin and end there */
	bool guarded;  /* huge pages */
};

struct gm_range {
	uint64_t gpa;
	uint64_t size;
	uint64_t offset;      /* in the file */
	struct gm_file *file; /* NULL: not usable */
	unsigned int prot;
};

struct guestmem {
	const char *name;
	uint64_t page; /* bytes of a page of this process */
	bool complained;
	struct nm_quota *payer; /* for the ranges */
	uint32_t count, room;
	struct gm_range *ranges; /* sorted by gpa */
	struct guestmem_window *windows;
	struct gm_file files[GUESTMEM_FILES_MAX];
};

struct guestmem *guestmem_new(const char *name)
{
	struct guestmem *gm = os_zalloc(sizeof(*gm));
	int i;

	if (!gm)
		return NULL;
	gm->name = name;
	gm->page = (uint64_t)sysconf(_SC_PAGESIZE);
	for (i = 0; i < GUESTMEM_FILES_MAX; i++)
		gm->files[i].fd = -1;
	return gm;
}

void guestmem_set_payer(struct guestmem *gm, struct nm_quota *payer)
{
	os_assert(gm->count == 0);
	gm->payer = payer;
}

void guestmem_free(struct guestmem *gm)
{
	if (!gm)
		return;
	assert(!gm->windows);
	guestmem_unmap_all(gm);
	free(gm->ranges);
	os_free(gm);
}

static void file_put(struct gm_file *file)
{
	os_assert(!file || file->refs > 0);
	if (!file || --file->refs > 0)
		return;
	closer_later(file->fd); /* the last one of it, perhaps: then its memory is freed */
	file->fd = -1;
}

/* Inode numbers of memfds may come again: so it is looked whether the file that will be mapped has the range, and
 * is sealed. */
static struct gm_file *file_find(
	struct guestmem *gm, const struct stat *st, int access, uint64_t offset, uint64_t size)
{
	for (int i = 0; i < GUESTMEM_FILES_MAX; i++) {
		struct gm_file *file = &gm->files[i];
		struct stat ours;
		uint64_t huge;

		if (file->fd >= 0 && file->dev == st->st_dev && file->ino == st->st_ino &&
			file->access == access &&
			!sealed_check(file->fd, offset, size, &ours, &huge))
			return file;
	}
	return NULL;
}

static struct gm_file *file_add(
	struct guestmem *gm, const struct stat *st, uint64_t huge, int access, int fd)
{
	int i;

	for (i = 0; i < GUESTMEM_FILES_MAX; i++) {
		struct gm_file *file = &gm->files[i];

		if (file->fd >= 0)
			continue;
		file->fd = os_fd_keep(fcntl(fd, F_DUPFD_CLOEXEC, 3));
		if (file->fd < 0)
			return NULL;
		file->dev = st->st_dev;
		file->ino = st->st_ino;
		file->access = access;
		file->refs = 0;
		file->page = huge ? huge : gm->page;
		file->guarded = huge != 0;
		return file;
	}
	errno = EMFILE;
	return NULL;
}

/* A reference to the file of `fd` if [offset, offset + size) of it can be mapped and stays there; else
 * NULL and why. */
static struct gm_file *file_get(
	struct guestmem *gm, int fd, uint64_t offset, uint64_t size, const char **why)
{
	struct gm_file *file;
	struct stat st;
	uint64_t huge;
	int flags = fcntl(fd, F_GETFL);

	*why = flags < 0 ? "can't be examined" : sealed_check(fd, offset, size, &st, &huge);
	if (*why)
		return NULL;
	file = file_find(gm, &st, flags & O_ACCMODE, offset, size);
	if (!file)
		file = file_add(gm, &st, huge, flags & O_ACCMODE, fd);
	*why = "is one file too many";
	if (file)
		file->refs++;
	return file;
}

/* Index of the first range that ends behind gpa; gm->count if there is none. */
static uint32_t range_at(const struct guestmem *gm, uint64_t gpa)
{
	uint32_t low = 0, high = gm->count;

	while (low < high) {
		uint32_t middle = low + (high - low) / 2;
		const struct gm_range *range = &gm->ranges[middle];

		if (range->gpa + (range->size - 1) < gpa) /* its last byte; can't wrap */
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

static int range_room(struct guestmem *gm)
{
	struct gm_range *more;
	uint32_t room;

	if (gm->count < gm->room)
		return 0;
	if (gm->count >= GUESTMEM_RANGES_MAX)
		return -ENOSPC;
	room = gm->room ? gm->room * 2 : 16;
	more = reallocarray(gm->ranges, room, sizeof(*more));
	if (!more)
		return -ENOMEM;
	gm->ranges = more;
	gm->room = room;
	return 0;
}

static int pay_for_range(struct guestmem *gm)
{
	struct nm_error err;
	int error = nm_quota_take(gm->payer, LIMIT_DMA_RANGES, 1, &err);

	if (error && !gm->complained) {
		gm->complained = true;
		os_log(OS_LOG_WARN, "%s: guest memory can't be used: %s", gm->name, err.text);
	}
	return error;
}

int guestmem_map(struct guestmem *gm, uint64_t gpa, uint64_t size, unsigned int prot, int fd,
	uint64_t offset)
{
	const unsigned int known = GUESTMEM_READ | GUESTMEM_WRITE;
	struct gm_range range = {.gpa = gpa, .size = size, .offset = offset, .prot = prot};
	const char *why;
	uint32_t at;
	int error;

	if (size == 0 || size - 1 > UINT64_MAX - gpa || size - 1 > UINT64_MAX - offset)
		return -EINVAL;
	if ((gpa | size | offset) % GUESTMEM_PAGE)
		return -EINVAL;
	if (!prot || (prot & ~known) || (fd < 0 && offset))
		return -EINVAL;
	at = range_at(gm, gpa);
	if (at < gm->count && guestmem_overlap(gpa, size, gm->ranges[at].gpa, gm->ranges[at].size))
		return -EEXIST;
	error = range_room(gm);
	if (!error)
		error = pay_for_range(gm);
	if (error)
		return error;

	if (fd >= 0) {
		range.file = file_get(gm, fd, offset, size, &why);
		if (!range.file && !gm->complained) {
			gm->complained = true;
			os_log(OS_LOG_WARN, "%s: guest memory at 0x%llx can't be used: its file %s",
				gm->name, (unsigned long long)gpa, why);
		}
	}
	memmove(&gm->ranges[at + 1], &gm->ranges[at], (gm->count - at) * sizeof(range));
	gm->ranges[at] = range;
	gm->count++;
	return 0;
}

bool guestmem_has(const struct guestmem *gm, uint64_t gpa, uint64_t size)
{
	uint32_t at = range_at(gm, gpa);

	return at < gm->count && gm->ranges[at].gpa == gpa && gm->ranges[at].size == size;
}

int guestmem_unmap(struct guestmem *gm, uint64_t gpa, uint64_t size)
{
	const struct guestmem_window *window;
	uint32_t at = range_at(gm, gpa);

	if (!guestmem_has(gm, gpa, size))
		return -ENOENT;
	for (window = gm->windows; window; window = window->next) {
		if (guestmem_overlap(gpa, size, window->gpa, window->len))
			return -EBUSY;
	}
	file_put(gm->ranges[at].file);
	nm_quota_give(gm->payer, LIMIT_DMA_RANGES, 1);
	gm->count--;
	memmove(&gm->ranges[at], &gm->ranges[at + 1], (gm->count - at) * sizeof(*gm->ranges));
	return 0;
}

int guestmem_unmap_all(struct guestmem *gm)
{
	uint32_t i;

	if (gm->windows)
		return -EBUSY;
	for (i = 0; i < gm->count; i++)
		file_put(gm->ranges[i].file);
	nm_quota_give(gm->payer, LIMIT_DMA_RANGES, gm->count);
	gm->count = 0;
	return 0;
}

uint32_t guestmem_ranges(const struct guestmem *gm)
{
	return gm->count;
}

/* Maps whole pages around [offset, offset + len) of a file, which has them: its size is a multiple of them. Where
 * too few huge pages are left, mmap() says so, not the first touch; MAP_FAILED with errno. */
static void *map_pages(const struct gm_file *file, uint64_t offset, uint64_t len, unsigned int prot,
	size_t *map_len)
{
	uint64_t begin = offset & ~(file->page - 1);
	void *map;
	int error;

	*map_len = (len + (offset - begin) + file->page - 1) & ~(file->page - 1);
	map = mmap(NULL, *map_len,
		(prot & GUESTMEM_READ ? PROT_READ : 0) | (prot & GUESTMEM_WRITE ? PROT_WRITE : 0),
		MAP_SHARED, file->fd, (off_t)begin);
	if (map != MAP_FAILED)
		os_mem_keep_out_of_dumps(map, *map_len);
	if (map == MAP_FAILED || !file->guarded)
		return map;
	error = fault_guard(map, *map_len, file->page);
	if (!error)
		return map;
	munmap(map, *map_len);
	errno = -error;
	return MAP_FAILED;
}

int guestmem_open(struct guestmem *gm, uint64_t gpa, uint64_t len, unsigned int prot,
	struct guestmem_window *window)
{
	const struct gm_range *range;
	uint64_t offset;
	size_t map_len;
	uint32_t at;
	void *map;

	memset(window, 0, sizeof(*window));
	if (len == 0 || len - 1 > UINT64_MAX - gpa)
		return -EINVAL;
	at = range_at(gm, gpa);
	if (at == gm->count)
		return -EFAULT;
	range = &gm->ranges[at];
	if (gpa < range->gpa || len > range->size - (gpa - range->gpa) || !range->file)
		return -EFAULT;
	if (prot & ~range->prot)
		return -EACCES;

	offset = range->offset + (gpa - range->gpa);
	map = map_pages(range->file, offset, len, prot, &map_len);
	if (map == MAP_FAILED)
		return -errno;
	window->addr = (char *)map + (offset & (range->file->page - 1));
	window->gpa = gpa;
	window->len = len;
	window->map = map;
	window->map_len = map_len;
	window->guarded = range->file->guarded;
	window->next = gm->windows;
	gm->windows = window;
	return 0;
}

void guestmem_close(struct guestmem *gm, struct guestmem_window *window)
{
	struct guestmem_window **link = &gm->windows;

	if (!window->map)
		return;
	while (*link != window)
		link = &(*link)->next;
	*link = window->next;
	if (window->guarded)
		fault_unguard(window->map);
	munmap(window->map, window->map_len);
	memset(window, 0, sizeof(*window));
}
