/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * qemu-ptnet - QEMU with passed-through netmap ports.
 *
 * Takes the arguments of qemu-system-x86_64, and the two options of the classic
 * howto for netmap passthrough. It pairs those (ports.h), asks netmapd for the
 * devices (daemon.h), plans shared memory and the accelerator (memory.h,
 * accel.h), writes the command line of a stock QEMU (command.h), and becomes it.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "proto.h"
#include "accel.h"
#include "blocker.h"
#include "command.h"
#include "daemon.h"
#include "hold.h"
#include "libvirt.h"
#include "qemu.h"

enum { EXIT_RUNTIME = 1, EXIT_USAGE = 2 };

static const char usage[] =
	"Usage: qemu-ptnet [OPTION of qemu-ptnet]... [OPTION of qemu-system-x86_64]...\n"
	"Runs a stock QEMU with netmap ports of this host passed through to the guest.\n"
	"\n"
	"A port, any number of them:\n"
	"  -netdev netmap,ifname=PORT,id=ID,passthrough=on   PORT of netmapd: vale1:10\n"
	"  -device ptnet-pci,netdev=ID[,mac=ADDRESS][,id=..][,bus=..][,addr=..]\n"
	"or in one: -nic netmap,ifname=PORT,passthrough=on[,mac=ADDRESS]\n"
	"\n"
	"Options of qemu-ptnet:\n"
	"  --print         print the command for QEMU instead of executing it; netmapd is\n"
	"                  not asked, the paths of its sockets are examples\n"
	"  --libvirt-xml   print what a domain of libvirt needs instead; -name says which\n"
	"  --hold DIR      keep the ports until a signal, with links to their sockets in DIR:\n"
	"                  for libvirt's hook\n"
	"  --qemu PATH     the QEMU to use, 10.1 or newer\n"
	"  --netmapd PATH  the netmapd to start if none runs\n"
	"  --socket PATH   the control socket of netmapd\n"
	"  --bar-min SIZE  least size of a memory device's BAR1, 1M to 1T; default: 4G\n"
	"  --quiet         don't say which acceleration is used\n"
	"  --help          this text (-help is QEMU's)\n"
	"  --version       the version of qemu-ptnet (-version is QEMU's)\n"
	"\n"
	"All else is QEMU's. Without a port, QEMU is executed as it is.\n"
	"See qemu-ptnet(1).\n";

/* Everything that has to be freed. */
struct run {
	struct scan scan;
	struct ports ports;
	struct memory memory;
	struct command_sockets *sockets;
	struct text_argv argv;
	char *qemu;
	int connection; /* to netmapd, or -1 */
};

static int usage_error(const char *err)
{
	text_say("%s", err);
	return EXIT_USAGE;
}

static int runtime_error(const char *err)
{
	text_say("%s", err);
	return EXIT_RUNTIME;
}

/* Decides on the accelerator and says so. */
static void choose_accel(const struct scan *s, struct command *c)
{
	struct accel_wish wish;
	char why[TEXT_ERR];
	bool usable;

	accel_wish(&wish, s);
	c->add_cpu = !wish.cpu;
	c->accel = COMMAND_ACCEL_USER;
	if (wish.chosen && !wish.kvm)
		return;
	usable = accel_kvm_usable(ACCEL_KVM_DEVICE, ACCEL_CPUINFO, why);
	if (wish.chosen) {
		if (!usable && !s->quiet)
			text_say("KVM was asked for, but %s", why);
		return;
	}
	c->accel = usable ? COMMAND_ACCEL_KVM : COMMAND_ACCEL_TCG;
	if (s->quiet)
		return;
	if (usable)
		text_say("KVM");
	else
		text_say("emulation (%s)", why);
}

/* Prints the command, or becomes QEMU; returns an exit status only if that fails. */
static int finish(struct run *r)
{
	if (r->scan.print) {
		if (command_print(&r->argv, stdout) == 0)
			return EXIT_SUCCESS;
		text_say("can't write the command to stdout");
		return EXIT_RUNTIME;
	}
	/* The connection owns the ports: QEMU inherits it, and never looks at it. */
	if (r->connection >= 0)
		fcntl(r->connection, F_SETFD, 0);
	execv(r->argv.v[0], r->argv.v);
	text_say("can't execute %s: %s", r->argv.v[0], strerror(errno));
	return EXIT_RUNTIME;
}

static int run_plain(struct run *r)
{
	char err[TEXT_ERR];

	if (qemu_find(r->scan.qemu, false, &r->qemu, err) < 0)
		return runtime_error(err);
	command_plain(r->qemu, &r->scan, &r->argv);
	return finish(r);
}

/* Asks netmapd for a machine with the ports; r->connection owns them. */
static int ask_for_ports(struct run *r, const char *name, char err[TEXT_ERR])
{
	r->connection = daemon_connect(r->scan.socket, r->scan.netmapd, err);
	if (r->connection < 0)
		return r->connection;
	return daemon_make_ports(r->connection, name, r->scan.bar_min, &r->ports, r->sockets, err);
}

static void make_room(struct run *r)
{
	r->sockets = text_realloc(NULL, r->ports.count, sizeof(r->sockets[0]));
	memset(r->sockets, 0, r->ports.count * sizeof(r->sockets[0]));
}

/* --hold, --libvirt-xml: QEMU is somebody else's. netmapd is asked which ports share a region. */
static int run_without_qemu(struct run *r)
{
	struct command c = {.scan = &r->scan, .ports = &r->ports};
	char err[TEXT_ERR], name[NMD_NAME_MAX], *dir;
	int ret, status = EXIT_SUCCESS;

	command_vm_name(&r->scan, name, sizeof(name));
	if (!r->scan.hold && (!name[0] || strchr(name, '/') || name[0] == '.'))
		return usage_error("--libvirt-xml needs -name NAME, that of the domain");
	if (!r->ports.count)
		return usage_error("there is no port: give -netdev netmap and -device ptnet-pci");
	make_room(r);
	ret = ask_for_ports(r, name, err);
	dir = r->scan.hold ? text_dup(r->scan.hold) : text_format("%s/%s", HOLD_LIBVIRT, name);
	c.sockets = r->sockets;
	if (ret == 0 && r->scan.libvirt_xml)
		ret = libvirt_print(&c, dir, stdout, err);
	else if (ret == 0)
		ret = hold_ports(dir, r->sockets, r->ports.count, r->connection, &status, err);
	free(dir);
	return ret < 0 ? runtime_error(err) : status;
}

static int run_ports(struct run *r)
{
	char err[TEXT_ERR], name[NMD_NAME_MAX];
	struct command c = {.scan = &r->scan, .ports = &r->ports, .memory = &r->memory};
	int ret;

	if (memory_plan(&r->memory, &r->scan, err) < 0)
		return usage_error(err);
	if (qemu_find(r->scan.qemu, true, &r->qemu, err) < 0)
		return runtime_error(err);

	make_room(r);
	if (r->scan.print) {
		ret = daemon_example_sockets(r->scan.socket, &r->ports, r->sockets, err);
	} else {
		command_vm_name(&r->scan, name, sizeof(name));
		ret = ask_for_ports(r, name, err);
	}
	if (ret == 0 && !r->scan.print)
		ret = c.blocker = blocker_open(err);
	if (ret < 0)
		return runtime_error(err);

	choose_accel(&r->scan, &c);
	c.qemu = r->qemu;
	c.sockets = r->sockets;
	if (command_build(&c, &r->argv, err) < 0)
		return usage_error(err);
	return finish(r);
}

static int run(struct run *r, int argc, char **argv)
{
	char err[TEXT_ERR];

	if (scan_parse(&r->scan, argc, argv, err) < 0)
		return usage_error(err);
	if (r->scan.help) {
		fputs(usage, stdout);
		return fflush(stdout) ? EXIT_RUNTIME : EXIT_SUCCESS;
	}
	if (r->scan.version) {
		puts("qemu-ptnet " PTNETMAP_VERSION);
		return fflush(stdout) ? EXIT_RUNTIME : EXIT_SUCCESS;
	}
	if (ports_find(&r->ports, &r->scan, err) < 0)
		return usage_error(err);
	if (r->scan.hold || r->scan.libvirt_xml)
		return run_without_qemu(r);
	return r->ports.count ? run_ports(r) : run_plain(r);
}

int main(int argc, char **argv)
{
	struct run r = {.connection = -1};
	int status = run(&r, argc, argv);

	if (r.connection >= 0)
		close(r.connection);
	if (r.sockets)
		daemon_free_sockets(r.sockets, r.ports.count);
	free(r.sockets);
	free(r.qemu);
	text_argv_free(&r.argv);
	memory_free(&r.memory);
	ports_free(&r.ports);
	scan_free(&r.scan);
	return status;
}
