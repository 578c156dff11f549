/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * daemon_child.h - a netmapd of one's own, for tests.
 *
 * Starts the program named by $NETMAPD in a fresh directory, talks to its control socket,
 * looks at what it holds, and stops it again. What goes wrong fails the cmocka test.
 *
 *      daemon_start(&d);
 *      int vm = daemon_vm(&d, "vm");
 *      daemon_port(vm, "vale1:1", &port);       port.net_path, port.mem_path
 *      close(vm);                               the machine is gone
 *      daemon_stop(&d);
 *
 * Thread safety: one thread.
 */
#ifndef TESTS_DAEMON_CHILD_H
#define TESTS_DAEMON_CHILD_H

#include <stdbool.h>
#include <sys/types.h>

#include "proto.h"

struct daemon_child {
	pid_t pid;
	char dir[64];
	char socket[96];
};

void daemon_start(struct daemon_child *d);
/* With an option besides, as "--workers=2". */
void daemon_start_with(struct daemon_child *d, const char *option);

/* Ends it with SIGTERM; it must exit with status 0 and leave no file but its lock. */
void daemon_stop(struct daemon_child *d);

/* True while the process runs. */
bool daemon_alive(const struct daemon_child *d);

/* A control connection. */
int daemon_connect(const struct daemon_child *d);

/* A control connection that owns a virtual machine. */
int daemon_vm(const struct daemon_child *d, const char *name);

/* Adds a port to the machine. */
void daemon_port(int vm, const char *ifname, struct nmd_vm_add_port_reply *reply);

/* What the process holds now. */
struct daemon_holds {
	int fds;
	int guest_maps; /* mappings of guest RAM (vfio_guest.h) */
	int region_maps;
	int threads;
};

void daemon_holds(const struct daemon_child *d, struct daemon_holds *holds);

/* Waits (up to 10 s) until it holds the same as before. */
void daemon_expect_holds(const struct daemon_child *d, const struct daemon_holds *before);

#endif
