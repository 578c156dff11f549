/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What a client can say on the control socket: a handler per message, and at the end the table of who may
 * send it when.
 *
 * A connection begins fresh, and by its first message that makes something becomes one
 * application's (NMREQ) or one machine's (VM_CREATE): it stays that, and what it has made ends with
 * it. A reply that the socket does not take ends the connection.
 */
#include "ctl_internal.h"
#include "events.h"
#include "local.h"
#include "policy.h"
#include "rename.h"
#include "settings.h"
#include "status.h"
#include "vale.h"
#include "vm.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

enum {
	MACS_MAX = (NMD_MSG_MAX - sizeof(struct nmd_vale_macs_reply)) / sizeof(struct nmd_mac),
	EVENTS_MAX = (NMD_MSG_MAX - sizeof(struct nmd_events_reply)) / sizeof(struct nmd_event),
};

/* ---- messages ------------------------------------------------------------------------ */

static int on_hello(struct conn *c, size_t bytes)
{
	struct nmd_hello *hello = (struct nmd_hello *)ctl_reply_begin(c, sizeof(*hello));

	hello->pid = (uint32_t)getpid();
	snprintf(hello->program, sizeof(hello->program), "netmapd %s", PTNETMAP_VERSION);
	return ctl_reply_send(c, NULL, 0);
}

static_assert(sizeof(((struct nm_error *)0)->text) == NMD_TEXT_MAX, "a text fits a reply");

/* The port that a request uses, and whether it is to be attached; false: it uses none. */
static bool port_of(const struct conn *c, size_t payload, struct nmreq_header *hdr, bool *attach)
{
	if (payload < sizeof(*hdr))
		return false;
	memcpy(hdr, c->in->bytes + sizeof(struct nmd_hdr), sizeof(*hdr));
	*attach = hdr->nr_reqtype == NETMAP_REQ_VALE_ATTACH;
	return *attach || hdr->nr_reqtype == NETMAP_REQ_REGISTER ||
	       hdr->nr_reqtype == NETMAP_REQ_PORT_INFO_GET;
}

static int on_nmreq(struct conn *c, size_t bytes)
{
	size_t payload = bytes - sizeof(struct nmd_hdr);
	struct nmd_nmreq_reply *reply;
	struct nmreq_header hdr = {0};
	struct nm_error err;
	bool attach = false, uses_port, more;
	int error;

	if (payload > NETMAP_REQ_MAXSIZE)
		return ctl_reply_error(
			c, sizeof(*reply), -EMSGSIZE, "a request has at most 4096 bytes");
	/* Before an interface is opened for it. */
	error = policy_request(&c->daemon->core, account_uid(c->user),
		c->in->bytes + sizeof(struct nmd_hdr), payload, &err);
	if (error)
		return ctl_answer_error(c, c->in, &err);
	uses_port = port_of(c, payload, &hdr, &attach);
	error = uses_port ? ctl_nics_ask(c, hdr.nr_name, attach, c->in, bytes, &err)
			  : ctl_taps_ask(c, &hdr, c->in, bytes, &err);
	if (error)
		return error == -EINPROGRESS ? 0 : ctl_answer_error(c, c->in, &err);
	if (!c->local)
		c->local = local_new(c->daemon, c->user);
	if (!c->local)
		return ctl_reply_error(c, sizeof(*reply), -ENOMEM, "netmapd is out of memory");
	reply = (struct nmd_nmreq_reply *)ctl_reply_begin(c, sizeof(*reply) + payload);
	memcpy(reply + 1, c->in->bytes + sizeof(struct nmd_hdr), payload);
	reply->payload = (uint32_t)payload;
	error = local_request(c->local, reply + 1, payload, c->rx_fd, &more, &err);
	if (more)
		return ctl_reply_in_parts(c);
	if (error == -EINPROGRESS) {
		if (ctl_try_later(c))
			return 0;
		error = -EBUSY;
	}
	if (error)
		snprintf(reply->reply.text, sizeof(reply->reply.text), "%s", err.text);
	reply->reply.hdr.status = error;
	if (!error && uses_port)
		return ctl_reply_when_ready(c, hdr.nr_name, attach, c->in);
	if (!error && hdr.nr_reqtype == NETMAP_REQ_VALE_DELIF)
		return ctl_reply_when_gone(c, &hdr, c->in);
	return ctl_reply_send(c, NULL, 0);
}

static int on_vm_create(struct conn *c, size_t bytes)
{
	const struct nmd_vm_create *request = (const struct nmd_vm_create *)c->in->bytes;
	struct nmd_vm_create_reply *reply;
	struct nm_error err;
	char name[NMD_NAME_MAX];

	snprintf(name, sizeof(name), "%.*s", NMD_NAME_MAX - 1, request->name);
	c->vm = vm_new(c->daemon, c->user, name, request->bar_min, &err);
	if (!c->vm)
		return ctl_reply_error(c, sizeof(*reply), err.code, err.text);
	c->state = CONN_VM;
	reply = (struct nmd_vm_create_reply *)ctl_reply_begin(c, sizeof(*reply));
	reply->vm = c->vm->number;
	return ctl_reply_send(c, NULL, 0);
}

static int on_vm_add_port(struct conn *c, size_t bytes)
{
	const struct nmd_vm_add_port *request = (const struct nmd_vm_add_port *)c->in->bytes;
	struct nmd_vm_add_port_reply *reply;
	char name[NETMAP_REQ_IFNAMSIZ];
	struct nm_error err;
	int error;

	if (strnlen(request->ifname, NMD_SPEC_MAX) == NMD_SPEC_MAX)
		return ctl_reply_error(
			c, sizeof(*reply), -EINVAL, "a port has at most 255 bytes of text");
	if (request->mac[0] & 1)
		return ctl_reply_error(
			c, sizeof(*reply), -EINVAL, "a multicast address can't be a port's own");
	error = vm_port_name(request->ifname, name, &err);
	if (!error)
		error = policy_open(&c->daemon->core, account_uid(c->user), name, &err);
	if (!error)
		error = ctl_nics_ask(c, name, false, c->in, bytes, &err);
	if (error == -EINPROGRESS)
		return 0;
	if (!error)
		error = vm_add_port(c->vm, request->ifname, request->mac, &err);
	if (error == -EINPROGRESS) {
		if (ctl_try_later(c))
			return 0;
		error = -EBUSY;
	}
	if (error)
		return ctl_reply_error(c, sizeof(*reply), error, err.text);
	ctl_reply_begin(c, sizeof(*reply));
	return ctl_reply_in_parts(c);
}

/* Whose ports and events the user sees. */
static uint32_t viewer(const struct conn *c)
{
	return policy_sees_all(account_uid(c->user)) ? NM_USER_ANY : account_uid(c->user);
}

static void forget_status(struct conn *c)
{
	free(c->status);
	c->status = NULL;
}

/* The piece of the text that was asked for. The text goes with its last one; behind that there is nothing. */
static int send_status(struct conn *c, uint32_t start)
{
	struct nmd_status_reply *reply;
	uint32_t most = NMD_MSG_MAX - sizeof(*reply), length = 0;

	if (start < c->status_len)
		length = c->status_len - start;
	if (length > most)
		length = most;
	reply = (struct nmd_status_reply *)ctl_reply_begin(c, sizeof(*reply) + length);
	reply->total = c->status_len;
	reply->length = length;
	if (length > 0) {
		memcpy(reply + 1, c->status + start, length);
		if (start + length == c->status_len)
			forget_status(c);
	}
	return ctl_reply_send(c, NULL, 0);
}

int ctl_go_on_status(struct conn *c)
{
	static const union ctl_message asked = {.hdr = {.type = NMD_STATUS}};
	int more = status_go_on(c->building);

	c->in = &asked;
	if (more > 0) {
		loop_again(c->daemon->loop, c->handle);
		return 0;
	}
	if (more < 0) {
		status_free(c->building);
		c->building = NULL;
		return ctl_reply_error(
			c, sizeof(struct nmd_status_reply), -ENOMEM, "netmapd is out of memory");
	}
	c->status = status_end(c->building);
	c->building = NULL;
	c->status_len = (uint32_t)strlen(c->status);
	return send_status(c, 0);
}

static int on_status(struct conn *c, size_t bytes)
{
	const struct nmd_status request = *(const struct nmd_status *)c->in->bytes;

	if (request.start > 0)
		return c->status || (c->status_len > 0 && request.start >= c->status_len)
			       ? send_status(c, request.start)
			       : ctl_reply_error(c, sizeof(struct nmd_status_reply), -EINVAL,
					 "a status is asked for from its beginning first");
	forget_status(c);
	c->status_len = 0;
	c->building = status_begin(c->daemon, viewer(c));
	return c->building ? ctl_go_on_status(c)
			   : ctl_reply_error(c, sizeof(struct nmd_status_reply), -ENOMEM,
				     "netmapd is out of memory");
}

/* One switch's name out of a message. */
static int switch_name(
	const char in_message[NMD_NAME_MAX], char name[NMD_NAME_MAX], struct nm_error *err)
{
	snprintf(name, NMD_NAME_MAX, "%.*s", NMD_NAME_MAX - 1, in_message);
	if (strnlen(in_message, NMD_NAME_MAX) < NMD_NAME_MAX)
		return 0;
	return nm_error_set(err, -EINVAL, "the name of a switch has at most 63 bytes");
}

static int no_switch(const char *name, int error, struct nm_error *err)
{
	if (error == -ENOENT)
		nm_error_set(err, error, "%s: no such switch", name);
	else
		nm_error_set(err, error, "%s: %s", name, strerror(-error));
	return error;
}

/* Entries as they are in the table; the names of their ports. */
static int list_macs(struct nm_core *core, const char *sw_name, uint64_t *pos, struct nmd_mac *list)
{
	static struct nm_vale_mac macs[MACS_MAX];
	int n;

	nm_core_lock(core);
	n = nm_vale_macs_locked(core, NULL, sw_name, pos, macs, MACS_MAX);
	for (int i = 0; i < n; i++) {
		const char *port = nm_vale_port_name_locked(core, NULL, sw_name, macs[i].port);

		memset(&list[i], 0, sizeof(list[i]));
		memcpy(list[i].mac, macs[i].mac, sizeof(list[i].mac));
		list[i].port = macs[i].port;
		list[i].age_s = macs[i].age_s;
		snprintf(list[i].name, sizeof(list[i].name), "%s", port ? port : "");
	}
	nm_core_unlock(core);
	return n;
}

static int on_vale_macs(struct conn *c, size_t bytes)
{
	const struct nmd_vale_macs *request = (const struct nmd_vale_macs *)c->in->bytes;
	struct nmd_vale_macs_reply *reply =
		(struct nmd_vale_macs_reply *)ctl_reply_begin(c, sizeof(*reply));
	struct nm_error err;
	char name[NMD_NAME_MAX];
	uint64_t pos = request->pos;
	int n, error = switch_name(request->sw_name, name, &err);

	if (!error)
		error = policy_switch(account_uid(c->user), name, &err);
	if (error)
		return ctl_reply_error(c, sizeof(*reply), error, err.text);
	n = list_macs(&c->daemon->core, name, &pos, (struct nmd_mac *)(reply + 1));
	if (n < 0)
		return ctl_reply_error(c, sizeof(*reply), no_switch(name, n, &err), err.text);
	reply->pos = pos;
	reply->count = (uint32_t)n;
	reply->reply.hdr.size += (uint32_t)n * sizeof(struct nmd_mac);
	return ctl_reply_send(c, NULL, 0);
}

static int on_vale_flush(struct conn *c, size_t bytes)
{
	const struct nmd_vale_flush *request = (const struct nmd_vale_flush *)c->in->bytes;
	struct nm_error err;
	char name[NMD_NAME_MAX];
	int error = switch_name(request->sw_name, name, &err);

	if (!error)
		error = policy_switch(account_uid(c->user), name, &err);
	if (error)
		return ctl_reply_error(c, sizeof(struct nmd_reply), error, err.text);
	nm_core_lock(&c->daemon->core);
	error = nm_vale_flush_locked(&c->daemon->core, NULL, name);
	nm_core_unlock(&c->daemon->core);
	if (error)
		return ctl_reply_error(
			c, sizeof(struct nmd_reply), no_switch(name, error, &err), err.text);
	ctl_reply_begin(c, sizeof(struct nmd_reply));
	return ctl_reply_send(c, NULL, 0);
}

/* ---- events, changes ------------------------------------------------------------------- */

/* Behind event `after`, and how many of those are no longer there. */
static int send_events(struct conn *c, uint64_t after, bool now)
{
	struct nmd_events_reply *reply =
		(struct nmd_events_reply *)ctl_reply_begin_as(NMD_EVENTS, sizeof(*reply));
	uint64_t last = events_last();

	if (after < last && last - after > EVENTS_KEPT)
		reply->lost = last - after - EVENTS_KEPT;
	reply->after = after;
	reply->count =
		events_after(&reply->after, (struct nmd_event *)(reply + 1), EVENTS_MAX, viewer(c));
	c->watches_after = reply->after;
	c->watches = !now && reply->count == 0 && reply->lost == 0;
	if (c->watches)
		return 0;
	reply->reply.hdr.size += reply->count * (uint32_t)sizeof(struct nmd_event);
	return ctl_reply_send(c, NULL, 0);
}

int ctl_tell_events(struct conn *c, bool now)
{
	return send_events(c, c->watches_after, now);
}

static int on_events(struct conn *c, size_t bytes)
{
	const struct nmd_events *request = (const struct nmd_events *)c->in->bytes;

	return send_events(c, request->after, !request->wait || request->after == UINT64_MAX);
}

static int reply_done(struct conn *c, int error, const struct nm_error *err)
{
	if (error)
		return ctl_reply_error(c, sizeof(struct nmd_reply), error, err->text);
	ctl_reply_begin(c, sizeof(struct nmd_reply));
	return ctl_reply_send(c, NULL, 0);
}

static int on_rename(struct conn *c, size_t bytes)
{
	const struct nmd_rename *request = (const struct nmd_rename *)c->in->bytes;
	uint32_t uid = account_uid(c->user);
	char from[NMD_NAME_MAX], to[NMD_NAME_MAX];
	struct nm_error err;
	int error;

	snprintf(from, sizeof(from), "%.*s", NMD_NAME_MAX - 1, request->from);
	snprintf(to, sizeof(to), "%.*s", NMD_NAME_MAX - 1, request->to);
	error = policy_port(uid, from, &err);
	if (!error)
		error = policy_port(uid, to, &err);
	/* Another user's port has its name from him. */
	if (!error)
		error = rename_port(c->daemon, policy_is_admin(uid) ? NM_USER_ANY : uid,
			request->from, request->to, &err);
	return reply_done(c, error, &err);
}

static int on_limit(struct conn *c, size_t bytes)
{
	const struct nmd_limit *request = (const struct nmd_limit *)c->in->bytes;
	char text[NMD_NAME_MAX], bound[ACCOUNTS_BOUND];
	struct nm_error err;
	int error;

	snprintf(text, sizeof(text), "%.*s", NMD_NAME_MAX - 1, request->text);
	if (!policy_is_owner(account_uid(c->user)))
		error = nm_error_set(&err, -EPERM,
			"%.40s: limits are set by root, and by the user whose netmapd this is",
			text);
	else
		error = accounts_change(text, &err);
	if (!error) {
		accounts_get(text, bound);
		text[strcspn(text, "=")] = '\0';
		events_add(NMD_EVENT_LIMIT, text, NMD_USER_ALL, "%s", bound);
		os_log(OS_LOG_INFO, "user %u has set a limit: %s", (unsigned)account_uid(c->user),
			bound);
	}
	return reply_done(c, error, &err);
}

static int on_set(struct conn *c, size_t bytes)
{
	const struct nmd_set *request = (const struct nmd_set *)c->in->bytes;
	char text[CONFIG_TEXT_MAX];
	struct config_item item = {0};
	struct nm_error err;
	int error;

	snprintf(text, sizeof(text), "%.*s", (int)(bytes - offsetof(struct nmd_set, text)),
		request->text);
	os_make_printable(text);
	if (!policy_is_owner(account_uid(c->user)))
		error = nm_error_set(&err, -EPERM,
			"%.100s: settings are changed by root, and by the user whose netmapd this is",
			text);
	else
		error = config_parse(text, &item, &err);
	if (!error && settings_go_on()) {
		if (ctl_try_behind_settings(c))
			return 0;
		error = nm_error_set(&err, -ENOMEM, "netmapd is out of memory");
	}
	if (!error)
		error = settings_change(c->daemon, &item, &err);
	if (!error) {
		events_add(NMD_EVENT_SETTING,
			item.kind == CONFIG_SET ? config_setting_name(item.setting) : item.name,
			NMD_USER_ALL, "%s", config_value(&item, text));
		os_log(OS_LOG_INFO, "user %u has changed a setting: %s",
			(unsigned)account_uid(c->user), config_text(&item, text));
	}
	return error ? reply_done(c, error, &err) : ctl_reply_when_settled(c);
}

static int on_full_wait(struct conn *c, size_t bytes)
{
	const struct nmd_full_wait *request = (const struct nmd_full_wait *)c->in->bytes;
	uint32_t uid = account_uid(c->user);
	char name[NMD_NAME_MAX];
	struct nm_error err;
	int error = 0;

	snprintf(name, sizeof(name), "%.*s", NMD_NAME_MAX - 1, request->name);
	if (!full_wait_is_switch(name))
		error = policy_port(uid, name, &err);
	else if (!policy_is_owner(uid))
		error = nm_error_set(&err, -EPERM,
			"%.40s: bounds of switches are set by root, and by the user whose netmapd this is",
			name);
	if (!error)
		error = full_wait_set(c->daemon, policy_is_admin(uid) ? NM_USER_ANY : uid, name,
			request->ms, &err);
	return reply_done(c, error, &err);
}

/* Which message may come in which state, and how long it is. */
static const struct {
	size_t min, max; /* bytes */
	size_t reply;    /* bytes of its reply when it fails */
	bool allowed[CONN_STATES];
	int (*run)(struct conn *c, size_t bytes);
	bool long_one; /* can take more than a turn */
} messages[] = {
	[NMD_HELLO] = {sizeof(struct nmd_hdr), sizeof(struct nmd_hdr), sizeof(struct nmd_hello),
		{true, true, true}, on_hello},
	[NMD_NMREQ] = {sizeof(struct nmd_hdr), NMD_MSG_MAX, sizeof(struct nmd_nmreq_reply),
		{true, true, false}, on_nmreq, true},
	[NMD_VM_CREATE] = {sizeof(struct nmd_vm_create), sizeof(struct nmd_vm_create),
		sizeof(struct nmd_vm_create_reply), {true, false, false}, on_vm_create},
	[NMD_VM_ADD_PORT] = {sizeof(struct nmd_vm_add_port), sizeof(struct nmd_vm_add_port),
		sizeof(struct nmd_vm_add_port_reply), {false, false, true}, on_vm_add_port, true},
	[NMD_STATUS] = {sizeof(struct nmd_status), sizeof(struct nmd_status),
		sizeof(struct nmd_status_reply), {true, true, true}, on_status, true},
	[NMD_VALE_MACS] = {sizeof(struct nmd_vale_macs), sizeof(struct nmd_vale_macs),
		sizeof(struct nmd_vale_macs_reply), {true, true, true}, on_vale_macs},
	[NMD_VALE_FLUSH] = {sizeof(struct nmd_vale_flush), sizeof(struct nmd_vale_flush),
		sizeof(struct nmd_reply), {true, true, true}, on_vale_flush},
	[NMD_EVENTS] = {sizeof(struct nmd_events), sizeof(struct nmd_events),
		sizeof(struct nmd_events_reply), {true, true, true}, on_events},
	[NMD_RENAME] = {sizeof(struct nmd_rename), sizeof(struct nmd_rename),
		sizeof(struct nmd_reply), {true, true, true}, on_rename},
	[NMD_LIMIT] = {sizeof(struct nmd_limit), sizeof(struct nmd_limit), sizeof(struct nmd_reply),
		{true, true, true}, on_limit},
	[NMD_SET] = {offsetof(struct nmd_set, text) + NMD_SPEC_MAX, sizeof(struct nmd_set),
		sizeof(struct nmd_reply), {true, true, true}, on_set},
	[NMD_FULL_WAIT] = {sizeof(struct nmd_full_wait), sizeof(struct nmd_full_wait),
		sizeof(struct nmd_reply), {true, true, true}, on_full_wait},
};

int ctl_answer_error(struct conn *c, const union ctl_message *message, const struct nm_error *err)
{
	c->in = message;
	return ctl_reply_error(c, messages[c->in->hdr.type].reply, err->code, err->text);
}

int ctl_handle(struct conn *c, const union ctl_message *message, size_t bytes)
{
	uint16_t type = message->hdr.type;
	struct nm_error err;

	c->in = message;
	if (bytes < sizeof(struct nmd_hdr) || c->in->hdr.magic != NMD_MAGIC ||
		c->in->hdr.size != bytes)
		return -EPROTO; /* not ours: hang up */
	if (c->in->hdr.version != NMD_VERSION)
		return ctl_reply_error(c, sizeof(struct nmd_reply), -EPROTONOSUPPORT,
			"client and netmapd are of different versions");
	if (type >= sizeof(messages) / sizeof(messages[0]) || !messages[type].run)
		return ctl_reply_error(c, sizeof(struct nmd_reply), -EOPNOTSUPP, "unknown message");
	if (bytes < messages[type].min || bytes > messages[type].max)
		return ctl_reply_error(c, messages[type].reply, -EINVAL, "message of a wrong size");
	if (!messages[type].allowed[c->state])
		return ctl_reply_error(c, messages[type].reply, -EBUSY,
			c->state == CONN_FRESH
				? "this connection owns no virtual machine"
				: "this connection owns a port or a virtual machine already");
	if (messages[type].long_one && ctl_begin_request(c, &err) != 0)
		return ctl_reply_error(c, messages[type].reply, err.code, err.text);
	return messages[type].run(c, bytes);
}
