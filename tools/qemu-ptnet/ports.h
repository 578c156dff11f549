/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * ports.h - the passed-through ports that a command line asks for.
 *
 * The classic howto writes a port as two options that name each other:
 *
 *   -netdev netmap,ifname=vale1:10,id=data10,passthrough=on
 *   -device ptnet-pci,netdev=data10,mac=00:AA:BB:CC:0a:0a
 *
 * or as one:
 *
 *   -nic netmap,ifname=vale1:10,passthrough=on,mac=00:AA:BB:CC:0a:0a
 *
 * ports_find() pairs them, refuses what can't work, and remembers where the
 * device stood, so that command.h can put the device that serves the port there.
 * -net, which joins all its members by a hub of QEMU, is refused.
 *
 *   key of -netdev netmap     meaning
 *     ifname                  port of netmapd, in netmap's syntax; required
 *     id                      name of the netdev; required
 *     passthrough             must be on
 *   key of -device ptnet-pci
 *     netdev                  id of the netdev; required
 *     mac                     address in the guest; default: netmapd chooses one
 *     id, bus, addr, multifunction, acpi-index   as for any PCI device of QEMU
 *     mem-id, mem-bus, mem-addr   the same for the memory device of the port's region
 *   key of -nic netmap
 *     ifname, passthrough, id   of the netdev; an id is made when none is given
 *     model                   ptnet-pci, or left out
 *     mac, bus, addr, …       of the device, all but netdev and id
 *
 * Thread safety: none needed, the program has one thread.
 */
#ifndef QEMU_PTNET_PORTS_H
#define QEMU_PTNET_PORTS_H

#include <stdint.h>

#include "opts.h"
#include "scan.h"

struct port {
	struct opts netdev, device;
	const char *ifname, *id; /* in netdev */
	uint8_t mac[6];          /* all 0: none given */
	size_t netdev_arg;       /* index in scan.arg of the -netdev … */
	size_t device_arg;       /* … and of the -device; the same for a -nic */
};

struct ports {
	struct port *port;
	size_t count;
};

/*
 * Finds the ports of a command line, in the order of their devices. Strings are
 * the result's own. ports_free() is due in any case. -EINVAL with a text.
 */
int ports_find(struct ports *p, const struct scan *s, char err[TEXT_ERR]);
void ports_free(struct ports *p);

/* Parses 00:11:22:33:44:55 (or with '-'); 0 or -EINVAL. */
int ports_parse_mac(const char *text, uint8_t mac[6]);

#endif
