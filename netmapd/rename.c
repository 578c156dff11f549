/* SPDX-License-Identifier: BSD-2-Clause */
#include "rename.h"
#include "accounts.h"
#include "attachment.h"
#include "events.h"
#include "names.h"
#include "region.h"

static int parse(const char text[NMD_NAME_MAX], struct nm_name *name, struct nm_error *err)
{
	int error = nm_name_parse(text, name, err);

	if (error)
		return error;
	if (name->kind != NM_NAME_VALE || name->pipe != NM_PIPE_NONE)
		return nm_error_set(err, -EOPNOTSUPP,
			"%.63s: only ports of a switch, as vale1:10, can have another name", text);
	return 0;
}

static bool is_attached(const struct nm_port *port) OS_REQUIRES(NM_CORE_LOCK)
{
	for (const struct nm_attachment *att = port->core->attachments; att; att = att->next)
		if (att->sw.port == port || att->sw_host.port == port)
			return true;
	return false;
}

static int rename_locked(struct nm_core *core, uint32_t user, const struct nm_name *from,
	const struct nm_name *to, struct nm_error *err) OS_REQUIRES(NM_CORE_LOCK)
{
	struct nm_port *port = nm_port_find_locked(core, from->base);
	int error;

	if (!port)
		return nm_error_set(err, -ENOENT, "%s: no such port", from->base);
	if (user != NM_USER_ANY && accounts_payer(port->payer) != user)
		return nm_error_set(err, -EPERM,
			"%s: another user has made it; its user and root can rename it",
			from->base);
	if (port->pins > 0 || is_attached(port))
		return nm_error_set(err, -EBUSY,
			"%s: pipes, monitors or a device go by this name: it stays until they are gone",
			from->base);
	error = nm_port_rename_locked(port, to->base);
	if (error == -EEXIST)
		return nm_error_set(err, error, "%s: another port has this name", to->base);
	if (error)
		return nm_error_set(err, error, "%s can't be named %s", from->base, to->base);
	events_add(NMD_EVENT_PORT_NAMED, port->name, accounts_payer(port->payer), "%s", from->base);
	return 0;
}

int rename_port(struct daemon *d, uint32_t user, const char from[NMD_NAME_MAX],
	const char to[NMD_NAME_MAX], struct nm_error *err)
{
	struct nm_name old, new;
	int error = parse(from, &old, err);

	if (!error)
		error = parse(to, &new, err);
	if (error)
		return error;
	if (strcmp(old.sw_name, new.sw_name) != 0)
		return nm_error_set(err, -EINVAL, "%s is on switch %s, and stays there, not on %s",
			old.base, old.sw_name, new.sw_name);
	nm_core_lock(&d->core);
	error = rename_locked(&d->core, user, &old, &new, err);
	nm_core_unlock(&d->core);
	return error;
}
