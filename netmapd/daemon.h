/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * daemon.h - netmapd as a whole: what its parts share.
 *
 *      main.c      arguments, start, stop
 *      ctl.c       control socket: connections and their messages (proto.h)
 *      closer.c    closes what clients have passed, in other threads; device_closer.c: what network devices hang on;
 *                  crew.c: their threads
 *      vm.c        virtual machines; vm_dir.c, vm_region.c, vm_port.c: what they consist of
 *      local.c     applications on this host: a port, its CSB, eventfds
 *      port_service.c    a port served through a CSB, for a guest or an application alike
 *      configuration.c  the files of --config and --policy, read and applied
 *      policy.c    what a user may, where there are several; policy_request.c: of control requests
 *      directory.c users and groups by name, asked outside of the sandbox
 *      accounts.c    how much a user, and all together, can have
 *      worker.c    the threads that serve rings; placement.c: which of them a ring has; settings.c: what of it can be changed
 *      attachments.c   devices on switches: which worker moves their packets
 *      tap.c       persistent ports: network devices of this host
 *      nic.c       network interfaces through AF_XDP
 *      status.c    what netmapctl shows
 *      events.c    what has happened, for who watches
 *
 * One control thread does everything but serving rings: it runs the loop, and
 * all of ctl, vm, local, port_service, attachments, tap and status are called from it.
 *
 * Thread safety: control thread only, but for core (its own locks) and the workers.
 */
#ifndef NETMAPD_DAEMON_H
#define NETMAPD_DAEMON_H

#include <stdbool.h>
#include <stdint.h>
#include <time.h>

#include "full_wait.h"
#include "loop.h"
#include "nic_settings.h"
#include "port.h"
#include "worker.h"

enum {
	WORKERS_MAX = 64,
};

struct ctl;
struct placement_rule;
struct port_service;
struct taps;
struct nics;
struct vm;

struct daemon_config {
	const char *socket_path;
	const char *config_path, *policy_path; /* as given; NULL: none */
	gid_t group;                           /* that may connect as well; -1: none */
	unsigned workers;                      /* 1 to WORKERS_MAX */
	bool ring_each;                        /* rings of one port go to different workers */
	int cpus[WORKERS_MAX];                 /* for each worker, or -1 */
	uint32_t poll_us;                      /* see worker.h */
	bool huge_pages;                       /* under regions */
	bool dump_packets;                     /* a core dump has regions, and guests' memory */
	struct full_wait_bounds full_wait;     /* control thread changes it */
	uint32_t unused_s; /* exit after so many seconds without a connection; 0: never */
	struct nm_region_params vm_region; /* of each virtual machine, the guest's part included */
	struct nm_region_params shared;    /* regions that are named by their id */
	uint32_t spare_bufs;               /* in the region of a port that has its own */
	uint32_t nic_bufs;        /* in a machine's region for NICs, and those named by an id */
	const char *nic_socket;   /* of netmapd-nic; NULL: as nic_connect.h says */
	bool no_nics;             /* names of network interfaces mean nothing */
	struct nic_settings nics; /* what is demanded of them */
	uint32_t guest[NM_POOLS]; /* objects set aside for the guest in each of its regions */
};

struct daemon {
	struct daemon_config config;
	struct nm_core core;
	struct loop *loop;
	struct worker *workers[WORKERS_MAX];
	unsigned next_worker;          /* round robin */
	unsigned threads;              /* of workers[], from the first on; settings.c */
	struct placement_rule *places; /* placement.h */
	uint32_t move; /* number of the last change of who serves what: settings.c */
	struct worker
		*pollers[WORKERS_MAX]; /* for devices that are polled; NULL, or stopped: free */
	struct port_service *services;
	struct local *locals; /* bound ones; control thread */
	int stopped_rings;    /* eventfd of the workers: a ring has stopped */
	struct ctl *ctl;
	struct taps *taps;
	struct nics *nics;
	struct vm *vms;
	uint32_t next_vm;
	bool stop;
	int signals; /* signalfd */
	int ready;   /* gets a byte when netmapd serves; -1: is told already, or nobody asks */
	time_t started;
};

#endif
