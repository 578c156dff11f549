/* SPDX-License-Identifier: BSD-2-Clause */
#include "testbed.h"
#include "proto_client.h"

#include <dirent.h>
#include <errno.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

void die(const char *what, int error)
{
	fprintf(stderr, "measure: %s: %s\n", what, strerror(error < 0 ? -error : error));
	exit(1);
}

double now_s(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (double)ts.tv_sec + (double)ts.tv_nsec / 1e9;
}

void pin_to(int cpu)
{
	cpu_set_t set;

	CPU_ZERO(&set);
	CPU_SET((size_t)cpu, &set);
	if (sched_setaffinity(0, sizeof(set), &set) < 0)
		die("CPU affinity", errno);
}

/* ---- netmapd ------------------------------------------------------------------------- */

static void __attribute__((noreturn)) exec_netmapd(const struct testbed *w)
{
	const char *argv[24];
	char workers[32], cpus[16 + 12 * TESTBED_WORKERS] = "--cpus=", poll_us[32];
	size_t used = strlen(cpus);
	int n = 0;

	if (w->profile) {
		const char *const perf[] = {"perf", "record", "-q", "-e", "cpu-clock", "-F", "5000",
			"-o", w->profile, "--"};

		for (size_t i = 0; i < sizeof(perf) / sizeof(perf[0]); i++)
			argv[n++] = perf[i];
	}
	argv[n++] = w->netmapd;
	argv[n++] = "--socket";
	argv[n++] = w->socket;
	snprintf(workers, sizeof(workers), "--workers=%d", w->workers);
	argv[n++] = workers;
	argv[n++] = "--log-level=warning";
	for (int i = 0; i < w->workers; i++)
		used += (size_t)snprintf(
			cpus + used, sizeof(cpus) - used, "%s%d", i ? "," : "", w->worker_cpu[i]);
	argv[n++] = cpus;
	if (w->poll_us >= 0) {
		snprintf(poll_us, sizeof(poll_us), "--poll-us=%d", w->poll_us);
		argv[n++] = poll_us;
	}
	argv[n] = NULL;
	execvp(argv[0], (char *const *)argv);
	_exit(127);
}

void testbed_start(struct testbed *w)
{
	if (w->workers == 0)
		w->workers = 1;
	strcpy(w->dir, "/tmp/ptnetmap-bench-XXXXXX");
	if (!mkdtemp(w->dir))
		die("temporary directory", errno);
	snprintf(w->socket, sizeof(w->socket), "%s/socket", w->dir);
	w->pid = fork();
	if (w->pid < 0)
		die("fork", errno);
	if (w->pid == 0) {
		prctl(PR_SET_PDEATHSIG, SIGTERM); /* it must not outlive a measurement */
		exec_netmapd(w);
	}
	for (int i = 0; i < 6000 && access(w->socket, F_OK) != 0; i++)
		usleep(10000);
	if (access(w->socket, F_OK) != 0)
		die(w->netmapd, ETIMEDOUT);
	pin_to(w->client_cpu[0]); /* after the fork: netmapd's control thread goes where it likes */
}

void testbed_stop(struct testbed *w)
{
	char path[128];

	for (int i = 0; i < w->num_machines; i++) {
		vg_free(w->machines[i].vg);
		close(w->machines[i].conn);
	}
	kill(w->pid, SIGTERM); /* perf passes it on by ending its child */
	waitpid(w->pid, NULL, 0);
	snprintf(path, sizeof(path), "%s.lock", w->socket);
	unlink(path);
	rmdir(w->dir);
}

/* First number of a line of schedstat: time on the CPU, ns. */
static uint64_t task_ns(int pid, const char *task)
{
	char path[300];
	unsigned long long ns = 0;
	FILE *f;

	snprintf(path, sizeof(path), "/proc/%d/task/%s/schedstat", pid, task);
	f = fopen(path, "r");
	if (!f)
		return 0;
	if (fscanf(f, "%llu", &ns) != 1)
		ns = 0;
	fclose(f);
	return ns;
}

uint64_t testbed_cpu_ns(const struct testbed *w)
{
	char path[64];
	uint64_t sum = 0;
	struct dirent *entry;
	DIR *dir;

	snprintf(path, sizeof(path), "/proc/%d/task", (int)w->pid);
	dir = opendir(path);
	if (!dir)
		die(path, errno);
	while ((entry = readdir(dir)))
		if (entry->d_name[0] != '.')
			sum += task_ns(w->pid, entry->d_name);
	closedir(dir);
	return sum;
}

/* ---- machines ------------------------------------------------------------------------ */

int testbed_machine(struct testbed *w)
{
	struct nmd_vm_create create = {0};
	struct nmd_vm_create_reply created;
	struct nm_error err;
	int m = w->num_machines++, error;

	if (m == TESTBED_MACHINES)
		die("machines", ENOSPC);
	w->machines[m].conn = nmd_connect(w->socket, NULL, &err);
	if (w->machines[m].conn < 0)
		die(err.text, w->machines[m].conn);
	nmd_hdr_init(&create.hdr, NMD_VM_CREATE, sizeof(create));
	error = nmd_call(w->machines[m].conn, &create, &created, sizeof(created), &err);
	if (error)
		die(err.text, error);
	error = vg_new(16 << 20, &w->machines[m].vg);
	if (error)
		die("guest memory", error);
	return m;
}

static void add_mem(struct testbed *w, int m, const char *path)
{
	int i, error;

	for (i = 0; i < w->machines[m].num_mems; i++)
		if (strcmp(w->machines[m].mems[i], path) == 0)
			return;
	snprintf(w->machines[m].mems[i], sizeof(w->machines[m].mems[i]), "%s", path);
	w->machines[m].num_mems++;
	error = vg_add_mem(w->machines[m].vg, path, NULL);
	if (error)
		die(path, error);
}

struct vg_port *testbed_port(struct testbed *w, int m, const char *ifname, uint32_t hdr_len)
{
	struct nmd_vm_add_port add = {0};
	struct nmd_vm_add_port_reply reply;
	struct nm_error err;
	struct vg_port *port;
	int error;

	nmd_hdr_init(&add.hdr, NMD_VM_ADD_PORT, sizeof(add));
	snprintf(add.ifname, sizeof(add.ifname), "%s", ifname);
	error = nmd_call(w->machines[m].conn, &add, &reply, sizeof(reply), &err);
	if (error)
		die(err.text, error);
	add_mem(w, m, reply.mem_path);
	error = vg_add_port(w->machines[m].vg, reply.net_path, &port);
	if (!error)
		error = vg_probe(port, hdr_len ? PTNETMAP_F_VNET_HDR : 0);
	if (!error)
		error = vg_start(port, hdr_len);
	if (!error && port->hdr_len != hdr_len)
		error = -EOPNOTSUPP;
	if (error)
		die(ifname, error);
	/* It polls: as a driver does that is polled, it asks for interrupts only before it sleeps (vg_wait). An
	 * interrupt a step, which nobody took, was a twelfth of the worker's time. */
	for (uint32_t i = 0; i < port->tx_rings + port->rx_rings; i++)
		nm_csb_appl_awake(&port->rings[i].csb);
	return port;
}
