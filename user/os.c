/* SPDX-License-Identifier: BSD-2-Clause */
/* The user-space platform of the core: memory, random numbers; log.c has the log. See core/os.h. */
#include "os.h"
#include "os_user.h"
#include "nm_error.h"
#include "fault.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <sys/types.h>
#include <fcntl.h>
#include <unistd.h>

enum { UNMAP_PART = 4 << 20 };

struct os_mem {
	struct os_job end; /* first */
	void *addr;
	uint64_t bytes;
	int fd;
	bool huge; /* on hugetlb pages, and guarded (fault.h) */
};

/* What a table begins with. */
struct table {
	struct os_job end; /* first */
	size_t bytes;      /* of the mapping */
} __attribute__((aligned(64)));

void *os_zalloc(size_t bytes)
{
	void *mem = NULL;
	size_t rounded = (bytes + 63) & ~(size_t)63;

	if (rounded < bytes || posix_memalign(&mem, 64, rounded ? rounded : 64) != 0)
		return NULL;
	memset(mem, 0, rounded);
	return mem;
}

void os_free(void *mem)
{
	free(mem);
}

/* ---- what others free ----------------------------------------------------------------------- */

static void (*free_by)(struct os_job *end);

void os_mem_free_by(void (*fn)(struct os_job *end))
{
	free_by = fn;
}

/* Takes the longer the more of it was touched. */
static void end_by(struct os_job *end, void (*run)(struct os_job *end))
{
	end->run = run;
	if (free_by)
		free_by(end);
	else
		run(end);
}

/* Who maps something meanwhile, or has a page fault, waits for one part at most: the kernel has one lock for that. */
static void unmap(void *addr, size_t bytes)
{
	while (bytes > 0) {
		size_t rest = (bytes - 1) / UNMAP_PART * UNMAP_PART;

		munmap((char *)addr + rest, bytes - rest);
		bytes = rest;
	}
}

void *os_table_alloc(size_t bytes)
{
	struct table *table;

	if (bytes > SIZE_MAX - sizeof(*table))
		return NULL;
	bytes += sizeof(*table);
	table = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (table == MAP_FAILED)
		return NULL;
	table->bytes = bytes;
	return table + 1;
}

static void end_table(struct os_job *job)
{
	struct table *table = (struct table *)job;

	unmap(table, table->bytes);
}

void os_table_free(void *mem)
{
	struct table *table = mem;

	if (table)
		end_by(&table[-1].end, end_table);
}

/* ---- descriptors --------------------------------------------------------------------------- */

static int fd_first_reserved = INT32_MAX;

void os_fd_reserve(int first)
{
	fd_first_reserved = first;
}

/* The kernel gives the lowest number that is free: so this one means that those below are in use. */
bool os_fd_is_reserved(int fd)
{
	return fd >= fd_first_reserved;
}

int os_fd_keep(int fd)
{
	if (!os_fd_is_reserved(fd))
		return fd;
	close(fd);
	errno = EMFILE;
	return -1;
}

/* ---- region memory ------------------------------------------------------------------------- */

/* 2 MiB; in memfd_create()'s flags the logarithm of a size lies at bit 26. */
enum { HUGE_PAGE_LOG2 = 21, HUGE_PAGE = 1 << HUGE_PAGE_LOG2, HUGE_SHIFT = 26 };

static bool want_huge;

static bool want_dump;

void os_mem_want_dump(bool want)
{
	want_dump = want;
}

void os_mem_keep_out_of_dumps(void *addr, size_t bytes)
{
	if (!want_dump)
		(void)madvise(addr, bytes, MADV_DONTDUMP);
}

void os_mem_want_huge(bool want)
{
	want_huge = want;
}

/* A sealed memfd: whoever gets the descriptor can neither shrink nor grow it. */
static int sealed_memfd(uint64_t bytes, unsigned int flags)
{
	int fd = os_fd_keep(memfd_create("netmap-region", MFD_CLOEXEC | MFD_ALLOW_SEALING | flags));

	if (fd < 0)
		return -1;
	if (ftruncate(fd, (off_t)bytes) < 0 ||
		fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL) < 0) {
		int error = errno;

		close(fd);
		errno = error;
		return -1;
	}
	return fd;
}

/*
 * The mapping, or MAP_FAILED with errno. Huge pages are set aside by mmap(), or it fails; and who gets the
 * descriptor can punch holes, so they are guarded.
 */
static void *map_sealed(struct os_mem *mem, unsigned int flags)
{
	void *addr = MAP_FAILED;
	int error;

	mem->fd = sealed_memfd(mem->bytes, flags);
	if (mem->fd < 0)
		return MAP_FAILED;
	addr = mmap(NULL, mem->bytes, PROT_READ | PROT_WRITE, MAP_SHARED, mem->fd, 0);
	if (addr != MAP_FAILED)
		os_mem_keep_out_of_dumps(addr, mem->bytes);
	error = addr == MAP_FAILED ? -errno : flags ? fault_guard(addr, mem->bytes, HUGE_PAGE) : 0;
	if (!error)
		return addr;
	if (addr != MAP_FAILED)
		munmap(addr, mem->bytes);
	close(mem->fd);
	mem->fd = -1;
	errno = -error;
	return MAP_FAILED;
}

/* On huge pages, if they are wanted and to be had. */
static bool map_huge(struct os_mem *mem)
{
	if (!want_huge || mem->bytes % HUGE_PAGE)
		return false;
	mem->addr = map_sealed(mem, MFD_HUGETLB | (unsigned int)HUGE_PAGE_LOG2 << HUGE_SHIFT);
	mem->huge = mem->addr != MAP_FAILED;
	if (!mem->huge)
		os_log(OS_LOG_WARN,
			"a region of %llu MiB is not on huge pages: %s; set them aside: /proc/sys/vm/nr_hugepages",
			(unsigned long long)mem->bytes >> 20, strerror(errno));
	return mem->huge;
}

struct os_mem *os_mem_alloc(uint64_t bytes, struct nm_error *err)
{
	struct os_mem *mem = calloc(1, sizeof(*mem));

	if (!mem) {
		nm_error_set(err, -ENOMEM, "no memory for a region");
		return NULL;
	}
	mem->bytes = bytes;
	if (map_huge(mem))
		return mem;
	mem->addr = map_sealed(mem, 0);
	if (mem->addr != MAP_FAILED) {
		/* Huge pages where shared memory may have them; a hint, no harm when refused. */
		madvise(mem->addr, bytes, MADV_HUGEPAGE);
		return mem;
	}
	nm_error_set(err, -errno, "a region of %llu bytes of packet memory can't be had: %s",
		(unsigned long long)bytes, strerror(errno));
	os_log(OS_LOG_WARN, "%s", err->text);
	free(mem);
	return NULL;
}

struct os_mem *os_mem_on_file(int fd, uint64_t bytes)
{
	struct os_mem *mem = calloc(1, sizeof(*mem));
	int error;

	if (!mem)
		return NULL;
	mem->bytes = bytes;
	mem->addr = MAP_FAILED;
	mem->fd = os_fd_keep(fcntl(fd, F_DUPFD_CLOEXEC, 3));
	if (mem->fd >= 0)
		mem->addr = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, mem->fd, 0);
	if (mem->addr != MAP_FAILED) {
		os_mem_keep_out_of_dumps(mem->addr, bytes);
		return mem;
	}
	error = errno;
	if (mem->fd >= 0)
		close(mem->fd);
	free(mem);
	errno = error;
	return NULL;
}

static void end_mem(struct os_job *job)
{
	struct os_mem *mem = (struct os_mem *)job;

	if (mem->huge)
		fault_unguard(mem->addr);
	unmap(mem->addr, mem->bytes);
	close(mem->fd);
	free(mem);
}

void os_mem_free(struct os_mem *mem)
{
	if (mem)
		end_by(&mem->end, end_mem);
}

void os_mem_trim(struct os_mem *mem, uint64_t bytes)
{
	if (bytes >= mem->bytes || munmap((char *)mem->addr + bytes, mem->bytes - bytes) < 0)
		return;
	mem->bytes = bytes;
}

bool os_mem_is_huge(const struct os_mem *mem)
{
	return mem->huge;
}

void *os_mem_addr(const struct os_mem *mem)
{
	return mem->addr;
}

int os_mem_fd(const struct os_mem *mem)
{
	return mem->fd;
}

void os_random(void *buf, size_t bytes)
{
	char *p = buf;

	while (bytes > 0) {
		ssize_t n = getrandom(p, bytes, 0);

		if (n < 0) {
			if (errno == EINTR)
				continue;
			abort(); /* no randomness, no keyed table */
		}
		p += n;
		bytes -= (size_t)n;
	}
}

int os_vsnprintf(char *buf, size_t bytes, const char *fmt, va_list ap)
{
	return vsnprintf(buf, bytes, fmt, ap);
}
