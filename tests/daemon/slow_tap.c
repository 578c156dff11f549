/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Preloaded into netmapd: a kernel that takes as long as a test wants to remove a TAP device. close() of a queue waits for a byte in the
 * FIFO that $SLOW_TAP names; that of a device called $STUCK_TAP waits for ever.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/if_tun.h>
#include <net/if.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <unistd.h>

enum { TUN_MAJOR = 10, TUN_MINOR = 200 };

static int fifo = -1;
static const char *stuck;

/* Before netmapd has a sandbox. Open for writing as well: it never ends. */
__attribute__((constructor)) static void open_fifo(void)
{
	const char *path = getenv("SLOW_TAP");

	fifo = path ? open(path, O_RDWR | O_CLOEXEC) : -1;
	stuck = getenv("STUCK_TAP");
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
