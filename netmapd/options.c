/* SPDX-License-Identifier: BSD-2-Clause */
#include "options.h"
#include "accounts.h"
#include "configuration.h"
#include "nic_connect.h"
#include "one_line.h"
#include "proto_client.h"

#include <getopt.h>
#include <grp.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

enum {
	OPT_SOCKET = 256,
	OPT_BACKGROUND,
	OPT_UNUSED,
	OPT_WORKERS,
	OPT_SPREAD,
	OPT_CPUS,
	OPT_POLL,
	OPT_FULL_WAIT,
	OPT_BUFFERS,
	OPT_GUEST_BUFFERS,
	OPT_GUEST_RINGS,
	OPT_GUEST_IFS,
	OPT_SPARE_BUFFERS,
	OPT_NIC_BUFFERS,
	OPT_NIC,
	OPT_NIC_MODE,
	OPT_NIC_PASS,
	OPT_NIC_BUSY,
	OPT_HUGE,
	OPT_SHARED_BUFFERS,
	OPT_SHARED_RINGS,
	OPT_SHARED_IFS,
	OPT_MAX,
	OPT_POLICY,
	OPT_CONFIG,
	OPT_GROUP,
	OPT_SANDBOX,
	OPT_NO_SANDBOX,
	OPT_DUMP,
	OPT_LOG,
	OPT_LEVEL,
	OPT_HELP,
	OPT_VERSION,
};

static const struct {
	struct option option;
	const char *value, *help;
} table[] = {
	{{"socket", 1, 0, OPT_SOCKET}, "PATH",
		"control socket ($NETMAPD_SOCKET, else the user's or /run/netmapd/socket)"},
	{{"background", 0, 0, OPT_BACKGROUND}, "",
		"return when the socket is ready, go on in the background"},
	{{"exit-when-unused", 1, 0, OPT_UNUSED}, "SECONDS",
		"exit after so long without a connection"},
	{{"workers", 1, 0, OPT_WORKERS}, "N",
		"threads that serve rings, 1 to 64 (default: CPUs - 1, at most 4)"},
	{{"spread", 1, 0, OPT_SPREAD}, "port|ring", "what goes to one worker (default: port)"},
	{{"cpus", 1, 0, OPT_CPUS}, "LIST", "CPU of each worker, as in 2,3,5"},
	{{"poll-us", 1, 0, OPT_POLL}, "N",
		"poll at most N microseconds without work (default: 50)"},
	{{"full-wait-ms", 1, 0, OPT_FULL_WAIT}, "[SWITCH=]N",
		"packets between network stacks wait so long for a full receiver; 0: none (default: 100)"},
	{{"vm-buffers", 1, 0, OPT_BUFFERS}, "N",
		"packet buffers of each virtual machine's ports (default: 32768)"},
	{{"guest-buffers", 1, 0, OPT_GUEST_BUFFERS}, "N",
		"further ones for what the guest itself makes (default: a quarter of that)"},
	{{"guest-rings", 1, 0, OPT_GUEST_RINGS}, "N",
		"the same of rings: pipes, monitors, host rings (default: 128)"},
	{{"guest-ifs", 1, 0, OPT_GUEST_IFS}, "N",
		"the same of interfaces: registrations in the guest (default: 64)"},
	{{"spare-buffers", 1, 0, OPT_SPARE_BUFFERS}, "N",
		"buffers for pipes and monitors in an application's port region (default: 4096)"},
	{{"nic-buffers", 1, 0, OPT_NIC_BUFFERS}, "N",
		"buffers of a machine's region for NICs, and of one named by its id (default: 32768)"},
	{{"nic", 1, 0, OPT_NIC}, "SOCKET|off",
		"where netmapd-nic listens, which opens network interfaces (default: as root a child, else /run/netmapd-nic/nic.sock)"},
	{{"huge-pages", 0, 0, OPT_HUGE}, "",
		"regions on huge pages of 2 MiB, as far as the system has some set aside"},
	{{"nic-mode", 1, 0, OPT_NIC_MODE}, "[NAME=]any|zero-copy|…",
		"how packets of network interfaces come and go: any (the default, the best there is), zero-copy, native, generic"},
	{{"nic-pass", 1, 0, OPT_NIC_PASS}, "WHAT,…",
		"what of their packets stays the host's: arp, nd, lldp, its addresses, all it has sent (default: nothing)"},
	{{"nic-busy-poll", 1, 0, OPT_NIC_BUSY}, "US[/N]",
		"who serves their rings drives the device, N packets at a time; 0: interrupts do (default: 0)"},
	{{"shared-buffers", 1, 0, OPT_SHARED_BUFFERS}, "N",
		"packet buffers of the region of pipes and devices (default: 393216)"},
	{{"shared-rings", 1, 0, OPT_SHARED_RINGS}, "N", "rings of that region (default: 1024)"},
	{{"shared-ifs", 1, 0, OPT_SHARED_IFS}, "N", "registrations in that region (default: 512)"},
	{{"max", 1, 0, OPT_MAX}, "WHAT=N[/M]",
		"at most N for each user, and M for all, of memory, ports, … (netmapd(8))"},
	{{"policy", 1, 0, OPT_POLICY}, "FILE",
		"serve all users, as the rules of FILE say (netmapd(8))"},
	{{"config", 1, 0, OPT_CONFIG}, "PATH",
		"a file, or a directory of files *.conf: netmapd.conf(5); SIGHUP reads them again"},
	{{"group", 1, 0, OPT_GROUP}, "NAME", "the control socket is open to this group"},
	{{"no-sandbox", 0, 0, OPT_NO_SANDBOX}, "",
		"keep all privileges and system calls, for debugging; the same as --sandbox off"},
	{{"sandbox", 1, 0, OPT_SANDBOX}, "on|strict|off",
		"strict: a system call that isn't foreseen ends netmapd (default: on)"},
	{{"dump-packets", 0, 0, OPT_DUMP}, "",
		"a core dump has the packets, and the memory of guests"},
	{{"log", 1, 0, OPT_LOG}, "FILE", "append the log to FILE instead of writing to stderr"},
	{{"log-level", 1, 0, OPT_LEVEL}, "LEVEL", "error, warning, info or debug (default: info)"},
	{{"help", 0, 0, OPT_HELP}, "", "this text"},
	{{"version", 0, 0, OPT_VERSION}, "", "the version"},
};

enum {
	NUM_OPTIONS = sizeof(table) / sizeof(table[0]),
	SOCKET_MAX = NMD_PATH_MAX - 32, /* bytes: behind its directory come vmN/netN */
	GUEST_RINGS = 128,
	GUEST_IFS = 64,
	SPARE_BUFFERS = 4096,
	SHARED_BUFFERS = 393216, /* 96 pipes of 1024 slots; taken from the system when used */
	SHARED_RINGS = 1024,
	SHARED_IFS = 512,
	RINGS_MAX = 65536, /* of a region; also registrations */
};

#define GUEST_UNSET UINT32_MAX

/* One line, whatever the user's text holds. */
static void __attribute__((noreturn, format(printf, 1, 2))) wrong(const char *fmt, ...)
{
	char text[512];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	one_line(text);
	fprintf(stderr, "netmapd: %s; try netmapd --help\n", text);
	exit(2);
}

static void __attribute__((noreturn)) help(void)
{
	printf("usage: netmapd [OPTION…]\n"
	       "Owns the netmap ports of this host and serves them to virtual machines\n"
	       "(qemu-ptnet) and to applications (libnetmap). Needs no privilege.\n\n");
	for (int i = 0; i < NUM_OPTIONS; i++) {
		char left[40];

		snprintf(left, sizeof(left), "--%s %s", table[i].option.name, table[i].value);
		printf("  %-28s %s\n", left, table[i].help);
	}
	exit(0);
}

static uint32_t number(const char *name, const char *text, uint32_t min, uint32_t max)
{
	char *end;
	unsigned long long value;

	errno = 0;
	value = strtoull(text, &end, 10);
	if (errno || *end || text[0] < '0' || text[0] > '9' || value < min || value > max)
		wrong("--%s: \"%.60s\" is not a number from %u to %u", name, text, min, max);
	return (uint32_t)value;
}

static unsigned parse_cpus(const char *text, int cpus[WORKERS_MAX])
{
	unsigned n = 0;
	const char *p = text;

	for (;;) {
		char *end;
		long cpu = strtol(p, &end, 10);

		if (*p < '0' || *p > '9' || cpu >= sysconf(_SC_NPROCESSORS_CONF) ||
			n == WORKERS_MAX || (*end != ',' && *end != '\0'))
			wrong("--cpus: \"%.60s\" is not a list of CPUs from 0 to %ld, as in 0,1",
				text, sysconf(_SC_NPROCESSORS_CONF) - 1);
		cpus[n++] = (int)cpu;
		if (*end == '\0')
			return n;
		p = end + 1;
	}
}

static enum os_log_level parse_level(const char *text)
{
	static const char *const names[] = {"error", "warning", "info", "debug"};

	for (int i = 0; i <= OS_LOG_DEBUG; i++)
		if (strcmp(text, names[i]) == 0)
			return i;
	wrong("--log-level: \"%.60s\" is not error, warning, info or debug", text);
}

static gid_t find_group(const char *name)
{
	const struct group *group = getgrnam(name);

	if (!group)
		wrong("--group: there is no group \"%.60s\"", name);
	return group->gr_gid;
}

static unsigned default_workers(void)
{
	long cpus = sysconf(_SC_NPROCESSORS_ONLN) - 1;

	return cpus < 1 ? 1 : cpus > 4 ? 4 : (unsigned)cpus;
}

static void set_defaults(struct options *o)
{
	struct nm_core defaults;

	memset(o, 0, sizeof(*o));
	nm_core_init(&defaults);
	o->config.vm_region = defaults.region_params;
	o->config.shared = defaults.region_params;
	nm_core_destroy(&defaults);
	o->config.shared.count[NM_POOL_BUF] = SHARED_BUFFERS;
	o->config.shared.count[NM_POOL_RING] = SHARED_RINGS;
	o->config.shared.count[NM_POOL_IF] = SHARED_IFS;
	o->config.spare_bufs = SPARE_BUFFERS;
	o->config.nic_bufs = defaults.nic_bufs;
	o->config.guest[NM_POOL_BUF] = GUEST_UNSET;
	o->config.guest[NM_POOL_RING] = GUEST_RINGS;
	o->config.guest[NM_POOL_IF] = GUEST_IFS;
	o->config.poll_us = 50;
	o->config.group = (gid_t)-1;
	o->config.full_wait.all = FULL_WAIT_DEFAULT_MS;
	o->log_level = OS_LOG_INFO;
	for (int i = 0; i < WORKERS_MAX; i++)
		o->config.cpus[i] = -1;
}

/* From the root: clients get paths beside it, and in the background the directory changes. */
static void set_socket(struct options *o, const char *path)
{
	static char full[PATH_MAX + NMD_PATH_MAX];
	struct nm_error err;
	char found[NMD_PATH_MAX], *cwd = NULL;

	if (path && !path[0])
		wrong("--socket wants a path");
	if (nmd_socket_path(path, found, &err) != 0)
		wrong("%s", err.text);
	if (found[0] != '/') {
		cwd = getcwd(NULL, 0);
		if (!cwd)
			wrong("--socket: %.100s: where is the current directory? %s", found,
				strerror(errno));
	}
	snprintf(full, sizeof(full), "%s%s%s", cwd ? cwd : "", cwd ? "/" : "", found);
	free(cwd);
	if (strlen(full) > SOCKET_MAX)
		wrong("the path of the control socket has %zu bytes, at most %d are possible: %.200s",
			strlen(full), SOCKET_MAX, full);
	o->config.socket_path = full;
}

/* The options that say what regions have, and on what pages; false: it is none of them. */
static bool take_region_option(struct daemon_config *config, int c)
{
	switch (c) {
	case OPT_BUFFERS:
		config->vm_region.count[NM_POOL_BUF] =
			number("vm-buffers", optarg, 16, NM_BUFS_MAX);
		break;
	case OPT_GUEST_BUFFERS:
		config->guest[NM_POOL_BUF] = number("guest-buffers", optarg, 0, NM_BUFS_MAX);
		break;
	case OPT_GUEST_RINGS:
		config->guest[NM_POOL_RING] = number("guest-rings", optarg, 0, RINGS_MAX);
		break;
	case OPT_GUEST_IFS:
		config->guest[NM_POOL_IF] = number("guest-ifs", optarg, 0, RINGS_MAX);
		break;
	case OPT_NIC_BUFFERS:
		config->nic_bufs = number("nic-buffers", optarg, 16, NM_BUFS_MAX);
		break;
	case OPT_SHARED_BUFFERS:
		config->shared.count[NM_POOL_BUF] =
			number("shared-buffers", optarg, 16, NM_BUFS_MAX);
		break;
	case OPT_SHARED_RINGS:
		config->shared.count[NM_POOL_RING] = number("shared-rings", optarg, 4, RINGS_MAX);
		break;
	case OPT_SHARED_IFS:
		config->shared.count[NM_POOL_IF] = number("shared-ifs", optarg, 2, RINGS_MAX);
		break;
	case OPT_SPARE_BUFFERS:
		config->spare_bufs = number("spare-buffers", optarg, 0, NM_BUFS_MAX / 2);
		break;
	case OPT_HUGE:
		config->huge_pages = true;
		break;
	default:
		return false;
	}
	return true;
}

/* The options that say who can have what; false: it is none of them. */
static bool take_user_option(struct daemon_config *config, int c)
{
	struct nm_error err;

	switch (c) {
	case OPT_MAX:
		if (accounts_set(optarg, &err) != 0)
			wrong("--max: %s", err.text);
		break;
	case OPT_POLICY:
		config->policy_path = optarg;
		break;
	case OPT_CONFIG:
		config->config_path = optarg;
		break;
	case OPT_GROUP:
		config->group = find_group(optarg);
		break;
	default:
		return false;
	}
	return true;
}

/* The options about network interfaces; false: it is none of them. */
static bool take_nic_option(struct daemon_config *config, int c)
{
	struct nm_error err;
	int error = 0;

	switch (c) {
	case OPT_NIC_MODE:
		error = nic_settings_mode(&config->nics, optarg, &err);
		break;
	case OPT_NIC_PASS:
		error = nic_settings_pass(&config->nics, optarg, &err);
		break;
	case OPT_NIC_BUSY:
		error = nic_settings_busy(&config->nics, optarg, &err);
		break;
	case OPT_NIC:
		config->no_nics = strcmp(optarg, "off") == 0;
		config->nic_socket = config->no_nics ? NULL : optarg;
		break;
	default:
		return false;
	}
	if (error)
		wrong("%s", err.text);
	return true;
}

static void take_full_wait(struct daemon_config *config)
{
	struct nm_error err;

	if (full_wait_option(&config->full_wait, optarg, &err) != 0)
		wrong("--full-wait-ms: %s", err.text);
}

/* The options that say what is kept from whom; false: it is none of them. */
static bool take_sandbox_option(struct options *o, int c)
{
	static const char *const modes[] = {"on", "strict", "off"};

	switch (c) {
	case OPT_NO_SANDBOX:
		o->sandbox = SANDBOX_OFF;
		return true;
	case OPT_DUMP:
		o->config.dump_packets = true;
		return true;
	case OPT_SANDBOX:
		for (int i = 0; i <= SANDBOX_OFF; i++)
			if (strcmp(optarg, modes[i]) == 0) {
				o->sandbox = (enum sandbox_mode)i;
				return true;
			}
		wrong("--sandbox: \"%.60s\" is not on, strict or off", optarg);
	default:
		return false;
	}
}

static void take_option(struct options *o, int c, const char **socket, unsigned *cpus)
{
	struct daemon_config *config = &o->config;

	if (take_region_option(config, c) || take_user_option(config, c) ||
		take_sandbox_option(o, c) || take_nic_option(config, c))
		return;
	switch (c) {
	case OPT_SOCKET:
		*socket = optarg;
		break;
	case OPT_BACKGROUND:
		o->background = true;
		break;
	case OPT_UNUSED:
		config->unused_s = number("exit-when-unused", optarg, 1, 1000000);
		break;
	case OPT_WORKERS:
		config->workers = number("workers", optarg, 1, WORKERS_MAX);
		break;
	case OPT_SPREAD:
		if (strcmp(optarg, "port") != 0 && strcmp(optarg, "ring") != 0)
			wrong("--spread: \"%.60s\" is neither port nor ring", optarg);
		config->ring_each = strcmp(optarg, "ring") == 0;
		break;
	case OPT_CPUS:
		*cpus = parse_cpus(optarg, config->cpus);
		break;
	case OPT_POLL:
		config->poll_us = number("poll-us", optarg, 0, 1000000);
		break;
	case OPT_FULL_WAIT:
		take_full_wait(config);
		break;
	case OPT_LOG:
		o->log_file = optarg;
		break;
	case OPT_LEVEL:
		o->log_level = parse_level(optarg);
		break;
	case OPT_HELP:
		help();
	case OPT_VERSION:
		printf("netmapd %s\n", PTNETMAP_VERSION);
		exit(0);
	}
}

/* The guest's part comes on top of what the machine's ports have. */
static void add_guest_part(struct daemon_config *config)
{
	uint32_t *count = config->vm_region.count;
	struct nm_pool_geometry pool[NM_POOLS];
	struct nm_error err;

	if (config->guest[NM_POOL_BUF] == GUEST_UNSET) {
		uint32_t left = NM_BUFS_MAX - count[NM_POOL_BUF], part = count[NM_POOL_BUF] / 4;

		config->guest[NM_POOL_BUF] = part < left ? part : left;
	}
	for (int i = 0; i < NM_POOLS; i++)
		count[i] += config->guest[i];
	if (count[NM_POOL_BUF] > NM_BUFS_MAX)
		wrong("--vm-buffers and --guest-buffers are %u together, more than %d",
			count[NM_POOL_BUF], NM_BUFS_MAX);
	if (nm_region_layout(&config->vm_region, pool, &err) == 0)
		wrong("the memory region of a virtual machine: %s", err.text);
	if (nm_region_layout(&config->shared, pool, &err) == 0)
		wrong("the shared memory region: %s", err.text);
}

void options_parse(struct options *o, int argc, char **argv)
{
	struct option long_options[NUM_OPTIONS + 1] = {0};
	const char *socket = NULL;
	unsigned cpus = 0;
	struct nm_error err;
	int c, at; /* at: the word that is looked at */

	set_defaults(o);
	for (int i = 0; i < NUM_OPTIONS; i++)
		long_options[i] = table[i].option;
	opterr = 0;
	while (at = optind, (c = getopt_long(argc, argv, "+:", long_options, NULL)) != -1) {
		if (c == '?')
			wrong("\"%.60s\": no such option, or not with a value", argv[at]);
		if (c == ':')
			wrong("%.60s wants a value", argv[at]);
		take_option(o, c, &socket, &cpus);
	}
	if (optind < argc)
		wrong("\"%.60s\": there are only options", argv[optind]);
	if (o->config.workers == 0)
		o->config.workers = cpus ? cpus : default_workers();
	if (cpus && cpus != o->config.workers)
		wrong("--cpus names %u CPUs, but there are %u workers", cpus, o->config.workers);
	add_guest_part(&o->config);
	if (configuration_read(o->config.config_path, o->config.policy_path, &err) != 0)
		wrong("--%s: %s", o->config.config_path ? "config" : "policy", err.text);
	set_socket(o, socket);
}
