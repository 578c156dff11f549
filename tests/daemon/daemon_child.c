/* SPDX-License-Identifier: BSD-2-Clause */
#include "daemon_child.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>

#include "proto_client.h"
#include "testutil.h"

enum { PATIENCE_MS = 10000, STEP_MS = 5 };

static void nap(void)
{
	const struct timespec step = {.tv_nsec = STEP_MS * 1000000};

	nanosleep(&step, NULL);
}

static int count_entries(pid_t pid, const char *what)
{
	char path[64];
	DIR *dir;
	int count = 0;

	snprintf(path, sizeof(path), "/proc/%d/%s", (int)pid, what);
	dir = opendir(path);
	assert_non_null(dir);
	while (readdir(dir))
		count++;
	closedir(dir);
	return count - 2;
}

/* Closes a connection, and waits until the other end has closed it as well. */
static void wait_until_closed(const struct daemon_child *d, int fd)
{
	const int open = count_entries(d->pid, "fd");
	int waited;

	close(fd);
	for (waited = 0; waited < PATIENCE_MS && count_entries(d->pid, "fd") >= open;
		waited += STEP_MS)
		nap();
}

void daemon_start(struct daemon_child *d)
{
	daemon_start_with(d, NULL);
}

void daemon_start_with(struct daemon_child *d, const char *option)
{
	const char *program = getenv("NETMAPD");
	struct nm_error err;
	pid_t parent = getpid();
	int fd, waited;

	if (!program)
		fail_msg("$NETMAPD must name the program to be tested");
	strcpy(d->dir, "/tmp/vfio-test-XXXXXX");
	assert_non_null(mkdtemp(d->dir));
	snprintf(d->socket, sizeof(d->socket), "%s/socket", d->dir);
	d->pid = fork();
	assert_true(d->pid >= 0);
	if (d->pid == 0) {
		/* It must not outlive a test that dies. */
		if (prctl(PR_SET_PDEATHSIG, SIGKILL) < 0 || getppid() != parent)
			_exit(127);
		execl(program, program, "--socket", d->socket, "--log-level", "warning", option,
			NULL);
		_exit(127);
	}
	for (waited = 0; waited < PATIENCE_MS; waited += STEP_MS) {
		fd = nmd_connect(d->socket, NULL, &err);
		if (fd >= 0) {
			wait_until_closed(d, fd);
			return;
		}
		if (!daemon_alive(d))
			fail_msg("%s has exited", program);
		nap();
	}
	fail_msg("%s does not answer: %s", program, err.text);
}

bool daemon_alive(const struct daemon_child *d)
{
	siginfo_t info = {.si_pid = 0};

	return waitid(P_PID, (id_t)d->pid, &info, WEXITED | WNOHANG | WNOWAIT) == 0 &&
	       info.si_pid == 0;
}

void daemon_stop(struct daemon_child *d)
{
	char path[128];
	int status, waited;
	pid_t pid = 0;

	assert_true(daemon_alive(d));
	assert_int_equal(kill(d->pid, SIGTERM), 0);
	for (waited = 0; pid == 0 && waited < PATIENCE_MS; waited += STEP_MS) {
		pid = waitpid(d->pid, &status, WNOHANG);
		if (pid == 0)
			nap();
	}
	if (pid == 0) {
		kill(d->pid, SIGKILL);
		waitpid(d->pid, &status, 0);
		fail_msg("netmapd does not end");
	}
	assert_true(WIFEXITED(status));
	assert_int_equal(WEXITSTATUS(status), 0);
	/* Its lock is the one file that stays. */
	snprintf(path, sizeof(path), "%s.lock", d->socket);
	(void)unlink(path);
	assert_int_equal(rmdir(d->dir), 0);
}

int daemon_connect(const struct daemon_child *d)
{
	struct nm_error err = {0};
	int fd = nmd_connect(d->socket, NULL, &err);

	if (fd < 0)
		fail_msg("%s", err.text);
	return fd;
}

int daemon_vm(const struct daemon_child *d, const char *name)
{
	struct nmd_vm_create_reply reply;
	struct nmd_vm_create req = {.name = ""};
	struct nm_error err = {0};
	int fd = daemon_connect(d);

	snprintf(req.name, sizeof(req.name), "%s", name);
	nmd_hdr_init(&req.hdr, NMD_VM_CREATE, sizeof(req));
	if (nmd_call(fd, &req, &reply, sizeof(reply), &err) < 0)
		fail_msg("%s", err.text);
	return fd;
}

void daemon_port(int vm, const char *ifname, struct nmd_vm_add_port_reply *reply)
{
	struct nmd_vm_add_port req = {.ifname = ""};
	struct nm_error err = {0};

	snprintf(req.ifname, sizeof(req.ifname), "%s", ifname);
	nmd_hdr_init(&req.hdr, NMD_VM_ADD_PORT, sizeof(req));
	if (nmd_call(vm, &req, reply, sizeof(*reply), &err) < 0)
		fail_msg("%s: %s", ifname, err.text);
}

/* Threads but those that close what clients had: they come and go as they like. How many those are. */
static int count_threads(pid_t pid, int *closers)
{
	char path[64], name[32];
	struct dirent *entry;
	int count = 0;
	DIR *dir;

	*closers = 0;
	snprintf(path, sizeof(path), "/proc/%d/task", (int)pid);
	dir = opendir(path);
	assert_non_null(dir);
	while ((entry = readdir(dir))) {
		FILE *comm;

		snprintf(path, sizeof(path), "/proc/%d/task/%.20s/comm", (int)pid, entry->d_name);
		comm = entry->d_name[0] == '.' ? NULL : fopen(path, "re");
		if (!comm)
			continue;
		if (fgets(name, sizeof(name), comm))
			(*(strcmp(name, "closer\n") == 0 ? closers : &count))++;
		fclose(comm);
	}
	closedir(dir);
	return count;
}

/* Returns whether it closes something just now. */
static bool count_holds(const struct daemon_child *d, struct daemon_holds *holds)
{
	char path[64], line[512];
	FILE *maps;
	int closers;

	memset(holds, 0, sizeof(*holds));
	holds->fds = count_entries(d->pid, "fd");
	holds->threads = count_threads(d->pid, &closers);
	snprintf(path, sizeof(path), "/proc/%d/maps", (int)d->pid);
	maps = fopen(path, "re");
	assert_non_null(maps);
	while (fgets(line, sizeof(line), maps)) {
		holds->guest_maps += strstr(line, "memfd:vg-ram") != NULL;
		holds->region_maps += strstr(line, "memfd:netmap-region") != NULL;
	}
	fclose(maps);
	return closers > 0;
}

/* netmapd closes what clients had in the background: when nothing changes any more. */
void daemon_holds(const struct daemon_child *d, struct daemon_holds *holds)
{
	struct daemon_holds now;
	int same = 0;

	count_holds(d, holds);
	for (int waited = 0; waited < PATIENCE_MS && same < 5; waited += STEP_MS) {
		bool closes;

		nap();
		closes = count_holds(d, &now);
		same = !closes && memcmp(&now, holds, sizeof(now)) == 0 ? same + 1 : 0;
		*holds = now;
	}
}

void daemon_expect_holds(const struct daemon_child *d, const struct daemon_holds *before)
{
	struct daemon_holds now;
	int waited;

	for (waited = 0; waited < PATIENCE_MS; waited += STEP_MS) {
		count_holds(d, &now);
		if (memcmp(&now, before, sizeof(now)) == 0)
			return;
		nap();
	}
	fail_msg("netmapd holds %d descriptors (%d before), %d maps of guest memory (%d), "
		 "%d of regions (%d), %d threads (%d)",
		now.fds, before->fds, now.guest_maps, before->guest_maps, now.region_maps,
		before->region_maps, now.threads, before->threads);
}
