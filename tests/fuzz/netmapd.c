/* SPDX-License-Identifier: BSD-2-Clause */
#include "netmapd.h"
#include "attachments.h"
#include "ctl.h"
#include "notify.h"
#include "tap.h"
#include "vm.h"

#include <signal.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

enum { ROUNDS_MAX = 200, WAIT_MS = 5000 };

struct daemon netmapd;
static char dir[64], path[96];

static void remove_dir(void)
{
	char lock[112];

	ctl_close(&netmapd);
	snprintf(lock, sizeof(lock), "%s.lock", path);
	unlink(lock);
	rmdir(dir);
}

/* The device's part of the platform is the target's, threads are those of netmapd. */
static const struct nm_platform_ops *platform(void)
{
	static struct nm_platform_ops ops;

	ops = fuzz_platform;
	ops.attachment_start = attachments_start;
	ops.attachment_stop = attachments_stop;
	ops.attachment_poll = attachments_poll;
	return &ops;
}

void netmapd_begin(void)
{
	const struct worker_config worker = {.cpu = -1};
	struct nm_error err = {0};

	signal(SIGPIPE, SIG_IGN);
	snprintf(
		dir, sizeof(dir), "%s/fuzz-XXXXXX", access("/dev/shm", W_OK) ? "/tmp" : "/dev/shm");
	fuzz_check(mkdtemp(dir), "no directory %s", dir);
	snprintf(path, sizeof(path), "%s/socket", dir);
	netmapd.config = (struct daemon_config){
		.socket_path = path,
		.workers = 1,
		.vm_region = {.count = {24, 48, 600}, .size = {1024, 1024, 128}},
		.shared = {.count = {16, 64, 600}, .size = {1024, 1024, 128}},
		.spare_bufs = 8,
		.guest = {4, 8, 64},
	};
	fuzz_check(nm_core_init(&netmapd.core) == 0, "no core");
	netmapd.core.region_params = netmapd.core.shared_params = netmapd.config.shared;
	netmapd.core.spare_bufs = netmapd.config.spare_bufs;
	netmapd.core.platform_ops = platform();
	netmapd.core.platform = &netmapd;
	(void)notify_init();
	fuzz_check(loop_new(&netmapd.loop) == 0 && taps_init(&netmapd) == 0, "no loop");
	netmapd.workers[0] = worker_new(&worker);
	fuzz_check(netmapd.workers[0], "no worker");
	fuzz_check(ctl_open(&netmapd, &err) == 0, "%s", err.text);
	atexit(remove_dir);
}

int netmapd_connect(const char *to, int type)
{
	struct sockaddr_un addr = {.sun_family = AF_UNIX};
	int fd = socket(AF_UNIX, type | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

	snprintf(addr.sun_path, sizeof(addr.sun_path), "%s", to);
	if (fd >= 0 && connect(fd, (struct sockaddr *)&addr, sizeof(addr)) < 0) {
		close(fd);
		return -1;
	}
	netmapd_run();
	return fd;
}

void netmapd_run(void)
{
	for (int i = 0; i < ROUNDS_MAX && loop_run_once(netmapd.loop, 0) > 0; i++)
		;
}

static bool is_used(void)
{
	uint64_t since;

	return ctl_connections(&netmapd, &since) > 0 || netmapd.vms;
}

void netmapd_check_empty(void)
{
	uint64_t since;

	fuzz_fail_allocation(0);
	for (int ms = 0; ms < WAIT_MS && is_used(); ms++)
		(void)loop_run_once(netmapd.loop, 1);
	fuzz_check(!netmapd.vms, "a virtual machine is left");
	fuzz_check(ctl_connections(&netmapd, &since) == 0, "a connection is left");
	fuzz_core_check_empty(&netmapd.core);
}
