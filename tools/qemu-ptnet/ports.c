/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Our -netdev, -device and -nic options, in three passes, because a device may stand before its netdev:
 * first all netdevs of type netmap, then the devices that use them, then the -nic that are both. What is wrong is said here,
 * before anything is started; whether a port is free only netmapd can know.
 */
#include "ports.h"

#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "proto.h"
#include "portspec.h"

enum { NO_ARG = -1 };

static const char *const netdev_keys[] = {"type", "ifname", "id", "passthrough", NULL};
static const char *const device_keys[] = {"driver", "netdev", "mac", "id", "bus", "addr",
	"multifunction", "acpi-index", "mem-id", "mem-bus", "mem-addr", NULL};
static const char *const nic_keys[] = {"type", "ifname", "id", "passthrough", "model", "mac", "bus",
	"addr", "multifunction", "acpi-index", "mem-id", "mem-bus", "mem-addr", NULL};

int ports_parse_mac(const char *text, uint8_t mac[6])
{
	for (int i = 0; i < 6; i++) {
		const char *digits = text;
		unsigned int byte = 0;

		while (isxdigit((unsigned char)*text) && text - digits < 2) {
			int c = tolower((unsigned char)*text++);

			byte = byte * 16 + (isdigit(c) ? c - '0' : c - 'a' + 10);
		}
		if (text == digits || (i < 5 && *text != ':' && *text != '-'))
			return -EINVAL;
		text += i < 5;
		mac[i] = byte;
	}
	return *text ? -EINVAL : 0;
}

/* Keys that don't exist or stand twice; values that are no plain text (JSON only). */
static int check_keys(
	const struct opts *o, const char *const known[], const char *what, char err[TEXT_ERR])
{
	const char *key = opts_unknown(o, known);
	char list[160] = "";

	if (key) {
		for (size_t i = 1; known[i]; i++)
			snprintf(list + strlen(list), sizeof(list) - strlen(list), "%s%s",
				i > 1 ? ", " : "", known[i]);
		return text_fail(
			-EINVAL, err, "%s has no option '%.100s', only %s", what, key, list);
	}
	key = opts_repeated(o);
	if (key)
		return text_fail(-EINVAL, err, "%s has %s= twice", what, key);
	for (size_t i = 0; i < o->count; i++)
		if (!o->opt[i].value)
			return text_fail(
				-EINVAL, err, "%s: %s needs a plain value", what, o->opt[i].key);
	return 0;
}

/* Is it the name of a port? Whether the port is there and free only netmapd knows. */
static int check_ifname(const struct port *port, char err[TEXT_ERR])
{
	struct nm_portspec spec;
	struct nm_error why;

	if (!port->ifname || !port->ifname[0])
		return text_fail(-EINVAL, err,
			"-netdev netmap,id=%.100s needs ifname=PORT, for example ifname=vale1:10",
			port->id);
	if (strlen(port->ifname) >= NMD_SPEC_MAX)
		return text_fail(-EINVAL, err,
			"-netdev netmap,id=%.100s: the port has %zu bytes of text, at most %d are possible",
			port->id, strlen(port->ifname), NMD_SPEC_MAX - 1);
	if (nm_portspec_parse(port->ifname, NULL, &spec, &why) < 0)
		return text_fail(-EINVAL, err, "-netdev netmap,id=%.100s: %s", port->id, why.text);
	return 0;
}

static int check_netdev(struct port *port, char err[TEXT_ERR])
{
	const struct opts *o = &port->netdev;
	const char *passthrough;
	int ret = check_keys(o, netdev_keys, "-netdev netmap", err);

	if (ret < 0)
		return ret;
	port->id = opts_get(o, "id");
	port->ifname = opts_get(o, "ifname");
	passthrough = opts_get(o, "passthrough");

	if (!port->id)
		return text_fail(-EINVAL, err, "-netdev netmap needs id=NAME");
	if (!opts_id_valid(port->id))
		return text_fail(-EINVAL, err,
			"-netdev netmap,id='%.100s': a name is a letter, then letters, digits, '-', '.', '_'",
			port->id);
	ret = check_ifname(port, err);
	if (ret < 0)
		return ret;
	if (passthrough && opts_bool(passthrough) < 0)
		return text_fail(-EINVAL, err,
			"-netdev netmap,id=%.100s: passthrough='%.50s' is neither on nor off",
			port->id, passthrough);
	if (!passthrough || !opts_bool(passthrough))
		return text_fail(-EINVAL, err,
			"-netdev netmap,id=%.100s needs passthrough=on: ports are passed through here, "
			"there is no other way",
			port->id);
	return 0;
}

static int check_mac(struct port *port, char err[TEXT_ERR])
{
	static const uint8_t zero[6];
	const char *text = opts_get(&port->device, "mac");

	if (!text)
		return 0;
	if (ports_parse_mac(text, port->mac) < 0)
		return text_fail(-EINVAL, err,
			"-device ptnet-pci,netdev=%.100s: mac='%.50s' is no address like 52:54:00:12:34:56",
			port->id, text);
	if (port->mac[0] & 1)
		return text_fail(-EINVAL, err,
			"-device ptnet-pci,netdev=%.100s: mac=%s is a multicast address, a port needs its own",
			port->id, text);
	if (!memcmp(port->mac, zero, 6))
		return text_fail(-EINVAL, err,
			"-device ptnet-pci,netdev=%.100s: mac=%s is no address of a port; leave it out to "
			"have one chosen",
			port->id, text);
	return 0;
}

static int check_id(const struct port *port, const char *key, char err[TEXT_ERR])
{
	const char *id = opts_get(&port->device, key);

	if (id && !opts_id_valid(id))
		return text_fail(-EINVAL, err,
			"-device ptnet-pci,netdev=%.100s: %s='%.100s': a name is a letter, then letters, "
			"digits, '-', '.', '_'",
			port->id, key, id);
	return 0;
}

static int check_device(struct port *port, char err[TEXT_ERR])
{
	const char *multi = opts_get(&port->device, "multifunction");
	const char *acpi = opts_get(&port->device, "acpi-index");
	int ret = check_keys(&port->device, device_keys, "-device ptnet-pci", err);

	if (ret < 0)
		return ret;
	ret = check_id(port, "id", err);
	if (ret == 0)
		ret = check_id(port, "mem-id", err);
	if (ret < 0)
		return ret;
	if (multi && opts_bool(multi) < 0)
		return text_fail(-EINVAL, err,
			"-device ptnet-pci,netdev=%.100s: multifunction='%.50s' is neither on nor off",
			port->id, multi);
	if (acpi && (!acpi[0] || strlen(acpi) > 9 || acpi[strspn(acpi, "0123456789")]))
		return text_fail(-EINVAL, err,
			"-device ptnet-pci,netdev=%.100s: acpi-index='%.50s' is no number",
			port->id, acpi);
	return check_mac(port, err);
}

static struct port *find_port(const struct ports *p, const char *id)
{
	for (size_t i = 0; i < p->count; i++)
		if (!strcmp(p->port[i].id, id))
			return &p->port[i];
	return NULL;
}

static void add_port(struct ports *p, const struct port *port)
{
	p->port = text_realloc(p->port, p->count + 1, sizeof(*port));
	p->port[p->count++] = *port;
}

/* First pass: all -netdev netmap. An id is looked up among QEMU's other netdevs, too. */
static int collect_netdevs(struct ports *p, const struct scan *s, char err[TEXT_ERR])
{
	for (size_t i = 0; i < s->count; i++) {
		struct port port = {.netdev_arg = i, .device_arg = NO_ARG};
		const char *type;
		int ret;

		if (!scan_is(&s->arg[i], "netdev"))
			continue;
		opts_parse(&port.netdev, s->arg[i].value, "type");
		type = opts_get(&port.netdev, "type");
		if (!type || strcmp(type, "netmap")) {
			opts_free(&port.netdev);
			continue;
		}
		ret = check_netdev(&port, err);
		if (ret == 0 && find_port(p, port.id))
			ret = text_fail(-EINVAL, err, "two -netdev have id=%s", port.id);
		if (ret < 0) {
			opts_free(&port.netdev);
			return ret;
		}
		add_port(p, &port);
	}
	return 0;
}

/* Of all ports, those of -nic among them. */
static int check_foreign_ids(struct ports *p, const struct scan *s, char err[TEXT_ERR])
{
	for (size_t i = 0; i < s->count; i++) {
		const struct port *port;
		struct opts o;
		const char *id;

		if (!scan_is(&s->arg[i], "netdev"))
			continue;
		opts_parse(&o, s->arg[i].value, "type");
		id = opts_get(&o, "id");
		port = id ? find_port(p, id) : NULL;
		opts_free(&o);
		if (port && port->netdev_arg != i)
			return text_fail(-EINVAL, err, "two -netdev have id=%s", port->id);
	}
	return 0;
}

/* Second pass: each -device that uses one of them. Takes over `o` when it returns 0. */
static int attach_device(struct ports *p, struct opts *o, size_t arg, char err[TEXT_ERR])
{
	const char *driver = opts_get(o, "driver"), *netdev = opts_get(o, "netdev");
	struct port *port = netdev ? find_port(p, netdev) : NULL;

	if (!driver || strcmp(driver, "ptnet-pci")) {
		if (port)
			return text_fail(-EINVAL, err,
				"netdev %s is a passed-through port: it needs -device ptnet-pci,netdev=%s, not %.50s",
				port->id, port->id, driver ? driver : "a device without a driver");
		opts_free(o);
		return 0;
	}
	if (!netdev)
		return text_fail(-EINVAL, err,
			"-device ptnet-pci needs netdev=ID, the id of a -netdev netmap");
	if (!port)
		return text_fail(-EINVAL, err,
			"-device ptnet-pci,netdev=%.100s: there is no -netdev netmap with this id",
			netdev);
	if (port->device_arg != (size_t)NO_ARG)
		return text_fail(-EINVAL, err, "two -device ptnet-pci use netdev=%s", port->id);
	port->device = *o;
	port->device_arg = arg;
	memset(o, 0, sizeof(*o));
	return check_device(port, err);
}

static int collect_devices(struct ports *p, const struct scan *s, char err[TEXT_ERR])
{
	for (size_t i = 0; i < s->count; i++) {
		struct opts o;
		int ret;

		if (!scan_is(&s->arg[i], "device"))
			continue;
		opts_parse(&o, s->arg[i].value, "driver");
		ret = attach_device(p, &o, i, err);
		if (ret < 0) {
			opts_free(&o);
			return ret;
		}
	}
	for (size_t i = 0; i < p->count; i++)
		if (p->port[i].device_arg == (size_t)NO_ARG)
			return text_fail(-EINVAL, err,
				"-netdev netmap,id=%s has no device: add -device ptnet-pci,netdev=%s",
				p->port[i].id, p->port[i].id);
	return 0;
}

/* An id for the netdev of a -nic that has none: the first free one. */
static void add_nic_id(struct opts *netdev, const struct ports *p, const struct scan *s)
{
	char *id = NULL;

	for (unsigned int n = 0; !id; n++) {
		id = text_format("nic%u", n);
		if (find_port(p, id) || scan_has_id(s, "netdev", "type", id)) {
			free(id);
			id = NULL;
		}
	}
	opts_add(netdev, "id", id);
	free(id);
}

/* Divides a -nic netmap among the two options that it stands for. */
static void divide_nic(
	const struct opts *nic, struct port *port, const struct ports *p, const struct scan *s)
{
	for (size_t i = 0; i < nic->count; i++) {
		const char *key = nic->opt[i].key;
		bool netdev = opts_key_in(key, netdev_keys);

		if (strcmp(key, "model"))
			opts_add(netdev ? &port->netdev : &port->device, key, nic->opt[i].value);
	}
	if (!opts_has(&port->netdev, "id"))
		add_nic_id(&port->netdev, p, s);
	opts_add(&port->device, "netdev", opts_get(&port->netdev, "id"));
}

/* One -nic of type netmap: a netdev and its device. Takes nothing of `nic` over. */
static int add_nic(struct ports *p, const struct scan *s, const struct opts *nic, size_t arg,
	char err[TEXT_ERR])
{
	struct port port = {.netdev_arg = arg, .device_arg = arg};
	const char *model = opts_get(nic, "model");
	int ret = check_keys(nic, nic_keys, "-nic netmap", err);

	if (ret < 0)
		return ret;
	if (model && strcmp(model, "ptnet-pci"))
		return text_fail(-EINVAL, err,
			"-nic netmap: model=%.50s can't serve a passed-through port, only ptnet-pci can: "
			"leave model= out",
			model);
	divide_nic(nic, &port, p, s);
	ret = check_netdev(&port, err);
	if (ret == 0 && find_port(p, port.id))
		ret = text_fail(-EINVAL, err, "two -netdev have id=%s", port.id);
	if (ret == 0)
		ret = check_device(&port, err);
	if (ret < 0) {
		opts_free(&port.netdev);
		opts_free(&port.device);
		return ret;
	}
	add_port(p, &port);
	return 0;
}

/* What a -nic or -net says that only -netdev and -device can have. */
static int refuse_mixture(const char *option, const struct opts *o, char err[TEXT_ERR])
{
	const char *type = opts_get(o, "type"), *model = opts_get(o, "model");

	if (type && !strcmp(type, "netmap"))
		return text_fail(-EINVAL, err,
			"-%s netmap: a passed-through port is no member of a hub; use -nic "
			"netmap,ifname=PORT,passthrough=on",
			option);
	if (model && !strcmp(model, "ptnet-pci"))
		return text_fail(-EINVAL, err,
			"-%s %.50s,model=ptnet-pci: this model serves netmap ports only; use -nic "
			"netmap,ifname=PORT,passthrough=on",
			option, type ? type : "…");
	return 0;
}

/* Third pass: -nic netmap, and what can't be. */
static int collect_nics(struct ports *p, const struct scan *s, char err[TEXT_ERR])
{
	for (size_t i = 0; i < s->count; i++) {
		bool nic = scan_is(&s->arg[i], "nic");
		const char *type;
		struct opts o;
		int ret;

		if (!nic && !scan_is(&s->arg[i], "net"))
			continue;
		opts_parse(&o, s->arg[i].value, "type");
		type = opts_get(&o, "type");
		if (nic && type && !strcmp(type, "netmap"))
			ret = add_nic(p, s, &o, i, err);
		else
			ret = refuse_mixture(s->arg[i].name, &o, err);
		opts_free(&o);
		if (ret < 0)
			return ret;
	}
	return 0;
}

static int by_device(const void *a, const void *b)
{
	const struct port *p = a, *q = b;

	return p->device_arg < q->device_arg ? -1 : p->device_arg > q->device_arg;
}

int ports_find(struct ports *p, const struct scan *s, char err[TEXT_ERR])
{
	int ret;

	memset(p, 0, sizeof(*p));
	ret = collect_netdevs(p, s, err);
	if (ret == 0)
		ret = collect_devices(p, s, err);
	if (ret == 0)
		ret = collect_nics(p, s, err);
	if (ret == 0)
		ret = check_foreign_ids(p, s, err);
	if (ret == 0 && p->count)
		qsort(p->port, p->count, sizeof(p->port[0]), by_device);
	return ret;
}

void ports_free(struct ports *p)
{
	for (size_t i = 0; i < p->count; i++) {
		opts_free(&p->port[i].netdev);
		opts_free(&p->port[i].device);
	}
	free(p->port);
	memset(p, 0, sizeof(*p));
}
