/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The list of system calls, with what each is for. A new one in netmapd, or one that a new C library makes, is found by the
 * tests, which run netmapd with --sandbox strict.
 */
#include "sandbox.h"
#include "os_user.h"
#include "privileges.h"

#include <linux/capability.h>
#include <sched.h>
#include <seccomp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <unistd.h>

#ifdef __SANITIZE_ADDRESS__
enum { SANITIZED = true };
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
enum { SANITIZED = true };
#else
enum { SANITIZED = false };
#endif
#else
enum { SANITIZED = false };
#endif

static enum sandbox_mode mode;

static const char *const allowed[] = {
	/* Memory: regions, tables of machines, the heap; a page in the place of one that a client took away (fault.c). */
	"brk", "madvise", "memfd_create", "mremap", "munmap", "ftruncate", "fallocate",
	/* Descriptors; TAP devices (ioctl). */
	"close", "dup", "dup2", "dup3", "fcntl", "fstat", "ioctl", "lseek", "pread64", "read",
	"readv", "write", "writev", "pwrite64",
	/* The control socket, those of machines, netmapd-nic; what comes through them. */
	"accept4", "bind", "connect", "getpeername", "getsockname", "getsockopt", "listen",
	"recvfrom", "recvmmsg", "recvmsg", "sendmmsg", "sendmsg", "sendto", "setsockopt",
	"shutdown",
	/* Directories and sockets of machines; configuration files. */
	"access", "chmod", "faccessat", "faccessat2", "fchmod", "fchmodat", "flock", "fstatfs",
	"getcwd", "getdents64", "link", "linkat", "lstat", "mkdir", "mkdirat", "newfstatat", "open",
	"openat", "readlink", "readlinkat", "rename", "renameat", "renameat2", "rmdir", "stat",
	"statfs", "statx", "unlink", "unlinkat", "umask",
	/* Threads, and where they run. */
	"exit", "exit_group", "futex", "get_robust_list", "membarrier", "rseq", "sched_getaffinity",
	"sched_getparam", "sched_getscheduler", "sched_setaffinity", "sched_yield",
	"set_robust_list", "set_tid_address",
	/* sandbox_thread() of workers that come later: less of what they have. */
	"capget", "capset", "landlock_create_ruleset", "landlock_restrict_self",
	/* Waiting, signals to guests and applications. */
	"clock_getres", "clock_gettime", "clock_nanosleep", "epoll_create1", "epoll_ctl",
	"epoll_pwait", "epoll_pwait2", "epoll_wait", "eventfd2", "gettimeofday", "io_destroy",
	"io_getevents", "io_setup", "io_submit", "nanosleep", "poll", "ppoll", "restart_syscall",
	"timer_create", "timer_delete", "timer_settime", "timerfd_create", "timerfd_gettime",
	"timerfd_settime",
	/* Its own signals. */
	"rt_sigaction", "rt_sigprocmask", "rt_sigreturn", "rt_sigtimedwait", "sigaltstack",
	"signalfd4",
	/* What it is, and how much there is. */
	"getegid", "geteuid", "getgid", "getpid", "getppid", "getrandom", "getrlimit", "getrusage",
	"gettid", "getuid", "sysinfo", "uname"};

void sandbox_setup(enum sandbox_mode wanted)
{
	mode = SANITIZED ? SANDBOX_OFF : wanted;
	privileges_want(mode != SANDBOX_OFF);
}

/* ---- the filter ----------------------------------------------------------------------------------- */

static int rule(scmp_filter_ctx filter, const char *name)
{
	int number = seccomp_syscall_resolve_name(name);

	/* Older libraries and other processors don't know all of them. */
	if (number == __NR_SCMP_ERROR)
		return 0;
	return seccomp_rule_add(filter, SCMP_ACT_ALLOW, number, 0);
}

/* Each of these values of an argument, under a mask. */
static int rule_value(
	scmp_filter_ctx filter, int number, unsigned argument, uint64_t mask, uint64_t value)
{
	const struct scmp_arg_cmp cmp = SCMP_CMP(argument, SCMP_CMP_MASKED_EQ, mask, value);

	return seccomp_rule_add_array(filter, SCMP_ACT_ALLOW, number, 1, &cmp);
}

/* Sockets of the system itself, and, for the flags of TAP devices, one of AF_INET. */
static int rules_of_sockets(scmp_filter_ctx filter)
{
	static const int families[] = {AF_UNIX, AF_INET};
	int error = 0;

	for (size_t i = 0; i < sizeof(families) / sizeof(families[0]) && !error; i++)
		error = rule_value(filter, SCMP_SYS(socket), 0, UINT32_MAX, (uint64_t)families[i]);
	return error ? error : rule_value(filter, SCMP_SYS(socketpair), 0, UINT32_MAX, AF_UNIX);
}

/* What can be executed is there already: no library is loaded (users are looked up by another process, directory.h). */
static int rules_of_memory(scmp_filter_ctx filter)
{
	int error = rule_value(filter, SCMP_SYS(mmap), 2, PROT_EXEC, 0);

	return error ? error : rule_value(filter, SCMP_SYS(mprotect), 2, PROT_EXEC, 0);
}

/* Threads, and no processes; names and limits of its own. Which flags clone3() has can't be seen: the C library goes on with clone(). */
static int rules_of_threads(scmp_filter_ctx filter)
{
	static const int options[] = {PR_SET_NAME, PR_GET_NAME, PR_SET_NO_NEW_PRIVS};
	const struct scmp_arg_cmp self = SCMP_CMP(0, SCMP_CMP_MASKED_EQ, UINT32_MAX, 0);
	const struct scmp_arg_cmp own =
		SCMP_CMP(0, SCMP_CMP_MASKED_EQ, UINT32_MAX, (uint64_t)getpid());
	int error = rule_value(filter, SCMP_SYS(clone), 0, CLONE_THREAD, CLONE_THREAD);

	for (size_t i = 0; i < sizeof(options) / sizeof(options[0]) && !error; i++)
		error = rule_value(filter, SCMP_SYS(prctl), 0, UINT32_MAX, (uint64_t)options[i]);
	if (!error)
		error = seccomp_rule_add(filter, SCMP_ACT_ERRNO(ENOSYS), SCMP_SYS(clone3), 0);
	if (!error)
		error = seccomp_rule_add_array(
			filter, SCMP_ACT_ALLOW, SCMP_SYS(prlimit64), 1, &self);
	/* abort() */
	return error ? error
		     : seccomp_rule_add_array(filter, SCMP_ACT_ALLOW, SCMP_SYS(tgkill), 1, &own);
}

static int fill(scmp_filter_ctx filter)
{
	int error = 0;

	for (size_t i = 0; i < sizeof(allowed) / sizeof(allowed[0]) && !error; i++)
		error = rule(filter, allowed[i]);
	if (!error)
		error = rules_of_sockets(filter);
	if (!error)
		error = rules_of_memory(filter);
	return error ? error : rules_of_threads(filter);
}

/* Ends with the name: the only thing that is said, so it needn't be quick or safe. */
static void on_forbidden(int sig, siginfo_t *info, void *context)
{
	char text[128], *name = seccomp_syscall_resolve_num_arch(info->si_arch, info->si_syscall);
	int n = snprintf(text, sizeof(text),
		"netmapd: system call %s (%d) is not on the list of netmapd/sandbox.c\n",
		name ? name : "?", info->si_syscall);

	if (write(STDERR_FILENO, text, (size_t)n) < 0)
		_exit(100);
	_exit(99);
}

static int load(void)
{
	const struct sigaction action = {.sa_sigaction = on_forbidden, .sa_flags = SA_SIGINFO};
	scmp_filter_ctx filter =
		seccomp_init(mode == SANDBOX_STRICT ? SCMP_ACT_TRAP : SCMP_ACT_ERRNO(EPERM));
	int error;

	if (!filter)
		return -ENOMEM;
	if (mode == SANDBOX_STRICT)
		sigaction(SIGSYS, &action, NULL);
	error = fill(filter);
	if (!error)
		error = seccomp_attr_set(filter, SCMP_FLTATR_CTL_TSYNC, 1);
	if (!error) {
		/* By a search in halves: the hot ones are found in some seven comparisons. */
		(void)seccomp_attr_set(filter, SCMP_FLTATR_CTL_OPTIMIZE, 2);
		error = seccomp_load(filter);
	}
	seccomp_release(filter);
	return error;
}

/* ---- all ----------------------------------------------------------------------------------------- */

int sandbox_enter(const char *dir, struct nm_error *err)
{
	static const char *const devices[] = {"/dev/net/tun", "/dev/null", NULL};
	int error;

	if (mode == SANDBOX_OFF)
		return 0;
	error = privileges_keep(1ULL << CAP_NET_ADMIN);
	if (error)
		return nm_error_set(
			err, error, "capabilities can't be given up: %s", strerror(-error));
	error = privileges_write_only_in(dir, devices);
	if (error && error != -ENOSYS && error != -EOPNOTSUPP)
		return nm_error_set(
			err, error, "Landlock can't be had for %.100s: %s", dir, strerror(-error));
	if (error)
		os_log(OS_LOG_DEBUG, "the kernel has no Landlock");
	error = load();
	if (error)
		return nm_error_set(err, error,
			"system calls can't be filtered: %s; netmapd --no-sandbox does without",
			strerror(-error));
	return 0;
}
