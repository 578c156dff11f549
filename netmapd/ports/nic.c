/* SPDX-License-Identifier: BSD-2-Clause */
/* Network interfaces: who asks for one and waits, and what netmapd-nic tells. The port is in nic_port.c. */
#include "nic_internal.h"

#include <net/if.h>
#include <stdio.h>

#include "bufown.h"
#include "names.h"
#include "os_user.h"
#include "tap.h"
#include "vm.h"

enum { FDS_OF_LINK = 2 }; /* its connection, its eventfd */

static const struct nic_link_ops link_ops;

static struct nm_core *core_of(const struct nic *nic)
{
	return &nic->nics->daemon->core;
}

/* ---- waiting --------------------------------------------------------------------------------------- */

/* It stays until all were told, of whom the last may have ended. */
static void tell(struct nic *nic, const uint32_t *host_user, const struct nm_error *err)
{
	nic->telling = true;
	port_waits_tell(&nic->waits, host_user, err);
	nic->telling = false;
}

/* ---- coming and going ------------------------------------------------------------------------------ */

int nic_pay(struct nic *nic, uint32_t descriptors, struct nm_error *err)
{
	int error = nm_quota_take(account_quota(nic->account), LIMIT_DESCRIPTORS, descriptors, err);

	if (!error)
		nic->descriptors += descriptors;
	return error;
}

static void pay_back(struct nic *nic)
{
	nm_quota_give(account_quota(nic->account), LIMIT_DESCRIPTORS, nic->descriptors);
	nic->descriptors = 0;
}

static void free_nic(struct nic *nic)
{
	struct nic **link = &nic->nics->list;

	os_assert(!nic->port && !nic->link && !nic->waits.first);
	while (*link != nic)
		link = &(*link)->next;
	*link = nic->next;
	pay_back(nic);
	account_put(nic->account);
	os_free(nic);
}

void nic_free_unused(struct nic *nic)
{
	if (!nic->port && !nic->link && !nic->waits.first && !nic->telling)
		free_nic(nic);
}

void nic_close_link(struct nic *nic)
{
	if (nic->link && nic->state != NIC_CLOSING)
		nic_link_close(nic->link);
	nic->state = NIC_CLOSING;
}

static struct nic *find(struct daemon *d, const char *name)
{
	struct nic *nic = d->nics->list;

	while (nic && strcmp(nic->name, name) != 0)
		nic = nic->next;
	return nic;
}

static int open_link(struct nic *nic, struct nm_error *err)
{
	struct daemon *d = nic->nics->daemon;
	int error = nic_pay(nic, FDS_OF_LINK, err);

	if (error)
		return error;
	nic->state = NIC_ASKED;
	nic->link = nic_link_new(
		d->loop, d->config.nic_socket, nic->name, nic->user, &link_ops, nic, err);
	if (!nic->link)
		pay_back(nic);
	return nic->link ? 0 : err->code;
}

static struct nic *new_nic(struct daemon *d, const char *name, uint32_t user, struct nm_error *err)
{
	struct nic *nic = os_zalloc(sizeof(*nic));

	if (!nic) {
		nm_error_set(err, -ENOMEM, "%s: out of memory", name);
		return NULL;
	}
	nic->nics = d->nics;
	port_waits_init(&nic->waits);
	nic->user = user;
	snprintf(nic->name, sizeof(nic->name), "%s", name);
	nic->account = account_get(user, err);
	if (!nic->account || open_link(nic, err) != 0) {
		account_put(nic->account);
		os_free(nic);
		return NULL;
	}
	nic->next = d->nics->list;
	d->nics->list = nic;
	return nic;
}

/* ---- what netmapd-nic tells ------------------------------------------------------------------------- */

/* Not to be had, or gone: the port is dead, if it is used. Those who wait undo what they have made. */
static void fail(struct nic *nic, const struct nm_error *err)
{
	struct nm_core *core = core_of(nic);

	log_about(nic->name, NULL);
	os_log(OS_LOG_WARN, "%s: %s", nic->name, err->text);
	nic->failed = *err;
	nic_halt(nic);
	nic_close_link(nic); /* before the ports pause, and resume only what runs */
	if (nic->port && nic->port->region) {
		nm_core_lock(core);
		nm_bufown_reconcile_region(nic->port->region, nic->port);
		nm_core_unlock(core);
	}
	tell(nic, NULL, &nic->failed);
	if (!nic->port)
		return;
	nm_core_lock(core);
	nm_port_remove_locked(nic->port);
	nm_core_unlock(core);
	vm_ports_check(nic->nics->daemon);
}

static void on_failed(void *arg, struct nic_link *link, const struct nm_error *err)
{
	fail(arg, err);
}

static void on_known(void *arg, struct nic_link *link)
{
	struct nic *nic = arg;
	struct nm_core *core = core_of(nic);
	struct nm_error err;
	int error;

	nm_core_lock(core);
	core->payer = account_quota(nic->account);
	error = nic->port ? nic_check_port(nic, &err) : nic_make_port(nic, &err);
	core->payer = NULL;
	nm_core_unlock(core);
	if (error) {
		fail(nic, &err);
		return;
	}
	nic->state = NIC_IDLE;
	tell(nic, NULL, NULL);
	nm_core_lock(core);
	if (nic->port)
		nm_port_unused_locked(nic->port); /* nobody wants it any more */
	nm_core_unlock(core);
}

static void on_opened(void *arg, struct nic_link *link)
{
	struct nic *nic = arg;
	struct nm_error err;

	if (link->num_queues != nic->num_queues) {
		nm_error_set(&err, -EAGAIN,
			"%s: it has %u queues now, and had %u when its port was made; try again",
			nic->name, link->num_queues, nic->num_queues);
		fail(nic, &err);
		return;
	}
	nm_core_lock(core_of(nic));
	nic_fill(nic);
	nm_core_unlock(core_of(nic));
	nic_link_bind(link);
}

static void on_bound(void *arg, struct nic_link *link)
{
	static const char *const modes[NIC_MODES] = {"an unknown mode", "zero copy",
		"native mode, the kernel copies", "generic mode, the kernel copies"};
	struct nic *nic = arg;
	struct nm_error err;
	int error;

	nic->state = NIC_RUNNING;
	nic_take_facts(nic);
	error = nic_go(nic);
	if (error) {
		nm_error_set(&err, error, "%s: its sockets can't be waited for: %s", nic->name,
			strerror(-error));
		fail(nic, &err);
		return;
	}
	log_about(nic->name, NULL);
	os_log(OS_LOG_INFO, "%s: %u queue%s of %s, %s%s%s", nic->name, nic->num_queues,
		nic->num_queues == 1 ? "" : "s", link->facts.driver,
		modes[link->mode < NIC_MODES ? link->mode : 0], link->why[0] ? ": " : "",
		link->why);
	nic_warn(nic);
	nm_core_lock(core_of(nic));
	nic_tell_users(nic);
	nm_core_unlock(core_of(nic));
	if (nic_users_told(nic))
		tell(nic, NULL, NULL);
}

static void on_used(void *arg, struct nic_link *link, const int *fds, uint32_t num_fds,
	const struct nm_error *refused)
{
	struct nic *nic = arg;
	struct nm_error err;
	uint32_t user;
	bool host;
	int error;

	nm_core_lock(core_of(nic));
	error = nic_host_used(nic, fds, num_fds, refused, &host, &user, &err);
	nm_core_unlock(core_of(nic));
	log_about(nic->name, NULL);
	if (error)
		os_log(OS_LOG_WARN, "%s: no %s rings: %s", nic->name, host ? "host" : "hardware",
			err.text);
	else if (num_fds > 0)
		os_log(OS_LOG_INFO, "%s: host rings, by the interface %s", nic->name, link->twin);
	if (error) /* who wants no host rings waits for the next answer */
		tell(nic, host ? &user : NULL, &err);
	nm_core_lock(core_of(nic));
	nic_tell_users(nic);
	nm_core_unlock(core_of(nic));
	if (nic->state == NIC_RUNNING && nic_users_told(nic))
		tell(nic, NULL, NULL);
}

static void on_changed(void *arg, struct nic_link *link)
{
	struct nic *nic = arg;
	struct nm_core *core = core_of(nic);
	int carrier = nic->carrier;

	nic_take_facts(nic);
	if (nic->state == NIC_RUNNING &&
		(nic->warned_queues != link->facts.queues || nic->warned_mtu != link->facts.mtu))
		nic_warn(nic);
	if (carrier != nic->carrier)
		os_log(OS_LOG_INFO, "%s: link is %s", nic->name, nic->carrier ? "up" : "down");
	if (strcmp(nic->name, link->facts.ifname) == 0)
		return;
	os_log(OS_LOG_INFO, "%s: its name is %s now", nic->name, link->facts.ifname);
	nm_core_lock(core);
	if (nic->port && nm_port_rename_locked(nic->port, link->facts.ifname) != 0)
		os_log(OS_LOG_WARN, "%s: another port is called %s; the port's name stays",
			nic->name, link->facts.ifname);
	else
		snprintf(nic->name, sizeof(nic->name), "%s", link->facts.ifname);
	nm_core_unlock(core);
}

/* Buffers are free, if it is certain. */
static void give_back(struct nic *nic, int error)
{
	struct nm_core *core = core_of(nic);

	if (!nic->region)
		return;
	if (error) {
		os_log(OS_LOG_ERR,
			"%s: it is not certain that the kernel has let go of its buffers (%s): they stay unused, with memory region %u",
			nic->name, strerror(-error), nic->region->id);
		return;
	}
	nm_core_lock(core);
	nm_bufown_free_owner(nic->region, nic->held);
	nm_region_put(nic->region);
	nm_core_unlock(core);
	nic->region = NULL;
}

static void on_gone(void *arg, int error)
{
	struct nic *nic = arg;
	struct nm_error err;

	nic->link = NULL;
	pay_back(nic);
	nic->unproven |= error != 0;
	give_back(nic, error);
	/* Pipes and monitors keep a port that nobody uses. */
	if (nic->port && !nic->failed.code && open_link(nic, &err) == 0)
		return;
	tell(nic, NULL, NULL); /* those who wait to ask again */
	nic_free_unused(nic);
}

static const struct nic_link_ops link_ops = {
	.known = on_known,
	.opened = on_opened,
	.bound = on_bound,
	.changed = on_changed,
	.used = on_used,
	.failed = on_failed,
	.gone = on_gone,
};

/* Somebody else has removed the interface that leads to host rings. Whoever is told may end, and others with him. */
static void twins_gone(void *arg)
{
	struct nics *nics = arg;
	struct nic *nic = nics->list;
	struct nm_error err;

	while (nic) {
		if (!nic->host.gone || nic->state != NIC_RUNNING) {
			nic = nic->next;
			continue;
		}
		nm_error_set(&err, -ENXIO,
			"%s: the interface %s was removed, which led to its host rings", nic->name,
			nic->host.ifname);
		nic->host.gone = false;
		fail(nic, &err);
		nic = nics->list;
	}
}

/* ---- who asks --------------------------------------------------------------------------------------- */

/* "eth0" of "eth0", "eth0{1", and, to attach, "vale0:eth0"; false: nothing that could be an interface. */
static bool device_of(const char *name, bool attach, char device[IFNAMSIZ])
{
	struct nm_name parsed;
	struct nm_error err;
	const char *base;

	if (nm_name_parse(name, &parsed, &err) != 0)
		return false;
	base = attach ? parsed.port : parsed.base;
	if ((parsed.kind == NM_NAME_VALE) != attach || !base[0] || strlen(base) >= IFNAMSIZ)
		return false;
	memcpy(device, base, strlen(base) + 1);
	return true;
}

static int check_user(const struct nic *nic, uint32_t user, struct nm_error *err)
{
	if (user == nic->user || user == NM_USER_ROOT)
		return 0;
	return nm_error_set(err, -EPERM, "%s: in use by user %u", nic->name, nic->user);
}

static bool is_registered(struct daemon *d, const char *name)
{
	bool found;

	nm_core_lock(&d->core);
	found = nm_port_find_locked(&d->core, name) != NULL;
	nm_core_unlock(&d->core);
	return found;
}

/* A netmapd-nic that the system runs may be in another network namespace, and netmapd in one without interfaces: it knows. */
static bool may_exist(const struct daemon *d, const char *device)
{
	return d->config.nic_socket || if_nametoindex(device) != 0;
}

/* Its port outlived the link: netmapd-nic was not there to be asked. */
static int ask_again(struct nic *nic, uint32_t user, struct port_wait *wait, struct nm_error *err)
{
	int error = check_user(nic, user, err);

	if (!error)
		error = open_link(nic, err);
	return error ? error : port_wait_for(&nic->waits, wait);
}

int nics_ask(struct daemon *d, const char *name, bool attach, uint32_t user, struct port_wait *wait,
	struct tap_wait *tap_wait, struct nm_error *err)
{
	char device[IFNAMSIZ];
	struct nic *nic;

	if (d->config.no_nics || !device_of(name, attach, device))
		return 0;
	nic = find(d, device);
	if (nic && !nic->link && nic->port && !nic->failed.code)
		return ask_again(nic, user, wait, err);
	if (nic && nic->port && nic->state != NIC_ASKED && nic->state != NIC_CLOSING)
		return check_user(nic, user, err);
	if (nic && nic->link)
		return port_wait_for(&nic->waits, wait);
	if (is_registered(d, device))
		return 0;
	if (taps_ask(d, TAP_WANT_NAME, device, tap_wait) != 0)
		return NICS_WAIT_FOR_TAP; /* it is no NIC, nor is it gone */
	if (!may_exist(d, device))
		return 0;
	nic = new_nic(d, device, user, err);
	return nic ? port_wait_for(&nic->waits, wait) : err->code;
}

int nics_ready(struct daemon *d, const char *name, bool attach, bool host, uint32_t user,
	struct port_wait *wait)
{
	char device[IFNAMSIZ];
	struct nic *nic = device_of(name, attach, device) ? find(d, device) : NULL;

	wait->host = host;
	wait->user = user;
	if (nic && host) {
		nm_core_lock(&d->core);
		nic_want_host(nic, user);
		nm_core_unlock(&d->core);
	}
	return nic && (nic->state == NIC_OPENING || !nic_users_told(nic))
		       ? port_wait_for(&nic->waits, wait)
		       : 0;
}

/* ---- life ------------------------------------------------------------------------------------------- */

int nics_init(struct daemon *d)
{
	int error;

	d->nics = os_zalloc(sizeof(*d->nics));
	if (!d->nics)
		return -ENOMEM;
	d->nics->daemon = d;
	error = tap_watch_init(&d->nics->watch, d->loop, twins_gone, d->nics);
	if (error) {
		os_free(d->nics);
		d->nics = NULL;
		return error;
	}
	return nic_poll_init();
}

/* Whatever is left of them ends with the process. */
void nics_close(struct daemon *d)
{
	struct nic *next;

	for (struct nic *nic = d->nics ? d->nics->list : NULL; nic; nic = next) {
		next = nic->next;
		if (nic->link)
			nic_link_abandon(nic->link);
		nic->link = NULL;
		nm_core_lock(&d->core);
		nm_region_put(nic->region);
		nic->region = NULL;
		nm_core_unlock(&d->core);
		nic_free_unused(nic);
	}
}

void nics_exit(struct daemon *d)
{
	if (!d->nics)
		return;
	while (d->nics->list)
		free_nic(d->nics->list);
	nic_poll_exit();
	tap_watch_exit(&d->nics->watch);
	os_free(d->nics);
	d->nics = NULL;
}
