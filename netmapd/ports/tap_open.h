/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * tap_open.h - a queue of a TAP device, as netmapd reads and writes it (tap_io.h). netmapd-nic makes twins by it as well.
 *
 * Thread safety: any thread; no state.
 */
#ifndef NETMAPD_TAP_OPEN_H
#define NETMAPD_TAP_OPEN_H

#include <net/if.h>
#include <stdbool.h>

enum {
	TAP_HDR_MIN = 10 /* bytes of the header between us and the kernel when the port has none */
};

/*
 * A queue of the device; the first makes it, unless it is there. ifname: its name, or a pattern as "tap%d", which becomes the name.
 * several: the device has, or gets, more queues than one. Frames are whole, and *fd doesn't block. 0 or a negative errno. In either case
 * *fd, unless it is -1, is to be closed: where that may take long, for the device may be there.
 */
int tap_open(char ifname[IFNAMSIZ], bool several, int *fd);

#endif
