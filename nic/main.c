/* SPDX-License-Identifier: BSD-2-Clause */
/* netmapd-nic: opens network interfaces for netmapd, which then needs no privilege. See netmapd-nic(8). */
#include <errno.h>
#include <getopt.h>
#include <linux/capability.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "access.h"
#include "claim.h"
#include "listen.h"
#include "log.h"
#include "nic_connect.h"
#include "session.h"

/* Linux 5.8 and 5.9; the same in all headers that have them. */
#ifndef CAP_BPF
#define CAP_BPF 39
#endif

enum { OPT_SOCKET = 1, OPT_CONFIG, OPT_STATE, OPT_CONNECTION, OPT_HELP, OPT_VERSION };

static const struct option options[] = {
	{"socket", 1, NULL, OPT_SOCKET},
	{"config", 1, NULL, OPT_CONFIG},
	{"state", 1, NULL, OPT_STATE},
	{"connection", 1, NULL, OPT_CONNECTION},
	{"help", 0, NULL, OPT_HELP},
	{"version", 0, NULL, OPT_VERSION},
	{NULL, 0, NULL, 0},
};

static const char usage[] =
	"usage: netmapd-nic [OPTION...]\n"
	"Opens network interfaces through AF_XDP for netmapd, so that netmapd needs no privilege.\n"
	"\n"
	"  --socket PATH    where netmapds connect to (default: " NIC_SOCKET_DEFAULT ")\n"
	"  --config FILE    which users may have which interfaces (default: " NIC_CONFIG ")\n"
	"  --state DIR      what is to be put back, if this is killed (default: " NIC_STATE ")\n"
	"  --connection FD  serve this connection only; so netmapd starts it, as root\n"
	"  --help           this text\n"
	"  --version        the version\n";

static void __attribute__((noreturn)) wrong(const char *what, const char *value)
{
	nic_log("%s%.80s; try netmapd-nic --help", what, value);
	exit(2);
}

/*
 * Keeps what is needed, as far as there is any of it: CAP_BPF and CAP_NET_ADMIN for map, program and link, CAP_NET_RAW for AF_XDP
 * sockets, CAP_IPC_LOCK for pinned memory. No program gets more by exec.
 */
static void keep_capabilities(void)
{
	const uint64_t keep = 1ULL << CAP_BPF | 1ULL << CAP_NET_ADMIN | 1ULL << CAP_NET_RAW |
			      1ULL << CAP_IPC_LOCK;
	struct __user_cap_header_struct hdr = {.version = _LINUX_CAPABILITY_VERSION_3};
	struct __user_cap_data_struct data[2];

	for (int cap = 0; cap < 64; cap++)
		if (!(keep >> cap & 1))
			prctl(PR_CAPBSET_DROP, cap, 0, 0, 0);
	prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
	if (syscall(SYS_capget, &hdr, data) < 0)
		return;
	for (int i = 0; i < 2; i++) {
		data[i].permitted &= (uint32_t)(keep >> (32 * i));
		data[i].effective = data[i].permitted;
		data[i].inheritable = 0;
	}
	if (syscall(SYS_capset, &hdr, data) < 0)
		nic_log("capabilities can't be given up: %s", strerror(errno));
}

/*
 * So many descriptors may wait for clients to read them, of all processes of this user together (session.c): each session has 64
 * sockets, and 64 of host rings.
 */
static void raise_limit(void)
{
	const rlim_t wanted = (rlim_t)LISTEN_MOST * 2 * NIC_QUEUES_MAX * 2;
	struct rlimit limit;

	if (getrlimit(RLIMIT_NOFILE, &limit) < 0 || limit.rlim_cur >= wanted)
		return;
	limit.rlim_cur = limit.rlim_max < wanted ? limit.rlim_max : wanted;
	setrlimit(RLIMIT_NOFILE, &limit);
}

static int number(const char *text)
{
	char *end;
	long n = strtol(text, &end, 10);

	if (*end || !*text || n < 0 || n > 65535)
		wrong("--connection wants the number of a descriptor, not ", text);
	return (int)n;
}

/* netmapd is the peer, and its user this one's. */
static int serve_one(int sock, const struct session_config *config)
{
	signal(SIGTERM, SIG_IGN); /* the end of the connection is the end */
	signal(SIGINT, SIG_IGN);
	session_run(sock, getuid(), config);
	return 0;
}

int main(int argc, char **argv)
{
	struct session_config config = {.state = NIC_STATE, .access = NIC_CONFIG};
	const char *path = NIC_SOCKET_DEFAULT;
	struct access_rules rules;
	struct nm_error err;
	int c, connection = -1;

	opterr = 0;
	while ((c = getopt_long(argc, argv, "+:", options, NULL)) != -1)
		switch (c) {
		case OPT_SOCKET:
			path = optarg;
			break;
		case OPT_CONFIG:
			config.access = optarg;
			break;
		case OPT_STATE:
			config.state = optarg;
			break;
		case OPT_CONNECTION:
			connection = number(optarg);
			break;
		case OPT_HELP:
			fputs(usage, stdout);
			return 0;
		case OPT_VERSION:
			puts("netmapd-nic " PTNETMAP_VERSION);
			return 0;
		default:
			wrong("no such option, or not with a value: ", argv[optind - 1]);
		}
	if (optind < argc)
		wrong("there are only options: ", argv[optind]);
	signal(SIGPIPE, SIG_IGN);
	raise_limit();
	if (connection >= 0) {
		keep_capabilities();
		return serve_one(connection, &config);
	}
	if (access_read(&rules, config.access, &err) != 0 || claim_dir(config.state, &err) != 0) {
		nic_log("%s", err.text);
		return 2;
	}
	access_free(&rules);
	config.logs = true;
	keep_capabilities();
	if (listen_run(path, &config, &err) != 0) {
		nic_log("%s", err.text);
		return 1;
	}
	return 0;
}
