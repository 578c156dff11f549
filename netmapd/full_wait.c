/* SPDX-License-Identifier: BSD-2-Clause */
#include "full_wait.h"
#include "accounts.h"
#include "attachment.h"
#include "daemon.h"
#include "names.h"
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
			err, -EINVAL, "%.40s: is not the name of a switch, as vale1", name);
	return 0;
}

static uint32_t find(const struct full_wait_bounds *bounds, const char *sw_name)
{
	uint32_t i = 0;

	while (i < bounds->count && strcmp(bounds->of[i].sw_name, sw_name) != 0)
		i++;
	return i;
}

/* What is as for all others needs no entry. */
static int set_switch(
	struct full_wait_bounds *bounds, const char *sw_name, uint32_t ms, struct nm_error *err)
{
	uint32_t i = find(bounds, sw_name);

	if (ms == bounds->all) {
		if (i < bounds->count)
			bounds->of[i] = bounds->of[--bounds->count];
		return 0;
	}
	if (i == FULL_WAIT_SWITCHES)
		return nm_error_set(err, -ENOSPC,
			"%s: %d switches have a bound of their own, the most that can; set that of another one back to %u ms",
			sw_name, FULL_WAIT_SWITCHES, bounds->all);
	if (i == bounds->count)
		memcpy(bounds->of[bounds->count++].sw_name, sw_name, strlen(sw_name) + 1);
	bounds->of[i].ms = ms;
	return 0;
}

int full_wait_option(struct full_wait_bounds *bounds, const char *text, struct nm_error *err)
{
	const char *digits = strrchr(text, '=');
	char name[NETMAP_REQ_IFNAMSIZ];
	struct nm_name parsed;
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
	os_snprintf(name, sizeof(name), "%.*s", (int)(digits - 1 - text), text);
	error = check_switch(name, &parsed, err);
	return error ? error : set_switch(bounds, parsed.sw_name, (uint32_t)ms, err);
}

static void store(struct nm_port *port, uint32_t ms)
{
	OS_STORE(&port->full_wait_us, 1000 * ms);
}

void full_wait_of_new(const struct daemon *d, struct nm_port *port)
{
	const struct full_wait_bounds *bounds = &d->config.full_wait;
	struct nm_name name;
	struct nm_error err;
	uint32_t i = bounds->count;

	if (nm_name_parse(port->name, &name, &err) == 0 && name.kind == NM_NAME_VALE)
		i = find(bounds, name.sw_name);
	store(port, i < bounds->count ? bounds->of[i].ms : bounds->all);
}

/* As if it were new, if it is on that switch. */
static void renew(const struct daemon *d, struct nm_port *port, const char *sw_name)
{
	size_t len = sw_name ? strlen(sw_name) : 0;

	if (port &&
		(!sw_name || (strncmp(port->name, sw_name, len) == 0 && port->name[len] == ':')))
		full_wait_of_new(d, port);
}

/* Those that have their bound from their switch (NULL: any): of machines, and those behind which the host's stack is. */
static void renew_ports(struct daemon *d, const char *sw_name)
{
	nm_core_lock(&d->core);
	for (const struct vm *vm = d->vms; vm; vm = vm->next)
		for (uint32_t i = 0; i < vm->num_ports; i++)
			renew(d, vm->ports[i]->client.port, sw_name);
	for (const struct nm_attachment *att = d->core.attachments; att; att = att->next) {
		renew(d, att->sw.port, sw_name);
		renew(d, att->sw_host.port, sw_name);
	}
	nm_core_unlock(&d->core);
}

void full_wait_set_all(struct daemon *d, uint32_t ms)
{
	d->config.full_wait.all = ms;
	renew_ports(d, NULL);
}

static int set_port_locked(struct nm_core *core, uint32_t owner, const char *name, uint32_t ms,
	struct nm_error *err) OS_REQUIRES(NM_CORE_LOCK)
{
	struct nm_port *port = nm_port_find_locked(core, name);

	if (!port)
		return nm_error_set(err, -ENOENT, "%s: no such port", name);
	if (owner != NM_USER_ANY && accounts_payer(port->payer) != owner)
		return nm_error_set(err, -EPERM, "%s: another user has made it", name);
	store(port, ms);
	return 0;
}

static int set_port(
	struct daemon *d, uint32_t owner, const char *name, uint32_t ms, struct nm_error *err)
{
	struct nm_name parsed;
	int error = nm_name_parse(name, &parsed, err);

	if (error)
		return error;
	if (parsed.kind != NM_NAME_VALE || parsed.pipe != NM_PIPE_NONE)
		return nm_error_set(err, -EINVAL,
			"%.63s: packets wait on switches only, between ports as vale1:10", name);
	nm_core_lock(&d->core);
	error = set_port_locked(&d->core, owner, parsed.base, ms, err);
	nm_core_unlock(&d->core);
	return error;
}

int full_wait_set(
	struct daemon *d, uint32_t owner, const char *name, uint32_t ms, struct nm_error *err)
{
	struct nm_name parsed;
	int error = check_ms(name, ms, err);

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
