/* SPDX-License-Identifier: BSD-2-Clause */
#include "vm.h"
#include "os_user.h"
#include "portspec.h"
#include "ptnet_mem.h"

#include <net/netmap_virt.h>

#include <fcntl.h>
#include <stdio.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

/* ---- the machine --------------------------------------------------------------------- */

/* DIR of the control socket + /vmN, into vm->dir. */
static int name_dir(struct vm *vm, char *text)
{
	const char *socket = vm->daemon->config.socket_path;
	int n = snprintf(vm->dir, sizeof(vm->dir), "%.*s/vm%u",
		(int)(strrchr(socket, '/') - socket), socket, vm->number);

	/* Behind it come /mem and /net31. */
	if (n < 0 || (size_t)n + sizeof("/net31") > sizeof(vm->dir)) {
		snprintf(text, NMD_TEXT_MAX, "the path of the control socket is too long: %s",
			socket);
		return -ENAMETOOLONG;
	}
	return 0;
}

/* Open, and this user's alone? Others must not be able to put sockets of theirs there. */
static int open_own_dir(struct vm *vm)
{
	struct stat st;

	vm->dir_fd = open(vm->dir, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (vm->dir_fd < 0)
		return -errno;
	if (fstat(vm->dir_fd, &st) < 0)
		return -errno;
	return st.st_uid == geteuid() && (st.st_mode & 077) == 0 ? 0 : -EPERM;
}

/* Locked, as long as the machine exists, and still there? Else -EWOULDBLOCK. */
static int lock_dir(struct vm *vm)
{
	struct stat here, there;

	if (flock(vm->dir_fd, LOCK_EX | LOCK_NB) < 0)
		return -errno;
	if (fstat(vm->dir_fd, &here) < 0 || lstat(vm->dir, &there) < 0 ||
		here.st_ino != there.st_ino || here.st_dev != there.st_dev)
		return -EWOULDBLOCK;
	return 0;
}

/* What a killed netmapd left there. */
static void empty_dir(const struct vm *vm)
{
	char name[8];

	unlinkat(vm->dir_fd, "mem", 0);
	for (int i = 0; i < VM_PORTS_MAX; i++) {
		snprintf(name, sizeof(name), "net%d", i);
		unlinkat(vm->dir_fd, name, 0);
	}
}

static int try_dir(struct vm *vm, char *text)
{
	int error = name_dir(vm, text);

	if (error)
		return error;
	error = mkdir(vm->dir, 0700) < 0 && errno != EEXIST ? -errno : open_own_dir(vm);
	if (!error)
		error = lock_dir(vm);
	if (!error) {
		empty_dir(vm);
		return 0;
	}
	if (error == -EPERM)
		snprintf(text, NMD_TEXT_MAX, "%s exists and is open to other users: remove it",
			vm->dir);
	else
		snprintf(text, NMD_TEXT_MAX, "can't make %s: %s", vm->dir, strerror(-error));
	vm->dir[0] = '\0';
	if (vm->dir_fd >= 0)
		close(vm->dir_fd);
	vm->dir_fd = -1;
	return error;
}

/*
 * A directory that a killed netmapd left is used again; one that is locked belongs to another
 * netmapd, whose control socket lies beside ours: then the next number is tried.
 */
static int make_dir(struct vm *vm, char *text)
{
	int error;

	do {
		vm->number = ++vm->daemon->next_vm;
		error = try_dir(vm, text);
	} while (error == -EWOULDBLOCK);
	return error;
}

static int open_mem(struct vm *vm, char *text)
{
	struct ptnet_mem_info info = {
		.fd = os_mem_fd(vm->region->mem),
		.size = vm->region->size,
		.base = vm->region->base,
		.id = vm->region->id,
	};
	char name[NMD_NAME_MAX];
	int error;

	nm_region_info(vm->region, &info.pools);
	snprintf(name, sizeof(name), "vm%u memory", vm->number);
	snprintf(vm->mem_path, sizeof(vm->mem_path), "%.90s/mem", vm->dir);
	unlink(vm->mem_path);
	error = ptnet_mem_new(vm->daemon->loop, vm->mem_path, name, &info, &vm->mem);
	if (error)
		snprintf(text, NMD_TEXT_MAX, "%s: %s", vm->mem_path, strerror(-error));
	return error;
}

/* For logs and for status, which is UTF-8: what is not ASCII becomes '?'. */
static void copy_printable(char *dst, size_t size, const char *src)
{
	size_t i;

	for (i = 0; i + 1 < size && src[i]; i++)
		dst[i] = (char)(src[i] < ' ' || src[i] > '~' ? '?' : src[i]);
	dst[i] = '\0';
}

struct vm *vm_new(struct daemon *d, const char *name, int *error, char *text)
{
	struct vm *vm = os_zalloc(sizeof(*vm));

	if (!vm) {
		snprintf(text, NMD_TEXT_MAX, "out of memory");
		*error = -ENOMEM;
		return NULL;
	}
	vm->daemon = d;
	vm->dir_fd = -1;
	copy_printable(vm->name, sizeof(vm->name), name);
	vm->next = d->vms;
	d->vms = vm;
	os_mutex_lock(&d->core.lock);
	vm->region = nm_region_create(&d->core, &d->config.vm_region, 0, error, text, NMD_TEXT_MAX);
	if (vm->region)
		vm->region->reserved = true;
	os_mutex_unlock(&d->core.lock);
	if (vm->region)
		*error = make_dir(vm, text);
	if (!*error)
		*error = open_mem(vm, text);
	if (*error) {
		vm_free(vm);
		return NULL;
	}
	os_log(OS_LOG_INFO, "vm%u (%s) is there, with %llu MiB of packet memory", vm->number,
		vm->name, (unsigned long long)(vm->region->size >> 20));
	return vm;
}

/* ---- its ports ----------------------------------------------------------------------- */

/* The order of traps avoided: service, device, port, memory. */
static void free_port(struct vm_port *port)
{
	ptnet_net_free(port->net);
	served_close(port->served);
	nm_client_unbind(&port->client);
	os_free(port);
}

void vm_free(struct vm *vm)
{
	struct vm **link;
	bool was_there;

	if (!vm)
		return;
	was_there = vm->mem != NULL;
	for (uint32_t i = 0; i < vm->num_ports; i++)
		free_port(vm->ports[i]);
	ptnet_mem_free(vm->mem);
	os_mutex_lock(&vm->daemon->core.lock);
	nm_region_put(vm->region);
	os_mutex_unlock(&vm->daemon->core.lock);
	if (vm->dir[0] && rmdir(vm->dir) < 0 && errno != ENOENT)
		os_log(OS_LOG_WARN, "can't remove %s: %s", vm->dir, strerror(errno));
	if (vm->dir_fd >= 0)
		close(vm->dir_fd); /* and with it the lock */
	for (link = &vm->daemon->vms; *link != vm;)
		link = &(*link)->next;
	*link = vm->next;
	if (was_there)
		os_log(OS_LOG_INFO, "vm%u (%s) is gone", vm->number, vm->name);
	os_free(vm);
}

static bool mac_is_zero(const uint8_t mac[6])
{
	static const uint8_t zero[6];

	return memcmp(mac, zero, sizeof(zero)) == 0;
}

static void choose_mac(struct vm_port *port, const uint8_t mac[6])
{
	if (!mac_is_zero(mac)) {
		memcpy(port->mac, mac, sizeof(port->mac));
		return;
	}
	os_random(port->mac, sizeof(port->mac));
	port->mac[0] = 0x02; /* administered locally, unicast */
}

/* From the user's text to a bound client. */
static int bind_port(struct vm *vm, struct vm_port *port, const char *ifname, char *text)
{
	struct nm_portspec spec;
	struct nm_bind bind;
	int error = nm_portspec_parse(ifname, NULL, &spec, text, NMD_TEXT_MAX);

	if (error)
		return error;
	if (spec.given & ~(uint32_t)NM_SPEC_CONF) {
		snprintf(text, NMD_TEXT_MAX,
			"%s: a port of a virtual machine lies in the machine's own memory region; only @conf is possible",
			ifname);
		return -EOPNOTSUPP;
	}
	bind = (struct nm_bind){
		.mode = spec.reg.nr_mode,
		.flags = spec.reg.nr_flags | NR_ACCEPT_VNET_HDR,
		.ringid = spec.reg.nr_ringid,
		.num_rings = {spec.reg.nr_tx_rings, spec.reg.nr_rx_rings},
		.num_slots = {spec.reg.nr_tx_slots, spec.reg.nr_rx_slots},
	};
	if (bind.mode != NR_REG_ALL_NIC || (bind.flags & (NR_TX_RINGS_ONLY | NR_RX_RINGS_ONLY))) {
		snprintf(text, NMD_TEXT_MAX, "%s: a virtual machine takes all rings of a port",
			ifname);
		return -EOPNOTSUPP;
	}
	nm_client_init(&port->client, &vm->daemon->core);
	port->client.own_region = vm->region;
	port->client.exclusive_only = true;
	error = nm_client_bind(&port->client, spec.name, &bind);
	if (error)
		snprintf(text, NMD_TEXT_MAX, "%s", port->client.err);
	return error;
}

static int open_device(struct vm *vm, struct vm_port *port, const char *ifname, char *text)
{
	char name[2 * NMD_NAME_MAX];
	struct ptnet_net_config config = {.name = name};
	struct served_geometry geo;
	int error;

	memcpy(config.mac, port->mac, sizeof(config.mac));
	port->served = served_open(vm->daemon, &port->client, &error, text);
	if (!port->served)
		return error;
	served_geometry(port->served, &geo);
	if (geo.tx_rings + geo.rx_rings > PTNET_MAX_RINGS) {
		snprintf(text, NMD_TEXT_MAX,
			"%s: %u rings; a port of a virtual machine has at most %d, both directions together",
			ifname, geo.tx_rings + geo.rx_rings, PTNET_MAX_RINGS);
		return -EINVAL;
	}
	snprintf(name, sizeof(name), "vm%u %s", vm->number, ifname);
	snprintf(port->path, sizeof(port->path), "%.90s/net%u", vm->dir, vm->num_ports);
	unlink(port->path);
	error = ptnet_net_new(vm->daemon->loop, port->path, &config, port->served, &port->net);
	if (error)
		snprintf(text, NMD_TEXT_MAX, "%s: no device for it at %s: %s", ifname, port->path,
			strerror(-error));
	return error;
}

int vm_add_port(struct vm *vm, const char *ifname, const uint8_t mac[6], const struct vm_port **out,
	char *text)
{
	struct vm_port *port;
	int error;

	if (vm->num_ports == VM_PORTS_MAX) {
		snprintf(text, NMD_TEXT_MAX,
			"%s: the machine has %d ports already, the most it can have", ifname,
			VM_PORTS_MAX);
		return -ENOSPC;
	}
	port = os_zalloc(sizeof(*port));
	if (!port) {
		snprintf(text, NMD_TEXT_MAX, "%s: out of memory", ifname);
		return -ENOMEM;
	}
	nm_client_init(&port->client, &vm->daemon->core);
	choose_mac(port, mac);
	error = bind_port(vm, port, ifname, text);
	if (!error)
		error = open_device(vm, port, ifname, text);
	if (error) {
		free_port(port);
		return error;
	}
	vm->ports[vm->num_ports++] = port;
	*out = port;
	return 0;
}
