/* SPDX-License-Identifier: BSD-2-Clause */
#include "turn.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <time.h>
#include <unistd.h>

#include "log.h"

static uint64_t now_ms(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000 + (uint64_t)ts.tv_nsec / 1000000;
}

static void sleep_ms(uint64_t ms)
{
	nanosleep(&(struct timespec){(time_t)(ms / 1000), (long)(ms % 1000) * 1000000}, NULL);
}

/* Locked; or -1. */
static int open_turns(const char *dir, uid_t peer, uid_t user)
{
	char path[256];
	int fd;

	snprintf(path, sizeof(path), "%s/turn-%u-%u", dir, (unsigned)peer, (unsigned)user);
	fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (fd >= 0 && flock(fd, LOCK_EX) == 0)
		return fd;
	nic_log("%s: %s", path, strerror(errno));
	if (fd >= 0)
		close(fd);
	return -1;
}

/* How long its last turn is ago, which was noted in the file; a clock that began anew makes nobody wait for long. */
static uint64_t passed_ms(int fd, uint64_t now)
{
	uint64_t last;

	if (pread(fd, &last, sizeof(last), 0) != sizeof(last) || last > now)
		return UINT64_MAX;
	return now - last;
}

void turn_wait(const char *dir, uid_t peer, uid_t user, uint32_t ms)
{
	int fd = open_turns(dir, peer, user);
	uint64_t passed = fd < 0 ? 0 : passed_ms(fd, now_ms()), now;

	if (passed <= ms) /* in whole ms, each rounded down */
		sleep_ms(ms - passed + 1);
	now = now_ms();
	if (fd < 0)
		return;
	if (pwrite(fd, &now, sizeof(now), 0) != sizeof(now))
		nic_log("turns of user %u can't be noted: %s", (unsigned)user, strerror(errno));
	close(fd);
}
