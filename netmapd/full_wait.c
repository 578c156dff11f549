/* SPDX-License-Identifier: BSD-2-Clause */
#include "full_wait.h"
#include "accounts.h"
#include "attachment.h"
#include "daemon.h"
#include "names.h"
#include "proto.h"
#include "vm.h"

#include <stdlib.h>

bool full_wait_is_switch(const char *name)
{
	return !strchr(name, ':');
}

static int check_ms(const char *name, uint64_t ms, struct nm_error *err)
{
	if (ms <= FULL_WAIT_MAX_MS)
		return 0;
	return nm_error_set(err, -EINVAL,
		"%.40s: packets can't wait for %llu ms; 0 to %d are possible", name,
		(unsigned long long)ms, FULL_WAIT_MAX_MS);
}

/* The name of a switch is what is in front of the colon of a port's. */
static int check_switch(const char *name, struct nm_name *parsed, struct nm_error *err)
{
	char port[NETMAP_REQ_IFNAMSIZ + 2];
	int error;

	if (os_snprintf(port, sizeof(port), "%s:x", name) >= NETMAP_REQ_IFNAMSIZ)
		return nm_error_set(err, -EINVAL, "%.40s: too long for the name of a switch", name);
	error = nm_name_parse(port, parsed, err);
	if (error || parsed->kind != NM_NAME_VALE || parsed->pipe != NM_PIPE_NONE)
		return nm_error_set(
			err, -EINVAL, "\"%.40s\" is not the name of a switch, as vale1", name);
	return 0;
}

static int check_port(const char *name, struct nm_name *parsed, struct nm_error *err)
{
	int error = nm_name_parse(name, parsed, err);

	if (error)
		return error;
	if (parsed->kind != NM_NAME_VALE || parsed->pipe != NM_PIPE_NONE)
		return nm_error_set(err, -EINVAL,
			"%.63s: packets wait on switches only, between ports as vale1:10", name);
	return 0;
}

/* Of either. What stands in the table in *key: a device's host rings, vale1:eth1^, have what the device has. */
static int check_name(const char *name, char key[NETMAP_REQ_IFNAMSIZ], struct nm_error *err)
{
	bool is_switch = full_wait_is_switch(name);
	struct nm_name parsed;
	int error = is_switch ? check_switch(name, &parsed, err) : check_port(name, &parsed, err);

	if (error)
		return error;
	memcpy(key, is_switch ? parsed.sw_name : parsed.base, NETMAP_REQ_IFNAMSIZ);
	key[strcspn(key, "^")] = '\0';
	return 0;
}

static uint32_t find(const struct full_wait_bounds *bounds, const char *name)
{
	uint32_t i = 0;

	while (i < bounds->count && strcmp(bounds->of[i].name, name) != 0)
		i++;
	return i;
}

static void remove_bound(struct full_wait_bounds *bounds, const char *name)
{
	uint32_t i = find(bounds, name);

	if (i < bounds->count)
		bounds->of[i] = bounds->of[--bounds->count];
}

static int set_bound(
	struct full_wait_bounds *bounds, const char *name, uint32_t ms, struct nm_error *err)
{
	uint32_t i = find(bounds, name);

	if (i == FULL_WAIT_NAMES)
		return nm_error_set(err, -ENOSPC,
			"%s: %d switches and ports have a bound of their own, the most that can; netmapctl full-wait NAME any takes one back",
			name, FULL_WAIT_NAMES);
	if (i == bounds->count)
		memcpy(bounds->of[bounds->count++].name, name, strlen(name) + 1);
	bounds->of[i].ms = ms;
	return 0;
}

/* What is as for all others needs no entry. */
static int set_switch(
	struct full_wait_bounds *bounds, const char *sw_name, uint32_t ms, struct nm_error *err)
{
	if (ms != bounds->all && ms != NMD_FULL_WAIT_ANY)
		return set_bound(bounds, sw_name, ms, err);
	remove_bound(bounds, sw_name);
	return 0;
}

int full_wait_option(struct full_wait_bounds *bounds, const char *text, struct nm_error *err)
{
	const char *digits = strrchr(text, '=');
	char name[NETMAP_REQ_IFNAMSIZ], key[NETMAP_REQ_IFNAMSIZ];
	uint64_t ms;
	char *end;
	int error;

	digits = digits ? digits + 1 : text;
	errno = 0;
	ms = strtoull(digits, &end, 10);
	if (errno || *end || *digits < '0' || *digits > '9')
		return nm_error_set(err, -EINVAL,
			"\"%.60s\" is no time, 0 to %d, with the name of a switch in front or without, as vale1=50",
			text, FULL_WAIT_MAX_MS);
	error = check_ms(text, ms, err);
	if (error)
		return error;
	if (digits == text) {
		bounds->all = (uint32_t)ms;
		return 0;
	}
	if (digits - 1 - text >= (ptrdiff_t)sizeof(name))
		return nm_error_set(err, -EINVAL, "\"%.60s\": too long for a name", text);
	os_snprintf(name, sizeof(name), "%.*s", (int)(digits - 1 - text), text);
	error = check_name(name, key, err);
	return error ? error : set_bound(bounds, key, (uint32_t)ms, err);
}

static void store(struct nm_port *port, uint32_t ms)
{
	OS_STORE(&port->full_wait_us, 1000 * ms);
}

void full_wait_of_user(struct nm_port *port, uint32_t ms)
{
	os_assert(ms <= FULL_WAIT_MAX_MS);
	store(port, ms);
}

/* Of the port, else of its switch, else of all. */
static uint32_t bound_of(const struct full_wait_bounds *bounds, const struct nm_port *port)
{
	struct nm_name name;
	struct nm_error err;
	uint32_t i;

	if (nm_name_parse(port->name, &name, &err) != 0 || name.kind != NM_NAME_VALE)
		return bounds->all;
	name.base[strcspn(name.base, "^")] = '\0';
	i = find(bounds, name.base);
	if (i == bounds->count)
		i = find(bounds, name.sw_name);
	return i < bounds->count ? bounds->of[i].ms : bounds->all;
}

void full_wait_of_new(const struct daemon *d, struct nm_port *port)
{
	store(port, bound_of(&d->config.full_wait, port));
}

/* As if it were new, if it is that port (the name ends there), its host rings, or on that switch. 1: it is. */
static uint32_t renew(const struct daemon *d, struct nm_port *port, const char *name)
{
	size_t len = name ? strlen(name) : 0;

	if (!port ||
		(name && (strncmp(port->name, name, len) != 0 || !strchr(":^", port->name[len]))))
		return 0;
	full_wait_of_new(d, port);
	return 1;
}

/* Those that have their bound from their name or their switch (NULL: any): of machines, and those behind which the host's stack is.
 * Returns how many; an application's, which has none of its own accord, is none of them. */
static uint32_t renew_ports_locked(struct daemon *d, const char *name) OS_REQUIRES(NM_CORE_LOCK)
{
	uint32_t count = 0;

	for (const struct vm *vm = d->vms; vm; vm = vm->next)
		for (uint32_t i = 0; i < vm->num_ports; i++)
			count += renew(d, vm->ports[i]->client.port, name);
	for (const struct nm_attachment *att = d->core.attachments; att; att = att->next)
		count += renew(d, att->sw.port, name) + renew(d, att->sw_host.port, name);
	return count;
}

static void renew_ports(struct daemon *d, const char *name)
{
	nm_core_lock(&d->core);
	renew_ports_locked(d, name);
	nm_core_unlock(&d->core);
}

void full_wait_set_all(struct daemon *d, uint32_t ms)
{
	d->config.full_wait.all = ms;
	renew_ports(d, NULL);
}

/* NULL with *err: -ENOENT, or -EPERM. */
static struct nm_port *find_port_locked(struct nm_core *core, uint32_t owner, const char *name,
	struct nm_error *err) OS_REQUIRES(NM_CORE_LOCK)
{
	struct nm_port *port = nm_port_find_locked(core, name);

	if (!port) {
		nm_error_set(err, -ENOENT, "%s: no such port", name);
	} else if (owner != NM_USER_ANY && accounts_payer(port->payer) != owner) {
		nm_error_set(err, -EPERM,
			"%s: another user has made it; its user and root can change that", name);
		port = NULL;
	}
	return port;
}

static bool is_device(struct nm_core *core, const char *name) OS_REQUIRES(NM_CORE_LOCK)
{
	const struct nm_attachment *att = core->attachments;

	while (att && strcmp(att->name, name) != 0)
		att = att->next;
	return att != NULL;
}

/*
 * A device has its name for as long as it is attached: what an administrator sets for it is as if a configuration said so. So is
 * what he sets for a port of which it says something.
 */
static int set_port_locked(struct daemon *d, uint32_t owner, const char *name, uint32_t ms,
	struct nm_error *err) OS_REQUIRES(NM_CORE_LOCK)
{
	struct full_wait_bounds *bounds = &d->config.full_wait;
	char key[NETMAP_REQ_IFNAMSIZ];
	struct nm_port *port;
	int error = check_name(name, key, err);

	if (error)
		return error;
	port = find_port_locked(&d->core, owner, name, err);
	if (!port)
		return err->code;
	if (owner != NM_USER_ANY ||
		(!is_device(&d->core, key) && find(bounds, key) == bounds->count)) {
		store(port, ms);
		return 0;
	}
	error = set_bound(bounds, key, ms, err);
	if (!error && renew_ports_locked(d, key) == 0)
		store(port, ms);
	return error;
}

/* What an administrator takes back for a name needs no port that is there. */
static int set_port_back_locked(struct daemon *d, uint32_t owner, const char *name,
	struct nm_error *err) OS_REQUIRES(NM_CORE_LOCK)
{
	struct full_wait_bounds *bounds = &d->config.full_wait;
	struct nm_port *port;
	char key[NETMAP_REQ_IFNAMSIZ];
	int error = check_name(name, key, err);

	if (error)
		return error;
	port = find_port_locked(&d->core, owner, name, err);
	if (!port && (owner != NM_USER_ANY || find(bounds, key) == bounds->count))
		return err->code;
	if (owner == NM_USER_ANY)
		remove_bound(bounds, key);
	if (renew_ports_locked(d, key) == 0 && port)
		store(port, 0);
	return 0;
}

static int set_port(
	struct daemon *d, uint32_t owner, const char *name, uint32_t ms, struct nm_error *err)
{
	struct nm_name parsed;
	int error = check_port(name, &parsed, err);

	if (error)
		return error;
	nm_core_lock(&d->core);
	error = ms == NMD_FULL_WAIT_ANY ? set_port_back_locked(d, owner, parsed.base, err)
					: set_port_locked(d, owner, parsed.base, ms, err);
	nm_core_unlock(&d->core);
	return error;
}

int full_wait_set(
	struct daemon *d, uint32_t owner, const char *name, uint32_t ms, struct nm_error *err)
{
	struct nm_name parsed;
	int error = ms == NMD_FULL_WAIT_ANY ? 0 : check_ms(name, ms, err);

	if (error)
		return error;
	if (!full_wait_is_switch(name))
		return set_port(d, owner, name, ms, err);
	error = check_switch(name, &parsed, err);
	if (!error)
		error = set_switch(&d->config.full_wait, parsed.sw_name, ms, err);
	if (!error)
		renew_ports(d, parsed.sw_name);
	return error;
}

int full_wait_rule(struct daemon *d, const struct config_item *item, struct nm_error *err)
{
	char key[NETMAP_REQ_IFNAMSIZ];
	int error = check_name(item->name, key, err);

	if (error)
		return error;
	if (item->count > 0)
		error = set_bound(&d->config.full_wait, key, item->numbers[0], err);
	else
		remove_bound(&d->config.full_wait, key);
	if (!error)
		renew_ports(d, key);
	return error;
}

json_t *full_wait_json(const struct daemon *d)
{
	const struct full_wait_bounds *bounds = &d->config.full_wait;
	json_t *out = json_array();

	for (uint32_t i = 0; i < bounds->count; i++)
		json_array_append_new(out, json_pack("{s:s, s:i}", "name", bounds->of[i].name, "ms",
						   (int)bounds->of[i].ms));
	return out;
}
