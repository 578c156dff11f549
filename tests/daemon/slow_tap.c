/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Preloaded into netmapd: a kernel that takes as long as a test wants to remove a TAP device. close() of a queue waits for a byte in the
 * FIFO that $SLOW_TAP names; that of a device called $STUCK_TAP waits for ever. And requests that netmapd has for itself wait
 * $SHORT_PATIENCE seconds, not as many as it says, so that the test needn't.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/if_tun.h>
#include <net/if.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/time.h>
#include <unistd.h>

enum { TUN_MAJOR = 10, TUN_MINOR = 200 };

static int fifo = -1;
static const char *stuck;
static long patience_s;

/* Before netmapd has a sandbox. Open for writing as well: it never ends. */
__attribute__((constructor)) static void open_fifo(void)
{
	const char *path = getenv("SLOW_TAP"), *patience = getenv("SHORT_PATIENCE");

	fifo = path ? open(path, O_RDWR | O_CLOEXEC) : -1;
	stuck = getenv("STUCK_TAP");
	patience_s = patience ? strtol(patience, NULL, 10) : 0;
}

static int is_stuck(int fd)
{
	struct ifreq ifr = {0};

	return stuck && ioctl(fd, TUNGETIFF, &ifr) == 0 && strcmp(ifr.ifr_name, stuck) == 0;
}

int close(int fd)
{
	struct stat st;
	char byte;

	/* O_PATH: of the sandbox, which names the file. */
	if (fstat(fd, &st) == 0 && S_ISCHR(st.st_mode) &&
		st.st_rdev == makedev(TUN_MAJOR, TUN_MINOR) && !(fcntl(fd, F_GETFL) & O_PATH)) {
		while (is_stuck(fd))
			pause();
		while (read(fifo, &byte, 1) < 0 && errno == EINTR)
			;
	}
	return (int)syscall(SYS_close, fd);
}

int setsockopt(int fd, int level, int option, const void *value, socklen_t size)
{
	const struct timeval short_one = {.tv_sec = patience_s};

	if (level == SOL_SOCKET && option == SO_RCVTIMEO && patience_s > 0) {
		value = &short_one;
		size = sizeof(short_one);
	}
	return (int)syscall(SYS_setsockopt, fd, level, option, value, size);
}
