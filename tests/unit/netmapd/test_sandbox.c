/* SPDX-License-Identifier: BSD-2-Clause */
/* What a process can't do any more in netmapd's sandbox: each in a child of its own. */
#include "sandbox.h"
#include "os.h"
#include "privileges.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include <fcntl.h>
#include <linux/capability.h>
#include <linux/landlock.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

static char dir[64];

/* The exit status of what a child does in the sandbox; its stderr goes to `said`. */
static int in_sandbox(enum sandbox_mode mode, int (*fn)(void), char said[256])
{
	struct nm_error err;
	int fds[2], status;
	ssize_t n;
	pid_t pid;

	assert_int_equal(pipe(fds), 0);
	pid = fork();
	assert_true(pid >= 0);
	if (pid == 0) {
		dup2(fds[1], STDERR_FILENO);
		close(fds[0]);
		close(fds[1]);
		sandbox_setup(mode);
		if (sandbox_enter(dir, &err) != 0) {
			dprintf(STDERR_FILENO, "%s", err.text);
			_exit(90);
		}
		_exit(fn());
	}
	close(fds[1]);
	n = read(fds[0], said, 255);
	said[n > 0 ? n : 0] = '\0';
	close(fds[0]);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	return WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status);
}

static bool has_landlock(void)
{
	return syscall(SYS_landlock_create_ruleset, NULL, 0, LANDLOCK_CREATE_RULESET_VERSION) > 0;
}

/* ---- what they do: 0, or the errno ----------------------------------------------------------------- */

static int attach_to_parent(void)
{
	return ptrace(PTRACE_ATTACH, getppid(), NULL, NULL) < 0 ? errno : 0;
}

static int execute(void)
{
	execl("/bin/true", "true", NULL);
	return errno;
}

static int fork_one(void)
{
	pid_t pid = fork();

	if (pid == 0)
		_exit(0);
	return pid < 0 ? errno : 0;
}

static int map_writable_code(void)
{
	return mmap(NULL, 4096, PROT_READ | PROT_WRITE | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1,
		       0) == MAP_FAILED
		       ? errno
		       : 0;
}

static int load_library(void)
{
	int fd = open("/proc/self/exe", O_RDONLY);

	return mmap(NULL, 4096, PROT_READ | PROT_EXEC, MAP_PRIVATE, fd, 0) == MAP_FAILED ? errno
											 : 0;
}

static int make_code(void)
{
	void *page = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	return mprotect(page, 4096, PROT_READ | PROT_EXEC) < 0 ? errno : 0;
}

static int open_netlink(void)
{
	return socket(AF_NETLINK, SOCK_RAW, 0) < 0 ? errno : 0;
}

static int trace_a_kernel(void)
{
	return syscall(SYS_bpf, 0, NULL, 0) < 0 ? errno : 0;
}

static int kill_parent(void)
{
	return kill(getppid(), SIGCONT) < 0 ? errno : 0;
}

static int write_elsewhere(void)
{
	return open("/tmp/netmapd-sandbox-test", O_WRONLY | O_CREAT, 0600) < 0 ? errno : 0;
}

static void *nothing(void *arg)
{
	/* Capabilities and files: of threads that serve. */
	struct __user_cap_header_struct hdr = {.version = _LINUX_CAPABILITY_VERSION_3};
	struct __user_cap_data_struct data[2];

	privileges_none();
	if (syscall(SYS_capget, &hdr, data) < 0 || data[0].permitted || data[1].permitted)
		return "has capabilities";
	if (has_landlock() && open("/etc/passwd", O_RDONLY) >= 0)
		return "can open files";
	return NULL;
}

static int do_what_netmapd_does(void)
{
	char path[96];
	pthread_t thread;
	void *failed;
	int fd;

	snprintf(path, sizeof(path), "%s/vm1", dir);
	if (mkdir(path, 0700) < 0)
		return errno;
	snprintf(path, sizeof(path), "%s/vm1/file", dir);
	fd = open(path, O_WRONLY | O_CREAT, 0600);
	if (fd < 0 || write(fd, "x", 1) != 1 || unlink(path) < 0)
		return errno;
	snprintf(path, sizeof(path), "%s/vm1", dir);
	if (rmdir(path) < 0 || open("/etc/passwd", O_RDONLY) < 0)
		return errno;
	if (socket(AF_UNIX, SOCK_SEQPACKET, 0) < 0 || memfd_create("x", 0) < 0)
		return errno;
	if (pthread_create(&thread, NULL, nothing, NULL) != 0)
		return 91;
	pthread_join(thread, &failed);
	if (failed)
		dprintf(STDERR_FILENO, "%s", (const char *)failed);
	return failed ? 92 : 0;
}

static int count_capabilities(void)
{
	struct __user_cap_header_struct hdr = {.version = _LINUX_CAPABILITY_VERSION_3};
	struct __user_cap_data_struct data[2];

	if (syscall(SYS_capget, &hdr, data) < 0)
		return 93;
	if (prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0) == 1)
		return 94;
	return (data[0].permitted & ~(1U << CAP_NET_ADMIN)) || data[1].permitted ? 95 : 0;
}

/* ---- tests --------------------------------------------------------------------------------------------- */

static const struct {
	const char *name; /* of the system call */
	int (*fn)(void);
} forbidden[] = {
	{"ptrace", attach_to_parent},
	{"execve", execute},
	{"clone", fork_one},
	{"mmap", map_writable_code},
	{"mmap", load_library},
	{"mprotect", make_code},
	{"socket", open_netlink},
	{"bpf", trace_a_kernel},
	{"kill", kill_parent},
};

enum { FORBIDDEN = sizeof(forbidden) / sizeof(forbidden[0]) };

static void what_is_not_on_the_list_fails(void **state)
{
	char said[256];

	for (int i = 0; i < FORBIDDEN; i++) {
		int status = in_sandbox(SANDBOX_ON, forbidden[i].fn, said);

		if (status != EPERM)
			fail_msg("%s: %d %s", forbidden[i].name, status, said);
	}
}

static void strictly_it_ends_the_process_and_is_named(void **state)
{
	char said[256], name[32];

	for (int i = 0; i < FORBIDDEN; i++) {
		int status = in_sandbox(SANDBOX_STRICT, forbidden[i].fn, said);

		snprintf(name, sizeof(name), "system call %s (", forbidden[i].name);
		if (status != 99 || !strstr(said, name))
			fail_msg("%s: %d %s", forbidden[i].name, status, said);
	}
}

static void what_netmapd_does_is_allowed(void **state)
{
	char said[256];
	int status = in_sandbox(SANDBOX_STRICT, do_what_netmapd_does, said);

	if (status)
		fail_msg("%s: %s", strerror(status), said);
}

static void nothing_is_written_elsewhere(void **state)
{
	char said[256];

	if (!has_landlock())
		skip(); /* this kernel can't */
	assert_int_equal(in_sandbox(SANDBOX_STRICT, write_elsewhere, said), EACCES);
}

/* Needs capget() and prctl(): in the list, and the latter not for this. */
static void capabilities_are_given_up(void **state)
{
	char said[256];

	assert_int_equal(in_sandbox(SANDBOX_ON, count_capabilities, said), 0);
}

static void off_is_off(void **state)
{
	char said[256];

	assert_int_equal(in_sandbox(SANDBOX_OFF, fork_one, said), 0);
	assert_int_equal(in_sandbox(SANDBOX_OFF, open_netlink, said), 0);
}

static int make_dir(void **state)
{
	snprintf(dir, sizeof(dir), "/tmp/sandbox-XXXXXX");
	return mkdtemp(dir) ? 0 : -1;
}

static int remove_dir(void **state)
{
	return rmdir(dir);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_is_not_on_the_list_fails),
		cmocka_unit_test(strictly_it_ends_the_process_and_is_named),
		cmocka_unit_test(what_netmapd_does_is_allowed),
		cmocka_unit_test(nothing_is_written_elsewhere),
		cmocka_unit_test(capabilities_are_given_up),
		cmocka_unit_test(off_is_off),
	};

	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests(tests, make_dir, remove_dir);
}
