/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * netmapctl nic-check: what a network interface can do as a netmap port. What it is everybody may know; what the kernel
 * grants is tried by netmapd-nic, which needs privilege.
 */
#include "netmapctl.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "device.h"
#include "nic_connect.h"

enum { CHECK_SECONDS = 120 }; /* a driver may need some for each mode */

struct nic_checked {
	struct nic_report report;
	char not_tried[NIC_TEXT_MAX]; /* why; "": it was tried */
};

/* ---- asking ------------------------------------------------------------------------------------- */

/* The answer, which is a report or an error. 0 or a negative errno with a text. */
static int receive_report(int sock, struct nic_report *report, struct nm_error *err)
{
	time_t until = time(NULL) + CHECK_SECONDS;
	struct pollfd fd = {.fd = sock, .events = POLLIN};
	union nic_message msg;
	uint32_t num_fds = 0;
	int n = -EAGAIN;

	while (n == -EAGAIN && time(NULL) < until) {
		poll(&fd, 1, 1000);
		n = nic_receive(sock, &msg, NULL, &num_fds);
	}
	if (n == -EAGAIN)
		return nm_error_set(
			err, -ETIMEDOUT, "netmapd-nic has not answered for %d s", CHECK_SECONDS);
	if (n == -EPIPE)
		return nm_error_set(err, n, "netmapd-nic has ended; its log says why");
	if (n > 0 && msg.hdr.type == NIC_FAILED)
		return nm_error_set(err, msg.failed.error < 0 ? msg.failed.error : -EPROTO, "%.*s",
			NIC_TEXT_MAX - 1, msg.failed.text);
	if (n < 0 || msg.hdr.type != NIC_REPORT)
		return nm_error_set(err, -EPROTO, "netmapd-nic is of another version");
	*report = msg.report;
	return 0;
}

static int try_it(
	const char *socket, const char *ifname, struct nic_report *report, struct nm_error *err)
{
	struct nic_check msg = {.ifname = ""};
	int sock = nic_connect(socket, err), error;

	if (sock < 0)
		return sock;
	nic_header_init(&msg.hdr, NIC_CHECK);
	memcpy(msg.ifname, ifname, strlen(ifname)); /* measured by the caller */
	error = nic_send(sock, &msg, sizeof(msg), NULL, 0);
	if (error && error != -EPIPE) /* who has hung up has said why */
		nm_error_set(err, error, "netmapd-nic: %s", strerror(-error));
	else
		error = receive_report(sock, report, err);
	close(sock);
	return error;
}

static bool is_usable(const struct nic_report *r)
{
	return r->granted[NIC_MODE_ZEROCOPY] || r->granted[NIC_MODE_NATIVE] ||
	       r->granted[NIC_MODE_GENERIC];
}

/* ---- printing ------------------------------------------------------------------------------------ */

static void put_number(const char *what, uint32_t n, uint32_t most)
{
	printf("%s%u", what, n);
	if (most)
		printf(" (at most %u)", most);
}

static void put_facts(const struct nic_facts *f)
{
	printf("%s: driver %s, MTU %u, %s, %s\n", f->ifname, f->driver[0] ? f->driver : "unknown",
		f->mtu, f->up ? "up" : "down", f->carrier ? "with carrier" : "no carrier");
	put_number("  queues          receive ", f->queues, f->queues_max);
	put_number(", send ", f->tx_queues, 0);
	if (f->hw_rx) {
		put_number("\n  hardware rings  receive ", f->hw_rx, f->hw_rx_max);
		put_number(", send ", f->hw_tx, f->hw_tx_max);
	}
	putchar('\n');
	if (f->queues != f->tx_queues)
		printf("                  only %u of them do both, and can be used; the rest stays with the host\n",
			f->queues < f->tx_queues ? f->queues : f->tx_queues);
}

/* A text without the interface's name in front, which stands above. */
static const char *without_name(const struct nic_report *r, const char *text)
{
	size_t n = strlen(r->facts.ifname);

	return strncmp(text, r->facts.ifname, n) == 0 && text[n] == ':' ? text + n + 2 : text;
}

static void put_modes(const struct nic_report *r)
{
	for (uint32_t mode = NIC_MODE_ZEROCOPY; mode < NIC_MODES; mode++)
		printf("  %-14s  %s%.*s\n", nic_mode_name(mode),
			r->granted[mode] ? "yes" : "no: ", NIC_TEXT_MAX - 1,
			without_name(r, r->said[mode]));
	if (r->mtu_max_chunk)
		printf("  MTU             at most %u with a packet per buffer of 4096 bytes; beyond, native and generic use several%s\n",
			r->mtu_max_chunk,
			r->facts.mtu > r->mtu_max_chunk ? "; it is larger: no zero-copy" : "");
	printf("  offloads        %s%s\n",
		r->offloads[0] ? "switched off while in use: " : "none has to be switched off",
		r->offloads);
	if (r->fixed[0])
		printf("                  on, and can't be switched off: %s; so it can't be used\n",
			r->fixed);
	printf("  busy polling    interrupts %s\n",
		r->deferrable
			? "are put off meanwhile (netmapd --nic-busy-poll)"
			: "go on: putting them off per queue takes Linux 6.13, and a driver whose queues can be polled");
	if (r->facts.unfinished)
		printf("  checksums       senders may have left them to hardware that isn't there: ethtool -K PEER tx off makes them complete\n");
}

static void put_text(const struct nic_checked *c)
{
	const struct nic_report *r = &c->report;

	put_facts(&r->facts);
	if (c->not_tried[0])
		printf("  modes           not tried: %s\n", c->not_tried);
	else if (r->used_by)
		printf("  modes           not tried: another XDP program is on it (bpftool prog show id %u says which); ip link set %s xdp off takes it off\n",
			r->used_by, r->facts.ifname);
	else
		put_modes(r);
}

static json_t *facts_json(const struct nic_facts *f)
{
	return json_pack("{s:s, s:i, s:s, s:I, s:b, s:b, s:i, s:i, s:i, s:i, s:i, s:i, s:i, s:b}",
		"interface", f->ifname, "ifindex", (int)f->ifindex, "driver", f->driver, "mtu",
		(json_int_t)f->mtu, "up", (int)f->up, "carrier", (int)f->carrier, "rx_queues",
		(int)f->queues, "tx_queues", (int)f->tx_queues, "queues_max", (int)f->queues_max,
		"hw_rx", (int)f->hw_rx, "hw_tx", (int)f->hw_tx, "hw_rx_max", (int)f->hw_rx_max,
		"hw_tx_max", (int)f->hw_tx_max, "unfinished_checksums", (int)f->unfinished);
}

static json_t *report_json(const struct nic_checked *c)
{
	const struct nic_report *r = &c->report;
	json_t *root = facts_json(&r->facts), *modes = json_object();
	bool tried = !c->not_tried[0] && !r->used_by;

	for (uint32_t mode = NIC_MODE_ZEROCOPY; mode < NIC_MODES && tried; mode++)
		json_object_set_new(modes, nic_mode_name(mode),
			json_pack("{s:b, s:s}", "granted", (int)r->granted[mode], "why",
				r->said[mode]));
	json_object_set_new(root, "modes", modes);
	json_object_set_new(root, "not_tried", json_string(c->not_tried));
	json_object_set_new(root, "used_by", json_integer(r->used_by));
	json_object_set_new(root, "mtu_max", json_integer(r->mtu_max_chunk));
	json_object_set_new(root, "deferrable", json_boolean(r->deferrable));
	json_object_set_new(root, "offloads", json_string(r->offloads));
	json_object_set_new(root, "offloads_fixed", json_string(r->fixed));
	return root;
}

/* ---- the command ----------------------------------------------------------------------------------- */

static int check(const char *socket, const char *ifname, bool json)
{
	struct nic_checked c = {.not_tried = ""};
	struct nm_error err;

	if (strlen(ifname) >= NIC_NAME_MAX)
		return ctl_fail(CTL_USAGE, "no network interface has such a name: %.64s", ifname);
	memcpy(c.report.facts.ifname, ifname, strlen(ifname));
	/* netmapd-nic may be in another network namespace: what it says counts. */
	if (try_it(socket, ifname, &c.report, &err) != 0) {
		memcpy(c.not_tried, err.text, sizeof(c.not_tried) - 1);
		if (device_facts(&c.report.facts, &err) != 0)
			return ctl_failed(&err);
	}
	if (json && ctl_put_json(report_json(&c), JSON_INDENT(1)) != CTL_OK)
		return CTL_FAILED;
	if (!json)
		put_text(&c);
	return is_usable(&c.report) ? CTL_OK : CTL_FAILED;
}

int ctl_nic_check(int argc, char **argv, const struct ctl *ctl)
{
	const char *nic_socket = NULL, *ifname = NULL, *value;

	for (int i = 1; i < argc; i++) {
		if (ctl_option(argc, argv, &i, "--nic-socket", &value)) {
			if (!value || !*value)
				return ctl_fail(CTL_USAGE, "nic-check: --nic-socket needs a path");
			nic_socket = value;
		} else if (argv[i][0] == '-' || ifname)
			return ctl_fail(CTL_USAGE,
				"nic-check takes [--nic-socket PATH] INTERFACE, not '%s'", argv[i]);
		else
			ifname = argv[i];
	}
	if (!ifname)
		return ctl_fail(
			CTL_USAGE, "nic-check needs the name of a network interface, as eth0");
	if (ctl_name("nic-check", "a network interface, as eth0", ifname) != CTL_OK)
		return CTL_USAGE;
	return check(nic_socket, ifname, ctl->json);
}
