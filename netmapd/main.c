/* SPDX-License-Identifier: BSD-2-Clause */
/* netmapd: start, the control thread's loop, and a clean stop. */
#include "closer.h"
#include "configuration.h"
#include "device_closer.h"
#include "ctl.h"
#include "accounts.h"
#include "directory.h"
#include "events.h"
#include "notify.h"
#include "options.h"
#include "port_service.h"
#include "os_user.h"
#include "settings.h"
#include "fault.h"
#include "nic_connect.h"
#include "proto.h"
#include "signals.h"
#include "attachments.h"
#include "nic.h"
#include "tap.h"
#include "vm.h"

#include <fcntl.h>
#include <malloc.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/wait.h>
#include <unistd.h>

enum { LARGE_BLOCK = 128 << 10 /* bytes */ };

/* ---- background ---------------------------------------------------------------------- */

/*
 * The parent waits until the child is ready (a byte through the pipe) or has failed (end of
 * file; its message is on stderr already) and exits accordingly. The child gets the write end.
 */
static int fork_into_background(void)
{
	int fds[2], status;
	char byte;
	pid_t pid;

	if (pipe2(fds, O_CLOEXEC) < 0 || (pid = fork()) < 0) {
		fprintf(stderr, "netmapd: can't go to the background: %s\n", strerror(errno));
		exit(1);
	}
	if (pid == 0) {
		close(fds[0]);
		setsid();
		return fds[1];
	}
	close(fds[1]);
	if (read(fds[0], &byte, 1) == 1)
		_exit(0);
	if (waitpid(pid, &status, 0) == pid && WIFEXITED(status) && WEXITSTATUS(status) != 0)
		_exit(WEXITSTATUS(status));
	_exit(1);
}

/* Opens `path` in the place of the standard descriptors first to last. */
static int replace(const char *path, int flags, int first, int last)
{
	int fd = open(path, flags | O_NONBLOCK, 0600), error = 0;

	/* A FIFO that nobody reads yet. It keeps what its buffer has room for. */
	if (fd < 0 && errno == ENXIO)
		fd = open(path, (flags & ~O_ACCMODE) | O_RDWR | O_NONBLOCK, 0600);
	if (fd < 0)
		return -errno;
	for (int i = first; i <= last && !error; i++)
		if (dup2(fd, i) < 0)
			error = -errno;
	close(fd);
	return error;
}

/* From now on nobody holds the terminal; messages go to the log file. 0, or an exit status with
 * a line on stderr. */
static int redirect(const struct options *o)
{
	char beside[NMD_PATH_MAX + 8];
	const char *log = o->log_file;
	int error = 0;

	snprintf(beside, sizeof(beside), "%s.log", o->config.socket_path);
	if (!log && o->background)
		log = beside;
	if (log)
		error = replace(log, O_WRONLY | O_CREAT | O_APPEND | O_NOFOLLOW, STDERR_FILENO,
			STDERR_FILENO);
	if (error) {
		os_log(OS_LOG_ERR, "the log %s can't be opened: %s", log, strerror(-error));
		return EXIT_FAILURE;
	}
	if (log)
		nic_starter_log(STDERR_FILENO);
	if (!o->background)
		return 0;
	error = replace("/dev/null", O_RDWR, STDIN_FILENO, STDOUT_FILENO);
	if (error || chdir("/") < 0) {
		os_log(OS_LOG_ERR, "can't go to the background: %s",
			strerror(error ? -error : errno));
		return EXIT_FAILURE;
	}
	return 0;
}

/* ---- parts of the daemon --------------------------------------------------------------- */

/* Virtual machines bring many descriptors: the limit goes up to what is allowed. Returns it. */
static uint32_t raise_limits(void)
{
	struct rlimit limit;

	if (getrlimit(RLIMIT_NOFILE, &limit) < 0)
		return 0;
	limit.rlim_cur = limit.rlim_max;
	setrlimit(RLIMIT_NOFILE, &limit);
	return limit.rlim_cur < INT32_MAX ? (uint32_t)limit.rlim_cur : INT32_MAX;
}

/* Descriptors that clients pass have a part of them, and those that clients make netmapd open the rest. */
static void divide_files(uint32_t files)
{
	uint32_t reserve = closer_reserve(files);

	accounts_init(reserve ? files - reserve : UINT64_MAX);
}

static void say_if_few(uint32_t files)
{
	if (files < CLOSER_FILES_MIN)
		os_log(OS_LOG_WARN,
			"%u files may be open at a time, which is few: with %d and more, no client can make others wait by the descriptors that it passes (ulimit -n, LimitNOFILE)",
			files, CLOSER_FILES_MIN);
}

static void signal_ready(void *arg, uint32_t events)
{
	struct signalfd_siginfo info;
	struct daemon *d = arg;

	if (read(d->signals, &info, sizeof(info)) == sizeof(info) && info.ssi_signo == SIGHUP &&
		configuration_reload(d))
		return;
	os_log(OS_LOG_INFO, "asked to stop");
	d->stop = true;
}

/*
 * What clients needed goes back to the system when they are gone. Else the C library learns from each large block that
 * is freed: it takes the next ones of that size (32 MiB at most) from its heap, and keeps twice as much of that for
 * itself, in each heap. Threads with heaps of their own would gain nothing: none allocates for a packet.
 */
static void keep_little_memory(void)
{
	mallopt(M_MMAP_THRESHOLD, LARGE_BLOCK);
	mallopt(M_TRIM_THRESHOLD, LARGE_BLOCK);
	mallopt(M_ARENA_MAX, 1);
}

/* Before any thread exists, so that all inherit the mask. */
static int block_signals(void)
{
	const sigset_t set = signals_block((const int[]){SIGINT, SIGTERM, SIGHUP, 0});

	signal(SIGPIPE, SIG_IGN);
	return signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
}

/* Workers have no time to say it themselves. */
static void rings_stopped(void *arg, uint32_t events)
{
	struct daemon *d = arg;
	uint64_t count;

	if (read(d->stopped_rings, &count, sizeof(count)) == sizeof(count))
		port_services_tell(d);
}

static int hear_of_stopped_rings(struct daemon *d)
{
	struct loop_handle *handle;

	d->stopped_rings = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (d->stopped_rings < 0)
		return -errno;
	return loop_add(d->loop, d->stopped_rings, EPOLLIN, rings_stopped, d, &handle);
}

static int start_workers(struct daemon *d)
{
	const struct config_item wanted = {
		.setting = CONFIG_WORKERS, .numbers = {d->config.workers}, .count = 1};
	struct nm_error err;

	d->config.workers = 0;
	return settings_change(d, &wanted, &err);
}

static int start_closer(void)
{
	int error = closer_init();

	if (!error)
		error = device_closer_init();
	if (error) {
		errno = -error;
		return error;
	}
	os_mem_free_by(closer_run);
	return 0;
}

static void stop_workers(struct daemon *d)
{
	for (unsigned i = 0; i < WORKERS_MAX; i++) {
		if (d->workers[i])
			worker_stop(d->workers[i]);
		if (d->pollers[i])
			worker_stop(d->pollers[i]);
	}
	settings_end(d);
}

/* Behind all that has rings, and so could signal one. */
static void free_workers(struct daemon *d)
{
	for (unsigned i = 0; i < WORKERS_MAX; i++) {
		worker_free(d->workers[i]);
		worker_free(d->pollers[i]);
	}
}

static bool has_attached(struct daemon *d)
{
	bool some;

	nm_core_lock(&d->core);
	some = d->core.attachments != NULL;
	nm_core_unlock(&d->core);
	return some;
}

static bool unused_too_long(struct daemon *d)
{
	uint64_t since;

	if (d->config.unused_s == 0 || ctl_connections(d, &since) > 0)
		return false;
	/* What outlives the connection that made it is in use. */
	if (has_attached(d) || taps_count(d) > 0)
		return false;
	return os_time_s() - since >= d->config.unused_s;
}

/* Once. */
static void tell_ready(struct daemon *d)
{
	if (d->ready < 0)
		return;
	if (write(d->ready, "", 1) != 1)
		os_log(OS_LOG_WARN, "whoever started this is gone");
	close(d->ready);
	d->ready = -1;
}

static int serve(struct daemon *d)
{
	while (!d->stop) {
		int n;

		if (configuration_is_done())
			tell_ready(d);
		n = loop_run_once(d->loop, d->config.unused_s ? 1000 : -1);

		if (n < 0) {
			os_log(OS_LOG_ERR, "event loop: %s", strerror(-n));
			return 1;
		}
		if (unused_too_long(d)) {
			os_log(OS_LOG_INFO, "nobody has been connected for %u s: done",
				d->config.unused_s);
			break;
		}
	}
	return 0;
}

static const char *more_objects(const struct nm_region *region, enum nm_pool pool)
{
	static const char *const shared[NM_POOLS] = {
		"netmapd --shared-ifs", "netmapd --shared-rings", "netmapd --shared-buffers"};

	if (region->nic && pool == NM_POOL_BUF && (region->shared || region->reserved))
		return "netmapd --nic-buffers";
	if (region->shared)
		return shared[pool];
	if (pool != NM_POOL_BUF)
		return NULL;
	return region->reserved ? "netmapd --vm-buffers" : "netmapd --spare-buffers";
}

static void port_changed(const struct nm_port *port, bool is_there)
{
	events_add(is_there ? NMD_EVENT_PORT_NEW : NMD_EVENT_PORT_GONE, port->name,
		accounts_payer(port->payer), "%s", port->ops->kind);
}

static void start_core(struct daemon *d)
{
	static const struct nm_platform_ops ops = {
		.newif = taps_newif,
		.delif = taps_delif,
		.attachment_start = attachments_start,
		.attachment_stop = attachments_stop,
		.attachment_pause = attachments_pause,
		.attachment_poll = attachments_poll,
		.more_objects = more_objects,
		.port_changed = port_changed,
	};

	os_mem_want_huge(d->config.huge_pages);
	os_mem_want_dump(d->config.dump_packets);
	nm_core_init(&d->core);
	d->core.shared_params = d->config.shared;
	d->core.spare_bufs = d->config.spare_bufs;
	d->core.nic_bufs = d->config.nic_bufs;
	d->core.platform_ops = &ops;
	d->core.platform = d;
}

/* 0, or an exit status with a line on stderr; stop() is due in any case. */
static int start(struct daemon *d, struct loop_handle **signals)
{
	struct nm_error err;
	int error;

	d->signals = block_signals();
	start_core(d);
	if (d->signals < 0 || loop_new(&d->loop) != 0 ||
		loop_add(d->loop, d->signals, EPOLLIN, signal_ready, d, signals) != 0 ||
		notify_init() != 0 || hear_of_stopped_rings(d) != 0 || taps_init(d) != 0 ||
		nics_init(d) != 0 || start_closer() != 0 || settings_begin(d) != 0 ||
		start_workers(d) != 0) {
		os_log(OS_LOG_ERR, "can't start: %s", strerror(errno));
		return EXIT_FAILURE;
	}
	error = ctl_open(d, &err);
	if (error) {
		os_log(OS_LOG_ERR, "%s", err.text);
		return error == -EALREADY ? NMD_EXIT_ALREADY : EXIT_FAILURE;
	}
	vm_dir_clean(d);
	if (configuration_begin(d, &err) != 0) {
		os_log(OS_LOG_ERR, "%s", err.text);
		return EXIT_FAILURE;
	}
	return 0;
}

/* Connections and what they own, then those who served them. */
static void stop(struct daemon *d)
{
	uint32_t left;

	ctl_close(d);
	configuration_end(d);
	attachments_end(d);
	stop_workers(d);
	nics_close(d);
	nm_core_destroy(&d->core);
	os_mem_free_by(NULL);
	closer_exit();
	left = device_closer_exit();
	taps_exit(d, left);
	nics_exit(d);
	free_workers(d);
	loop_free(d->loop);
	if (d->stopped_rings >= 0)
		close(d->stopped_rings);
	notify_exit();
}

/* From here on netmapd has what it needs to serve. 0, or an exit status with a line on stderr. */
static int lock_up(const struct daemon *d)
{
	const char *path = d->config.socket_path;
	char dir[NMD_PATH_MAX];
	struct nm_error err;

	snprintf(dir, sizeof(dir), "%.*s/", (int)(strrchr(path, '/') - path), path);
	if (sandbox_enter(dir, &err) == 0)
		return 0;
	os_log(OS_LOG_ERR, "%s", err.text);
	return EXIT_FAILURE;
}

int main(int argc, char **argv)
{
	struct daemon daemon = {.stopped_rings = -1, .ready = -1};
	struct loop_handle *signals;
	struct options options;
	uint32_t files = raise_limits();
	int status;

	keep_little_memory();
	divide_files(files);
	options_parse(&options, argc, argv);
	daemon.config = options.config;
	daemon.started = (time_t)os_time_s();
	log_setup("netmapd", options.log_level);
	sandbox_setup(options.sandbox);
	if (!options.log_file && !options.background)
		(void)log_to_journal(LOG_JOURNAL);
	if (options.background)
		daemon.ready = fork_into_background();
	if (options.sandbox != SANDBOX_OFF && geteuid() == 0 && !daemon.config.nic_socket &&
		!daemon.config.no_nics && nic_starter_fork(options.background) != 0)
		os_log(OS_LOG_WARN, "network interfaces can't be opened: %s", strerror(errno));
	if ((daemon.config.config_path || daemon.config.policy_path) &&
		directory_start(options.background) != 0)
		os_log(OS_LOG_WARN, "users can't be looked up by name: %s", strerror(errno));
	if (fault_init() != 0)
		os_log(OS_LOG_WARN, "memory of clients that goes away can end netmapd: %s",
			strerror(errno));
	if (log_start() != 0)
		os_log(OS_LOG_WARN, "no thread for the log: its reader can hold up netmapd");
	say_if_few(files);
	status = start(&daemon, &signals);
	if (!status)
		status = redirect(&options);
	if (!status)
		status = lock_up(&daemon);
	if (status) {
		stop(&daemon);
		log_stop();
		return status;
	}
	os_log(OS_LOG_INFO, "%s serves %s with %u worker%s", PTNETMAP_VERSION,
		daemon.config.socket_path, daemon.config.workers,
		daemon.config.workers == 1 ? "" : "s");
	status = serve(&daemon);
	stop(&daemon);
	os_log(OS_LOG_INFO, "stopped");
	log_stop();
	return status;
}
