/* SPDX-License-Identifier: BSD-2-Clause */
/* Starts as the program does: its main.c is part of this file, under another name. */
#define main netmapd_main
int netmapd_main(int argc, char **argv);
#include "main.c"
#undef main

#include "netmapd.h"
#include "attachments.h"

#include <sys/socket.h>
#include <sys/un.h>

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

static void configure(void)
{
	char *argv[] = {"netmapd", "--socket", path, "--workers", "1", "--poll", "0", NULL};
	struct options options;

	options_parse(&options, 7, argv);
	options.config.vm_region =
		(struct nm_region_params){.count = {24, 48, 600}, .size = {1024, 1024, 128}};
	options.config.shared =
		(struct nm_region_params){.count = {16, 64, 600}, .size = {1024, 1024, 128}};
	options.config.spare_bufs = 8;
	options.config.no_nics = true;
	options.config.guest[NM_POOL_IF] = 4;
	options.config.guest[NM_POOL_RING] = 8;
	options.config.guest[NM_POOL_BUF] = 64;
	netmapd.config = options.config;
}

/* The devices of the platform are the target's, threads are those of netmapd. */
static const struct nm_platform_ops *platform(void)
{
	static struct nm_platform_ops ops;

	ops = *netmapd.core.platform_ops;
	ops.newif = fuzz_platform.newif;
	ops.delif = fuzz_platform.delif;
	return &ops;
}

void netmapd_begin(void)
{
	struct loop_handle *signals;
	sigset_t set;

	snprintf(
		dir, sizeof(dir), "%s/fuzz-XXXXXX", access("/dev/shm", W_OK) ? "/tmp" : "/dev/shm");
	fuzz_check(mkdtemp(dir), "no directory %s", dir);
	snprintf(path, sizeof(path), "%s/socket", dir);
	configure();
	fuzz_check(start(&netmapd, &signals) == 0, "netmapd doesn't start");
	/* Its signals end the target. */
	sigemptyset(&set);
	pthread_sigmask(SIG_SETMASK, &set, NULL);
	netmapd.core.region_params = netmapd.config.shared;
	netmapd.core.platform_ops = platform();
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
