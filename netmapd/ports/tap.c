/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * TAP ports: the device; operations of the port kind; making and removing. Their queues are in tap_queues.c, packets in tap_io.c.
 */
#include "tap.h"
#include "log.h"

#include <linux/if_tun.h>
#include <net/if.h>
#include <stdio.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "tap_queues.h"
#include "vm.h"

struct taps {
	struct daemon *daemon;
	struct tap *list;
	struct tap_watch watch; /* of all queues */
	struct tap_leaves *leaves;
};

/* ---- events ---------------------------------------------------------------------------- */

/* The device was removed: no sync of its port succeeds any more. */
static void remove_gone(void *arg)
{
	struct taps *taps = arg;
	struct tap *tap, *next;

	nm_core_lock(&taps->daemon->core);
	for (tap = taps->list; tap; tap = next) {
		next = tap->next;
		if (!tap->gone || tap->removed)
			continue;
		log_about(tap->ifname, NULL);
		os_log(OS_LOG_WARN, "%s: the network device was removed, and the port with it",
			tap->ifname);
		tap->removed = true;
		nm_port_remove_locked(tap->port);
	}
	nm_core_unlock(&taps->daemon->core);
	vm_ports_check(taps->daemon);
}

/* ---- the device ------------------------------------------------------------------------ */

static int fail(struct nm_error *err, int error, const char *name, const char *why)
{
	return nm_error_set(err, error, "%s: no network device can be made: %s", name, why);
}

static int tun_error(int error, const char *name, struct nm_error *err)
{
	switch (error) {
	case EPERM:
	case EACCES:
		return fail(err, -EPERM, name,
			"netmapd lacks the privilege (CAP_NET_ADMIN); run it as root, or have the administrator make it: ip tuntap add dev NAME mode tap user USER");
	case ENOENT:
	case ENODEV:
	case ENXIO:
		return fail(err, -EOPNOTSUPP, name, "this system has no /dev/net/tun (module tun)");
	case EBUSY:
		return fail(err, -EBUSY, name, "it exists, and another program uses it");
	case EINVAL:
		return fail(err, -EEXIST, name,
			"a device of this name exists, and is no TAP with as many queues");
	default:
		return fail(err, -error, name, strerror(error));
	}
}

/* One queue of the device; the first makes it. */
static int open_queue(struct tap *tap, uint32_t i, struct nm_error *err)
{
	int fd, error = tap_open(tap->ifname, tap->num_queues > 1, &fd), full = 0;

	if (fd >= 0)
		full = tap_set_queue(tap, i, fd);
	if (error)
		return tun_error(-error, tap->ifname, err);
	return full ? fail(err, full, tap->ifname, "out of memory") : 0;
}

/* The stack learns whether the port has clients. Kernels that can't tell it are right as well. */
static void set_carrier(const struct tap *tap, int on)
{
	if (ioctl(tap->queues[0].fd, TUNSETCARRIER, &on) < 0)
		os_log(OS_LOG_DEBUG, "%s: carrier: %s", tap->ifname, strerror(errno));
}

/* ---- operations of the port kind --------------------------------------------------------- */

static int tap_start(struct nm_port *port, struct nm_error *err)
{
	struct tap *tap = port->priv;

	tap_own_rings(tap, port, false);
	tap_queues_start(tap, true);
	set_carrier(tap, 1);
	return 0;
}

static void tap_stop(struct nm_port *port)
{
	struct tap *tap = port->priv;

	set_carrier(tap, 0);
	tap_queues_stop(tap);
}

static void tap_users_changed(struct nm_port *port)
{
	tap_choose_readers(port->priv, port, true, NULL);
}

/* The device goes as well, unless others have removed it: then the name may be another one's already. */
static void free_tap(struct tap *tap)
{
	int fds[NM_RINGS_MAX];

	tap_queues_take(tap, fds);
	tap_leaving_go(
		tap->taps->leaves, tap->leaving, tap->ifname, tap->gone, fds, tap->num_queues);
	tap_queues_free(tap);
	os_free(tap);
}

static void tap_destroy(struct nm_port *port)
{
	struct tap *tap = port->priv, **link;

	if (!tap)
		return; /* it was never complete */
	for (link = &tap->taps->list; *link != tap;)
		link = &(*link)->next;
	*link = tap->next;
	free_tap(tap);
}

/* Offloads that the stack may leave to whoever reads the packets: checksums and TCP segmentation. */
static int set_offloads(const struct tap *tap, bool on)
{
	const unsigned long most = TUN_F_CSUM | TUN_F_TSO4 | TUN_F_TSO6 | TUN_F_TSO_ECN;
	int fd = tap->queues[0].fd;

	return ioctl(fd, TUNSETOFFLOAD, on ? most : 0) < 0 ? -errno : 0;
}

static int tap_set_hdr_len(struct nm_port *port, uint32_t bytes)
{
	struct tap *tap = port->priv;
	int size = bytes ? (int)bytes : TAP_HDR_MIN, error;

	for (uint32_t i = 0; i < tap->num_queues; i++)
		if (ioctl(tap->queues[i].fd, TUNSETVNETHDRSZ, &size) < 0)
			return -errno;
	error = set_offloads(tap, bytes > 0);
	if (!error)
		OS_STORE(&port->hdr_len, bytes);
	return error;
}

static const struct nm_port_ops tap_ops = {
	.kind = "tap",
	.start = tap_start,
	.stop = tap_stop,
	.destroy = tap_destroy,
	.set_hdr_len = tap_set_hdr_len,
	.users_changed = tap_users_changed,
	.txsync = tap_txsync,
	.rxsync = tap_rxsync,
	.wants_room = tap_wants_room,
	.shares_region = true,
	.chosen_host_rings = true,
	.is_stack = true,
	.persistent = true,
};

/* ---- making and removing ----------------------------------------------------------------- */

static struct tap *new_tap(struct taps *taps, const char *name, uint32_t queues)
{
	struct tap *tap = os_zalloc(sizeof(*tap));

	if (!tap)
		return NULL;
	tap->leaving = tap_leaving_new(queues);
	if (!tap->leaving || tap_queues_init(tap, &taps->watch, queues) != 0) {
		tap_leaving_free(tap->leaving);
		os_free(tap);
		return NULL;
	}
	tap->taps = taps;
	memcpy(tap->ifname, name, strlen(name) + 1);
	return tap;
}

/* Numbers that were not given. */
static int check_wishes(const char *name, uint16_t mem_id, struct nm_error *err)
{
	if (strlen(name) >= IFNAMSIZ || strchr(name, '%') || strchr(name, ':'))
		return fail(err, -EINVAL, name,
			"the name of a network device has at most 15 bytes, and none of / : %");
	if (mem_id > NM_REGION_SHARED_ID)
		return fail(err, -EOPNOTSUPP, name,
			"its memory region is chosen by who registers it first (@ID), not when it is made");
	return 0;
}

/* The port of a device that is there. core->lock held. */
static int add_port(struct nm_core *core, struct tap *tap, const struct nm_shape *shape,
	struct nm_error *err) OS_REQUIRES(NM_CORE_LOCK)
{
	tap->port = nm_port_add_locked(core, tap->ifname, &tap_ops, shape, err);
	if (!tap->port)
		return fail(err, err->code, tap->ifname,
			err->code == -ENOMEM ? "out of memory"
					     : "its rings and slots are out of range");
	tap->port->priv = tap;
	tap->next = tap->taps->list;
	tap->taps->list = tap;
	set_carrier(tap, 0);
	return 0;
}

int taps_newif(struct nm_core *core, void *ns, const char *name, const struct nm_shape *wanted,
	uint16_t mem_id, struct nm_error *err)
{
	struct daemon *d = core->platform;
	struct nm_shape shape = *wanted;
	struct tap *tap;
	int error = check_wishes(name, mem_id, err);

	if (error)
		return error;
	if (nm_port_find_locked(core, name))
		return fail(err, -EEXIST, name, "there is a port of this name");
	error = tap_leaves_refuse(d->taps->leaves, name, err);
	if (error)
		return error;
	shape.host_rings[NM_TX] = shape.host_rings[NM_RX] = 1;
	tap = new_tap(d->taps, name, shape.rings[NM_RX]);
	if (!tap)
		return fail(err, -ENOMEM, name, "out of memory");
	for (uint32_t i = 0; i < tap->num_queues && !error; i++)
		error = open_queue(tap, i, err);
	if (!error)
		error = add_port(core, tap, &shape, err);
	if (error)
		free_tap(tap);
	else
		os_log(OS_LOG_INFO, "%s: a persistent port and a network device, %u queue%s", name,
			tap->num_queues, tap->num_queues == 1 ? "" : "s");
	return error;
}

int taps_delif(struct nm_core *core, void *ns, const char *name, struct nm_error *err)
{
	struct nm_port *port = nm_port_find_locked(core, name);

	if (!port || port->ops != &tap_ops)
		return nm_error_set(err, -ENXIO, "%s: no persistent port of this name", name);
	if (port->clients || port->pins) {
		return nm_error_set(
			err, -EBUSY, "%s: the port is in use; end or detach its users first", name);
	}
	nm_port_remove_locked(port);
	log_about(name, NULL);
	os_log(OS_LOG_INFO, "%s: the persistent port is gone", name);
	return 0;
}

int taps_init(struct daemon *d)
{
	struct taps *taps = os_zalloc(sizeof(*taps));
	int error;

	if (!taps)
		return -ENOMEM;
	taps->daemon = d;
	error = tap_leaves_new(d->loop, &taps->leaves);
	if (!error)
		error = tap_watch_init(&taps->watch, d->loop, remove_gone, taps);
	if (!error) {
		d->taps = taps;
		return 0;
	}
	if (taps->leaves)
		tap_leaves_free(taps->leaves, 0);
	os_free(taps);
	return error;
}

void taps_exit(struct daemon *d, uint32_t left)
{
	if (!d->taps)
		return;
	tap_watch_exit(&d->taps->watch);
	tap_leaves_free(d->taps->leaves, left);
	os_free(d->taps);
	d->taps = NULL;
}

/* ---- who wants one ----------------------------------------------------------------------- */

int taps_ask(struct daemon *d, enum tap_want want, const char *name, struct tap_wait *wait)
{
	return tap_leaves_ask(d->taps->leaves, want, name, wait);
}

uint32_t taps_count(const struct daemon *d)
{
	uint32_t count = 0;

	for (const struct tap *tap = d->taps->list; tap; tap = tap->next)
		count++;
	return count;
}
