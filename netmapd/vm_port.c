/* SPDX-License-Identifier: BSD-2-Clause */
/* Ports of virtual machines: from the user's text to a device. */
#include "guestmem.h"
#include "names.h"
#include "nic.h"
#include "policy.h"
#include "portspec.h"
#include "port_service.h"
#include "vm.h"
#include "vu_server.h"

#include <net/netmap_virt.h>

#include <stdio.h>
#include <unistd.h>

/* Of a network function: its socket, one for turning clients away, its client, the REQ eventfd. */
enum { FDS_OF_PORT = 4 };

/* ---- what can be a device ----------------------------------------------------------------- */

/* On a switch they do. */
static bool waits_for_receivers(const struct nm_portspec *spec)
{
	const uint64_t monitor = NR_MONITOR_TX | NR_MONITOR_RX;
	struct nm_name name;
	struct nm_error err;

	return nm_name_parse(spec->name, &name, &err) == 0 && name.kind == NM_NAME_VALE &&
	       name.pipe == NM_PIPE_NONE && !(spec->reg.nr_flags & monitor);
}

_Static_assert(
	(int)NM_PORTSPEC_FULL_WAIT_MAX == (int)FULL_WAIT_MAX_MS, "what a name may say is possible");

/* Why this can't be passed through; NULL: it can, as far as the text goes. */
static const char *why_not(const struct nm_portspec *spec)
{
	const struct nmreq_register *reg = &spec->reg;

	if (spec->given & NM_SPEC_EXTMEM)
		return "@extmem is memory of an application; a device's port lies in memory of netmapd";
	if (spec->given & NM_SPEC_OFFSET)
		return "@offset is nothing that a ptnet device could tell its guest";
	if ((spec->given & NM_SPEC_FULL_WAIT) && !waits_for_receivers(spec))
		return "full-wait-ms: packets wait on switches only, between ports as vale1:10";
	if (reg->nr_host_tx_rings || reg->nr_host_rx_rings)
		return "a device has no host rings; the guest adds those of its own system";
	switch (reg->nr_mode) {
	case NR_REG_ALL_NIC:
		break;
	case NR_REG_ONE_NIC:
		return "a virtual machine takes all rings of a port, not a single one";
	case NR_REG_SW:
	case NR_REG_NIC_SW:
	case NR_REG_ONE_SW:
		return "host rings can't be passed through; on the port in the guest, ^ and * mean those of the guest's system";
	case NR_REG_NULL:
		return "a null port moves no packets: a device of it would be of no use";
	default:
		return "this way to register is not one for a device";
	}
	if (reg->nr_flags & (NR_TX_RINGS_ONLY | NR_RX_RINGS_ONLY))
		return "a device has the rings of both directions; /T and /R can be used in the guest";
	return NULL;
}

/* @share: the id of the region that the port uses now. */
static int shared_region(
	struct vm *vm, const struct nm_portspec *spec, uint16_t *id, struct nm_error *err)
{
	struct nm_core *core = &vm->daemon->core;
	const struct nm_port *port;

	nm_core_lock(core);
	port = nm_port_find_locked(core, spec->share);
	*id = port && port->region ? port->region->id : 0;
	nm_core_unlock(core);
	if (*id)
		return 0;
	return nm_error_set(err, -ENXIO, "%s: @share=%s: %s", spec->name, spec->share,
		port ? "the port is not in use, so it has no memory to share" : "no such port");
}

static struct nm_region *make_nic_region(struct vm *vm, struct nm_error *err)
	OS_REQUIRES(NM_CORE_LOCK)
{
	struct nm_core *core = &vm->daemon->core;
	struct nm_region_params params = vm->daemon->config.vm_region;

	params.nic = true;
	params.count[NM_POOL_BUF] = core->nic_bufs;
	vm->nic_region = nm_region_create(core, &params, 0, err);
	if (vm->nic_region)
		vm->nic_region->reserved = true;
	return vm->nic_region;
}

/* The machine's own region, in which the port lies if it can lie anywhere; a NIC in that for NICs. */
static int choose_own_region(
	struct vm *vm, struct vm_port *port, const char *name, struct nm_error *err)
{
	struct nm_core *core = &vm->daemon->core;
	struct nm_region *region = vm->regions[0].region;
	const struct nm_port *found;

	nm_core_lock(core);
	found = nm_port_find_locked(core, name);
	if (found && nic_is(found))
		region = vm->nic_region ? vm->nic_region : make_nic_region(vm, err);
	nm_core_unlock(core);
	port->client.own_region = region;
	return region ? 0 : err->code;
}

int vm_port_name(const char *ifname, char name[NETMAP_REQ_IFNAMSIZ], struct nm_error *err)
{
	struct nm_portspec spec;
	int error = nm_portspec_parse(ifname, NULL, &spec, err);

	if (!error)
		memcpy(name, spec.name, NETMAP_REQ_IFNAMSIZ);
	return error;
}

/* Is it the user's to have? The memory of a port that he may have is his as well. */
static int may_bind(struct vm *vm, const struct nm_portspec *spec, const struct nm_bind *bind,
	struct nm_error *err)
{
	uint32_t uid = account_uid(vm->user);

	if (spec->given & NM_SPEC_SHARE) {
		int error = policy_port(uid, spec->share, err);

		if (error)
			return error;
	}
	return policy_bind(
		&vm->daemon->core, uid, spec->name, bind->mode, bind->flags, bind->mem_id, err);
}

/* From the user's text to a bound client. */
static int bind_port(struct vm *vm, struct vm_port *port, const char *ifname, struct nm_error *err)
{
	struct nm_portspec spec;
	struct nm_bind bind;
	int error = nm_portspec_parse(ifname, NULL, &spec, err);
	const char *why = error ? NULL : why_not(&spec);

	if (error)
		return error;
	if (why) {
		return nm_error_set(err, -EOPNOTSUPP, "%.100s: %s", ifname, why);
	}
	bind = (struct nm_bind){
		.mode = spec.reg.nr_mode,
		.flags = spec.reg.nr_flags | NR_ACCEPT_VNET_HDR,
		.ringid = spec.reg.nr_ringid,
		.mem_id = spec.reg.nr_mem_id,
		.num_rings = {spec.reg.nr_tx_rings, spec.reg.nr_rx_rings},
		.num_slots = {spec.reg.nr_tx_slots, spec.reg.nr_rx_slots},
	};
	if (spec.given & NM_SPEC_SHARE)
		error = shared_region(vm, &spec, &bind.mem_id, err);
	if (!error)
		error = may_bind(vm, &spec, &bind, err);
	if (error)
		return error;
	error = choose_own_region(vm, port, spec.name, err);
	if (error)
		return error;
	port->client.exclusive_only = true;
	port->client.in_parts = true;
	error = nm_client_bind(&port->client, spec.name, &bind);
	if (error)
		return nm_error_set(err, error, "%s", port->client.err.text);
	/* Its packets have no header before a driver asks for one. */
	full_wait_of_new(vm->daemon, port->client.port);
	if (spec.given & NM_SPEC_FULL_WAIT)
		full_wait_of_user(port->client.port, spec.full_wait_ms);
	return 0;
}

/* What only the bound port shows. */
static int check_shape(const struct vm_port *port, struct nm_error *err)
{
	const uint32_t *rings = port->client.count;

	if (rings[NM_TX] == 0 || rings[NM_RX] == 0)
		return nm_error_set(err, -EOPNOTSUPP,
			"%.100s: has %u tx and %u rx rings; a device needs both: it is not a port that moves packets",
			port->ifname, rings[NM_TX], rings[NM_RX]);
	if (rings[NM_TX] + rings[NM_RX] > PTNET_MAX_RINGS)
		return nm_error_set(err, -EINVAL,
			"%.100s: %u rings; a port of a virtual machine has at most %d, both directions together",
			port->ifname, rings[NM_TX] + rings[NM_RX], PTNET_MAX_RINGS);
	return 0;
}

/* ---- its device ----------------------------------------------------------------------------- */

static int open_memory(struct vm *vm, struct vm_port *port, struct nm_error *err)
{
	struct vm_region *region;
	int error;

	region = vm_region_get(vm, port->client.port->region, err);
	if (!region)
		return err->code;
	error = vm_region_join(region, port->client.port, err);
	if (!error)
		error = vm_region_open(vm, region, err);
	port->region = region;
	return error;
}

static uint32_t all_rings(const struct vm_port *port)
{
	return port->client.count[NM_TX] + port->client.count[NM_RX];
}

/* All descriptors that its hypervisor can make it open are paid for now. */
static int open_device(struct vm *vm, struct vm_port *port, struct nm_error *err)
{
	const char *ifname = port->ifname;
	char name[2 * NMD_NAME_MAX];
	struct ptnet_net_config config = {
		.name = name, .payer = account_quota(vm->user), .budget = account_budget(vm->user)};
	uint32_t descriptors = FDS_OF_PORT + GUESTMEM_FILES_MAX + all_rings(port);
	int error = nm_quota_take(account_quota(vm->user), LIMIT_DESCRIPTORS, descriptors, err);

	if (error)
		return error;
	port->descriptors = descriptors;

	memcpy(config.mac, port->mac, sizeof(config.mac));
	if (port_service_has_hdr(port->service))
		config.offered |= PTNETMAP_F_VNET_HDR;
	if (port_service_has_rss(port->service))
		config.offered |= PTNETMAP_F_RSS;
	if (port_service_cuts_unknown(port->service))
		config.offered |= PTNETMAP_F_STACK;
	snprintf(name, sizeof(name), "vm%u %.80s", vm->number, ifname);
	snprintf(port->path, sizeof(port->path), "%.90s/net%u", vm->dir, vm->num_ports);
	unlink(port->path);
	error = ptnet_net_new(vm->daemon->loop, port->path, &config, port->service, &port->net);
	if (!error)
		vu_server_serve_only(
			ptnet_net_server(port->net), account_uid(vm->user), policy_active());
	if (error)
		nm_error_set(err, error, "%.80s: no device for it at %s: %s", ifname, port->path,
			strerror(-error));
	return error;
}

/* Others may still hold it. */
static void leave_port(struct vm_port *port)
{
	struct nm_core *core = port->client.core;

	nm_core_lock(core);
	if (port->client.port)
		port->client.port->guest_part = false;
	nm_core_unlock(core);
	nm_client_unbind(&port->client);
}

int vm_port_go_on(struct vm *vm, struct vm_port *port, struct nm_error *err)
{
	int error = nm_client_go_on(&port->client, NM_SLOTS_PER_PART);

	if (error > 0)
		return error;
	if (error)
		return nm_error_set(err, error, "%s", port->client.err.text);
	port->service = port_service_open(vm->daemon, &port->client, err);
	if (!port->service)
		return err->code;
	error = open_memory(vm, port, err);
	return error ? error : open_device(vm, port, err);
}

static void choose_mac(struct vm_port *port, const uint8_t mac[6])
{
	static const uint8_t zero[6];

	if (memcmp(mac, zero, sizeof(zero)) != 0) {
		memcpy(port->mac, mac, sizeof(port->mac));
		return;
	}
	os_random(port->mac, sizeof(port->mac));
	port->mac[0] = 0x02; /* administered locally, unicast */
}

struct vm_port *vm_port_new(
	struct vm *vm, const char *ifname, const uint8_t mac[6], struct nm_error *err)
{
	struct vm_port *port = os_zalloc(sizeof(*port));
	int error;

	if (!port) {
		nm_error_set(err, -ENOMEM, "%.100s: out of memory", ifname);
		return NULL;
	}
	nm_client_init(&port->client, &vm->daemon->core);
	port->user = vm->user;
	port->client.user = account_uid(vm->user);
	port->client.no_shared = !policy_is_admin(account_uid(vm->user));
	choose_mac(port, mac);
	snprintf(port->ifname, sizeof(port->ifname), "%s", ifname);
	error = bind_port(vm, port, ifname, err);
	if (!error)
		error = check_shape(port, err);
	if (!error)
		return port;
	vm_port_free(port);
	return NULL;
}

/* Outermost first, so that nothing refers to what is freed: device, service, port. The region is
 * the machine's. */
void vm_port_free(struct vm_port *port)
{
	ptnet_net_free(port->net);
	nm_quota_give(account_quota(port->user), LIMIT_DESCRIPTORS, port->descriptors);
	port_service_close(port->service);
	leave_port(port);
	os_free(port);
}
