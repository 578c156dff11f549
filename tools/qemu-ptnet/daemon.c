/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * netmapd, found or started: connect; where no socket answers, run netmapd --background
 * --exit-when-unused and connect again. Two qemu-ptnet at once may both start one: the second
 * netmapd finds the lock taken, and both connect to the first.
 */
#include "daemon.h"

#include <errno.h>
#include <libgen.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "proto_client.h"
#include "child.h"
#include "qemu.h"

enum {
	START_SECONDS = 30, /* netmapd has to answer by then */
	RETRY_MS = 50,
	RETRIES = 20, /* after a start that failed because of another one, until the next start */
	STARTS = START_SECONDS * 1000 / (RETRY_MS * RETRIES),
};

/* The netmapd that belongs to this program, else the one in PATH. NULL: none. */
static char *find_netmapd(void)
{
	static const char *const beside[] = {"../netmapd/netmapd", "netmapd", "../sbin/netmapd"};
	char self[PATH_MAX];
	ssize_t n = readlink("/proc/self/exe", self, sizeof(self) - 1);

	if (n > 0) {
		char *dir;

		self[n] = '\0';
		dir = dirname(self);
		for (size_t i = 0; i < sizeof(beside) / sizeof(beside[0]); i++) {
			char *path = text_format("%s/%s", dir, beside[i]);
			char *found = qemu_in_path(path);

			free(path);
			if (found)
				return found;
		}
	}
	return qemu_in_path("netmapd");
}

/* The first line that netmapd printed, without its name. */
static const char *first_line(char *text)
{
	static const char name[] = "netmapd: ";

	text[strcspn(text, "\n")] = '\0';
	return strncmp(text, name, strlen(name)) ? text : text + strlen(name);
}

/*
 * Starts netmapd and waits until it accepts connections. 0 or a negative errno with a text;
 * -EALREADY: another one holds the socket; it isn't ready yet, or about to end.
 */
static int start(const char *socket, const char *netmapd, char err[TEXT_ERR])
{
	char *unused = text_format("%d", DAEMON_UNUSED_SECONDS);
	char *program = netmapd ? qemu_in_path(netmapd) : find_netmapd();
	char *argv[] = {program, "--background", "--exit-when-unused", unused, NULL};
	struct child c = {
		.argv = argv,
		.capture = CHILD_STDERR,
		.detach = 1,
		.setenv = socket ? "NETMAPD_SOCKET" : NULL,
		.value = socket,
		.seconds = START_SECONDS,
	};
	char *text = NULL;
	int status, ret = 0;

	if (!program) {
		free(unused);
		return text_fail(-ENOENT, err,
			"netmapd is not running, and %.200s is no program: install it or give its place with --netmapd",
			netmapd ? netmapd : "netmapd");
	}
	status = child_run(&c, &text);
	if (status == -ETIMEDOUT)
		ret = text_fail(status, err, "%.200s did not start within %d seconds", program,
			START_SECONDS);
	else if (status < 0)
		ret = text_fail(status, err, "can't start %.200s: %s", program, strerror(-status));
	else if (status > 0)
		ret = text_fail(status == NMD_EXIT_ALREADY ? -EALREADY : -EIO, err,
			"%.150s did not start: %.300s", program,
			text[0] ? first_line(text) : "it doesn't say why");
	free(text);
	free(program);
	free(unused);
	return ret;
}

static int is_absent(int error)
{
	return error == -ENOENT || error == -ECONNREFUSED;
}

/* Once, or a while longer: for the netmapd that someone else has just started. */
static int connect_started(const char *socket, int retries, struct nm_error *why)
{
	struct timespec pause = {.tv_nsec = RETRY_MS * 1000000L};
	int fd = nmd_connect(socket, NULL, why);

	while (is_absent(fd) && retries-- > 0) {
		nanosleep(&pause, NULL);
		fd = nmd_connect(socket, NULL, why);
	}
	return fd;
}

int daemon_connect(const char *socket, const char *netmapd, char err[TEXT_ERR])
{
	int started = -EALREADY, fd;
	struct nm_error why;

	fd = nmd_connect(socket, NULL, &why);
	for (int i = 0; is_absent(fd) && started == -EALREADY && i < STARTS; i++) {
		started = start(socket, netmapd, err);
		if (started < 0 && started != -EALREADY)
			return started;
		fd = connect_started(socket, started < 0 ? RETRIES : 0, &why);
	}
	if (fd >= 0)
		return fd;
	if (started == 0)
		return text_fail(fd, err, "netmapd was started, but: %s", why.text);
	return text_fail(fd, err, "%s", why.text);
}

static int add_port(
	int fd, const struct port *port, struct command_sockets *out, char err[TEXT_ERR])
{
	struct nmd_vm_add_port req = {.spare = {0}};
	struct nmd_vm_add_port_reply reply;
	struct nm_error why;
	int ret;

	nmd_hdr_init(&req.hdr, NMD_VM_ADD_PORT, sizeof(req));
	memcpy(req.ifname, port->ifname, strlen(port->ifname) + 1); /* ports_find() measured it */
	memcpy(req.mac, port->mac, sizeof(req.mac));
	ret = nmd_call(fd, &req, &reply, sizeof(reply), &why);
	if (ret < 0)
		return text_fail(ret, err, "%s", why.text);
	reply.net_path[NMD_PATH_MAX - 1] = '\0';
	reply.mem_path[NMD_PATH_MAX - 1] = '\0';
	if (reply.net_path[0] != '/' || reply.mem_path[0] != '/')
		return text_fail(-EPROTO, err, "netmapd gave no sockets for %s", port->ifname);
	out->net_path = text_dup(reply.net_path);
	out->mem_path = text_dup(reply.mem_path);
	return 0;
}

int daemon_make_ports(int fd, const char *name, uint64_t bar_min, const struct ports *ports,
	struct command_sockets *sockets, char err[TEXT_ERR])
{
	struct nmd_vm_create req = {.name = "", .bar_min = bar_min};
	struct nmd_vm_create_reply reply;
	struct nm_error why;
	int ret;

	nmd_hdr_init(&req.hdr, NMD_VM_CREATE, sizeof(req));
	memcpy(req.name, name, strnlen(name, sizeof(req.name) - 1));
	ret = nmd_call(fd, &req, &reply, sizeof(reply), &why);
	if (ret < 0)
		return text_fail(ret, err, "%s", why.text);
	for (size_t i = 0; i < ports->count; i++) {
		ret = add_port(fd, &ports->port[i], &sockets[i], err);
		if (ret < 0)
			return ret;
	}
	return 0;
}

int daemon_example_sockets(const char *socket, const struct ports *ports,
	struct command_sockets *sockets, char err[TEXT_ERR])
{
	struct nm_error why;
	char path[NMD_PATH_MAX];
	const char *dir;
	int ret = nmd_socket_path(socket, path, &why);

	if (ret < 0)
		return text_fail(ret, err, "%s", why.text);
	dir = dirname(path);
	for (size_t i = 0; i < ports->count; i++) {
		sockets[i].mem_path = text_format("%s/vm1/mem", dir);
		sockets[i].net_path = text_format("%s/vm1/net%zu", dir, i);
	}
	return 0;
}

void daemon_free_sockets(struct command_sockets *sockets, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		free(sockets[i].net_path);
		free(sockets[i].mem_path);
	}
}
