/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * testutil.h - small things that the tests of the vfio-user server share.
 *
 * Thread safety: no state.
 */
#ifndef TESTS_VFIO_TESTUTIL_H
#define TESTS_VFIO_TESTUTIL_H

#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/types.h>
#include <time.h>
#include <unistd.h>

/* Open descriptors of process `pid` (0: this one). */
static inline int count_fds(pid_t pid)
{
	char path[64];
	DIR *dir;
	int count = 0;

	snprintf(path, sizeof(path), "/proc/%d/fd", pid ? (int)pid : (int)getpid());
	dir = opendir(path);
	assert_non_null(dir);
	while (readdir(dir))
		count++;
	closedir(dir);
	return count - 2 - (pid == 0); /* ".", "..", and the directory itself */
}

/* A memfd of `bytes`, sealed like QEMU's when `seals` is F_SEAL_SHRINK | F_SEAL_GROW. */
static inline int make_memfd(uint64_t bytes, int seals)
{
	int fd = memfd_create("test-ram", MFD_CLOEXEC | MFD_ALLOW_SEALING);

	assert_true(fd >= 0);
	assert_int_equal(ftruncate(fd, (off_t)bytes), 0);
	if (seals)
		assert_int_equal(fcntl(fd, F_ADD_SEALS, seals), 0);
	return fd;
}

enum { RAM_SEALS = F_SEAL_SHRINK | F_SEAL_GROW };

/* CPU time of this thread, microseconds. */
static inline uint64_t thread_cpu_us(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &ts);
	return (uint64_t)ts.tv_sec * 1000000 + (uint64_t)ts.tv_nsec / 1000;
}

/* Has so much more of it, microseconds. */
static inline void use_cpu(uint64_t us)
{
	uint64_t end = thread_cpu_us() + us;

	while (thread_cpu_us() < end)
		;
}

/* A repeatable random number (xorshift); *state must not be 0. */
static inline uint64_t next_random(uint64_t *state)
{
	*state ^= *state << 13;
	*state ^= *state >> 7;
	*state ^= *state << 17;
	return *state;
}

#endif
