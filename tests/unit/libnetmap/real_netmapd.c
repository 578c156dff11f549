/* SPDX-License-Identifier: BSD-2-Clause */
#include "real_netmapd.h"

#include <stdio.h>
#include <stdlib.h>
#include <signal.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "proto_client.h"

enum { PATIENCE_MS = 30000 };

static void __attribute__((noreturn)) give_up(const char *why)
{
	printf("Bail out! %s\n", why);
	exit(1);
}

void real_start(struct real_netmapd *r)
{
	const char *program = getenv("NETMAPD");
	struct nm_error why = {0};
	int fd = -1;

	if (!program)
		give_up("NETMAPD names no program");
	strcpy(r->dir, "/tmp/lib-real-XXXXXX");
	if (!mkdtemp(r->dir))
		give_up("no directory");
	snprintf(r->socket, sizeof(r->socket), "%s/socket", r->dir);
	setenv("NETMAPD_SOCKET", r->socket, 1);
	r->pid = fork();
	if (r->pid == 0) {
		unsetenv("LD_PRELOAD");
		execl(program, program, "--socket", r->socket, "--workers", "1", "--log-level",
			"error", (char *)NULL);
		_exit(127);
	}
	for (int ms = 0; fd < 0 && ms < PATIENCE_MS; ms += 10) {
		usleep(10000);
		if (waitpid(r->pid, NULL, WNOHANG) == r->pid)
			give_up("netmapd has ended");
		fd = nmd_connect(NULL, NULL, &why);
	}
	if (fd < 0)
		give_up(why.text);
	close(fd);
}

int real_stop(struct real_netmapd *r)
{
	int status = -1;

	kill(r->pid, SIGTERM);
	waitpid(r->pid, &status, 0);
	unlink(r->socket);
	if (rmdir(r->dir) < 0) {
		char lock[128];

		snprintf(lock, sizeof(lock), "%s.lock", r->socket);
		unlink(lock);
		rmdir(r->dir);
	}
	return status;
}
