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
#include <sys/socket.h>
#include <unistd.h>

enum {
	TRIES_MAX = 2000, /* for what others are about to open, */
	TRY_MS = 1,       /* one after the other */
	MACS_MAX = (NMD_MSG_MAX - sizeof(struct nmd_vale_macs_reply)) / sizeof(struct nmd_mac),
	EVENTS_MAX = (NMD_MSG_MAX - sizeof(struct nmd_events_reply)) / sizeof(struct nmd_event),
};

/* The message that is handled, and its reply; only the control thread uses them. */
static const union ctl_message *in;
static union ctl_message out;

/* ---- sending ------------------------------------------------------------------------- */

static struct nmd_reply *start_reply_to(uint16_t type, size_t bytes)
{
	struct nmd_reply *reply = (struct nmd_reply *)out.bytes;

	memset(out.bytes, 0, bytes);
	reply->hdr = (struct nmd_hdr){
		.magic = NMD_MAGIC,
		.version = NMD_VERSION,
		.type = type,
		.size = (uint32_t)bytes,
	};
	return reply;
}

static struct nmd_reply *start_reply(size_t bytes)
{
	return start_reply_to(in->hdr.type, bytes);
}

/* A client that has no room for a reply doesn't read them: it is given up. */
static int send_message(int fd, const int *fds, uint32_t nfds)
{
	char control[CMSG_SPACE(NMD_FDS_MAX * sizeof(int))] = {0};
	struct iovec iov = {out.bytes, out.hdr.size};
	struct msghdr msg = {.msg_iov = &iov, .msg_iovlen = 1};

	if (nfds > 0) {
		struct cmsghdr *cmsg;

		msg.msg_control = control;
		msg.msg_controllen = CMSG_SPACE(nfds * sizeof(int));
		cmsg = CMSG_FIRSTHDR(&msg);
		cmsg->cmsg_level = SOL_SOCKET;
		cmsg->cmsg_type = SCM_RIGHTS;
		cmsg->cmsg_len = CMSG_LEN(nfds * sizeof(int));
		memcpy(CMSG_DATA(cmsg), fds, nfds * sizeof(int));
	}
	return sendmsg(fd, &msg, MSG_NOSIGNAL | MSG_DONTWAIT) < 0 ? -errno : 0;
}

static int send_reply(struct conn *c, const int *fds, uint32_t nfds)
{
	return send_message(c->fd, fds, nfds);
}

void ctl_refuse(int fd, const struct nm_error *err)
{
	struct nmd_hello *hello = (struct nmd_hello *)out.bytes;

	memset(hello, 0, sizeof(*hello));
	hello->reply.hdr = (struct nmd_hdr){
		.magic = NMD_MAGIC,
		.version = NMD_VERSION,
		.type = NMD_HELLO,
		.size = sizeof(*hello),
		.status = err->code,
	};
	snprintf(hello->reply.text, sizeof(hello->reply.text), "%s", err->text);
	(void)send_message(fd, NULL, 0);
}

static int reply_error(struct conn *c, size_t bytes, int error, const char *text)
{
	struct nmd_reply *reply = start_reply(bytes);

	reply->hdr.status = error;
	snprintf(reply->text, sizeof(reply->text), "%s", text);
	os_make_printable(reply->text);
	return send_reply(c, NULL, 0);
}

/* ---- messages that take more than a turn ------------------------------------------------ */

static union ctl_message *copy_of(const union ctl_message *message)
{
	union ctl_message *copy = malloc(message->hdr.size);

	if (copy)
		memcpy(copy, message, message->hdr.size);
	return copy;
}

/* Somebody else is about to open what the message is about: it is tried again, for a while. False: no more. */
static bool can_wait(struct conn *c)
{
	if (++c->tries > TRIES_MAX)
		return false;
	c->waiting = copy_of(in);
	if (!c->waiting)
		return false;
	loop_pause(c->daemon->loop, c->handle, TRY_MS);
	loop_again(c->daemon->loop, c->handle);
	return true;
}

/* A change of settings moves rings, for some turns: what is behind it waits, however long that takes. */
static void wait_for_settings(struct conn *c)
{
	loop_pause(c->daemon->loop, c->handle, TRY_MS);
	loop_again(c->daemon->loop, c->handle);
}

/* The descriptor that came with the message is still in c->rx_fd. */
static int try_again(struct conn *c)
{
	union ctl_message *message = c->waiting;
	int error;

	c->waiting = NULL;
	error = ctl_handle(c, message, message->hdr.size);
	free(message);
	if (!c->waiting)
		c->tries = 0;
	return error;
}

/* The reply in `out` is for later. False: no memory. */
static bool keep_reply(struct conn *c)
{
	c->num_unsent_fds = 0;
	c->unsent = copy_of(&out);
	return c->unsent != NULL;
}

/* The reply is in c->unsent: it is sent when the NIC that it concerns works. */
static int send_when_ready(
	struct conn *c, const char *name, bool attach, const union ctl_message *message)
{
	return ctl_nics_ready(c, name, attach, message, message->hdr.size) == 0 ? ctl_go_on(c) : 0;
}

/* The same for the one in `out`. Without memory, too, the NIC is asked for host rings, where it is to have them; the one who asked is
 * then told now that it is done, not when they work. */
static int reply_when_ready(
	struct conn *c, const char *name, bool attach, const union ctl_message *message)
{
	if (keep_reply(c))
		return send_when_ready(c, name, attach, message);
	ctl_nics_start(c, name, attach, message, message->hdr.size);
	return send_reply(c, NULL, 0);
}

/* The same, when the device that it was to remove is gone. */
static int reply_when_gone(
	struct conn *c, const struct nmreq_header *hdr, const union ctl_message *message)
{
	if (!keep_reply(c)) /* it is on its way, and the one who asked is told so */
		return send_reply(c, NULL, 0);
	return ctl_taps_ready(c, hdr, message, message->hdr.size) == 0 ? ctl_go_on(c) : 0;
}

/* The reply that is in `out` is completed, and sent, when there is no more to do. */
static int reply_in_parts(struct conn *c)
{
	struct nm_error err;

	c->request = keep_reply(c) ? copy_of(in) : NULL;
	if (c->request)
		return ctl_go_on(c);
	free(c->unsent);
	c->unsent = NULL;
	if (c->vm)
		vm_add_port_cancel(c->vm);
	else
		local_release(c->local);
	nm_error_set(&err, -ENOMEM, "netmapd is out of memory");
	return ctl_answer_error(c, in, &err);
}

/* As local_go_on(); the name of the port as well. */
static int go_on_registering(struct conn *c, char name[NETMAP_REQ_IFNAMSIZ], struct nm_error *err)
{
	struct nmd_nmreq_reply *reply = (struct nmd_nmreq_reply *)c->unsent;
	int error = local_go_on(c->local, &reply->attach, c->unsent_fds, &reply->nfds, err);
	struct nmreq_header hdr;

	if (error)
		return error;
	c->state = CONN_BOUND;
	c->num_unsent_fds = reply->nfds;
	memcpy(&hdr, c->request->bytes + sizeof(struct nmd_hdr), sizeof(hdr));
	memcpy(name, hdr.nr_name, sizeof(hdr.nr_name));
	return 0;
}

/* As vm_add_port_go_on(). */
static int go_on_adding(struct conn *c, char name[NETMAP_REQ_IFNAMSIZ], struct nm_error *err)
{
	const struct nmd_vm_add_port *request = (const struct nmd_vm_add_port *)c->request;
	struct nmd_vm_add_port_reply *reply = (struct nmd_vm_add_port_reply *)c->unsent;
	const struct vm_port *port;
	int error = vm_add_port_go_on(c->vm, &port, err);

	if (error)
		return error;
	memcpy(reply->net_path, port->path, sizeof(reply->net_path));
	memcpy(reply->mem_path, port->region->mem_path, sizeof(reply->mem_path));
	memcpy(reply->mac, port->mac, sizeof(reply->mac));
	return vm_port_name(request->ifname, name, err);
}

static int go_on_in_parts(struct conn *c)
{
	union ctl_message *request = c->request;
	char name[NETMAP_REQ_IFNAMSIZ];
	struct nm_error err;
	int error = c->vm ? go_on_adding(c, name, &err) : go_on_registering(c, name, &err);

	if (error > 0) {
		loop_again(c->daemon->loop, c->handle);
		return 0;
	}
	c->request = NULL;
	if (error) {
		free(c->unsent);
		c->unsent = NULL;
		error = ctl_answer_error(c, request, &err);
	} else {
		error = send_when_ready(c, name, false, request);
	}
	free(request);
	return error;
}

static int go_on_status(struct conn *c);

int ctl_go_on(struct conn *c)
{
	if (c->building)
		return go_on_status(c);
	if (c->waiting)
		return try_again(c);
	if (c->request)
		return go_on_in_parts(c);
	c->settles = c->settles && settings_go_on();
	if (c->settles) {
		wait_for_settings(c);
		return 0;
	}
	memcpy(&out, c->unsent, c->unsent->hdr.size);
	free(c->unsent);
	c->unsent = NULL;
	return send_reply(c, c->unsent_fds, c->num_unsent_fds);
}

/* ---- messages ------------------------------------------------------------------------ */

static int on_hello(struct conn *c, size_t bytes)
{
	struct nmd_hello *hello = (struct nmd_hello *)start_reply(sizeof(*hello));

	hello->pid = (uint32_t)getpid();
	snprintf(hello->program, sizeof(hello->program), "netmapd %s", PTNETMAP_VERSION);
	return send_reply(c, NULL, 0);
}

static_assert(sizeof(((struct nm_error *)0)->text) == NMD_TEXT_MAX, "a text fits a reply");

/* The port that a request uses, and whether it is to be attached; false: it uses none. */
static bool port_of(size_t payload, struct nmreq_header *hdr, bool *attach)
{
	if (payload < sizeof(*hdr))
		return false;
	memcpy(hdr, in->bytes + sizeof(struct nmd_hdr), sizeof(*hdr));
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
		return reply_error(
			c, sizeof(*reply), -EMSGSIZE, "a request has at most 4096 bytes");
	/* Before an interface is opened for it. */
	error = policy_request(&c->daemon->core, account_uid(c->user),
		in->bytes + sizeof(struct nmd_hdr), payload, &err);
	if (error)
		return ctl_answer_error(c, in, &err);
	uses_port = port_of(payload, &hdr, &attach);
	error = uses_port ? ctl_nics_ask(c, hdr.nr_name, attach, in, bytes, &err)
			  : ctl_taps_ask(c, &hdr, in, bytes, &err);
	if (error)
		return error == -EINPROGRESS ? 0 : ctl_answer_error(c, in, &err);
	if (!c->local)
		c->local = local_new(c->daemon, c->user);
	if (!c->local)
		return reply_error(c, sizeof(*reply), -ENOMEM, "netmapd is out of memory");
	reply = (struct nmd_nmreq_reply *)start_reply(sizeof(*reply) + payload);
	memcpy(reply + 1, in->bytes + sizeof(struct nmd_hdr), payload);
	reply->payload = (uint32_t)payload;
	error = local_request(c->local, reply + 1, payload, c->rx_fd, &more, &err);
	if (more)
		return reply_in_parts(c);
	if (error == -EINPROGRESS) {
		if (can_wait(c))
			return 0;
		error = -EBUSY;
	}
	if (error)
		snprintf(reply->reply.text, sizeof(reply->reply.text), "%s", err.text);
	reply->reply.hdr.status = error;
	if (!error && uses_port)
		return reply_when_ready(c, hdr.nr_name, attach, in);
	if (!error && hdr.nr_reqtype == NETMAP_REQ_VALE_DELIF)
		return reply_when_gone(c, &hdr, in);
	return send_reply(c, NULL, 0);
}

static int on_vm_create(struct conn *c, size_t bytes)
{
	const struct nmd_vm_create *request = (const struct nmd_vm_create *)in->bytes;
	struct nmd_vm_create_reply *reply;
	struct nm_error err;
	char name[NMD_NAME_MAX];

	snprintf(name, sizeof(name), "%.*s", NMD_NAME_MAX - 1, request->name);
	c->vm = vm_new(c->daemon, c->user, name, request->bar_min, &err);
	if (!c->vm)
		return reply_error(c, sizeof(*reply), err.code, err.text);
	c->state = CONN_VM;
	reply = (struct nmd_vm_create_reply *)start_reply(sizeof(*reply));
	reply->vm = c->vm->number;
	return send_reply(c, NULL, 0);
}

static int on_vm_add_port(struct conn *c, size_t bytes)
{
	const struct nmd_vm_add_port *request = (const struct nmd_vm_add_port *)in->bytes;
	struct nmd_vm_add_port_reply *reply;
	char name[NETMAP_REQ_IFNAMSIZ];
	struct nm_error err;
	int error;

	if (strnlen(request->ifname, NMD_SPEC_MAX) == NMD_SPEC_MAX)
		return reply_error(
			c, sizeof(*reply), -EINVAL, "a port has at most 255 bytes of text");
	if (request->mac[0] & 1)
		return reply_error(
			c, sizeof(*reply), -EINVAL, "a multicast address can't be a port's own");
	error = vm_port_name(request->ifname, name, &err);
	if (!error)
		error = policy_open(&c->daemon->core, account_uid(c->user), name, &err);
	if (!error)
		error = ctl_nics_ask(c, name, false, in, bytes, &err);
	if (error == -EINPROGRESS)
		return 0;
	if (!error)
		error = vm_add_port(c->vm, request->ifname, request->mac, &err);
	if (error == -EINPROGRESS) {
		if (can_wait(c))
			return 0;
		error = -EBUSY;
	}
	if (error)
		return reply_error(c, sizeof(*reply), error, err.text);
	start_reply(sizeof(*reply));
	return reply_in_parts(c);
}

/* Whose ports and events the user sees. */
static uint32_t viewer(const struct conn *c)
{
	return policy_sees_all(account_uid(c->user)) ? NM_USER_ANY : account_uid(c->user);
}

/* The piece of the text that was asked for. */
static int send_status(struct conn *c, uint32_t start)
{
	struct nmd_status_reply *reply;
	uint32_t most = NMD_MSG_MAX - sizeof(*reply), length = 0;

	if (start < c->status_len)
		length = c->status_len - start;
	if (length > most)
		length = most;
	reply = (struct nmd_status_reply *)start_reply(sizeof(*reply) + length);
	reply->total = c->status_len;
	reply->length = length;
	memcpy(reply + 1, c->status + (length ? start : 0), length);
	return send_reply(c, NULL, 0);
}

/* The message was one that asks for the beginning. */
static int go_on_status(struct conn *c)
{
	static const union ctl_message asked = {.hdr = {.type = NMD_STATUS}};
	int more = status_go_on(c->building);

	in = &asked;
	if (more > 0) {
		loop_again(c->daemon->loop, c->handle);
		return 0;
	}
	if (more < 0) {
		status_free(c->building);
		c->building = NULL;
		return reply_error(
			c, sizeof(struct nmd_status_reply), -ENOMEM, "netmapd is out of memory");
	}
	c->status = status_end(c->building);
	c->building = NULL;
	c->status_len = (uint32_t)strlen(c->status);
	return send_status(c, 0);
}

static int on_status(struct conn *c, size_t bytes)
{
	const struct nmd_status request = *(const struct nmd_status *)in->bytes;

	if (request.start > 0)
		return c->status ? send_status(c, request.start)
				 : reply_error(c, sizeof(struct nmd_status_reply), -EINVAL,
					   "a status is asked for from its beginning first");
	free(c->status);
	c->status = NULL;
	c->building = status_begin(c->daemon, viewer(c));
	return c->building ? go_on_status(c)
			   : reply_error(c, sizeof(struct nmd_status_reply), -ENOMEM,
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
	const struct nmd_vale_macs *request = (const struct nmd_vale_macs *)in->bytes;
	struct nmd_vale_macs_reply *reply =
		(struct nmd_vale_macs_reply *)start_reply(sizeof(*reply));
	struct nm_error err;
	char name[NMD_NAME_MAX];
	uint64_t pos = request->pos;
	int n, error = switch_name(request->sw_name, name, &err);

	if (!error)
		error = policy_switch(account_uid(c->user), name, &err);
	if (error)
		return reply_error(c, sizeof(*reply), error, err.text);
	n = list_macs(&c->daemon->core, name, &pos, (struct nmd_mac *)(reply + 1));
	if (n < 0)
		return reply_error(c, sizeof(*reply), no_switch(name, n, &err), err.text);
	reply->pos = pos;
	reply->count = (uint32_t)n;
	reply->reply.hdr.size += (uint32_t)n * sizeof(struct nmd_mac);
	return send_reply(c, NULL, 0);
}

static int on_vale_flush(struct conn *c, size_t bytes)
{
	const struct nmd_vale_flush *request = (const struct nmd_vale_flush *)in->bytes;
	struct nm_error err;
	char name[NMD_NAME_MAX];
	int error = switch_name(request->sw_name, name, &err);

	if (!error)
		error = policy_switch(account_uid(c->user), name, &err);
	if (error)
		return reply_error(c, sizeof(struct nmd_reply), error, err.text);
	nm_core_lock(&c->daemon->core);
	error = nm_vale_flush_locked(&c->daemon->core, NULL, name);
	nm_core_unlock(&c->daemon->core);
	if (error)
		return reply_error(
			c, sizeof(struct nmd_reply), no_switch(name, error, &err), err.text);
	start_reply(sizeof(struct nmd_reply));
	return send_reply(c, NULL, 0);
}

/* ---- events, changes ------------------------------------------------------------------- */

/* Behind event `after`, and how many of those are no longer there. */
static int send_events(struct conn *c, uint64_t after, bool now)
{
	struct nmd_events_reply *reply =
		(struct nmd_events_reply *)start_reply_to(NMD_EVENTS, sizeof(*reply));
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
	return send_reply(c, NULL, 0);
}

int ctl_tell_events(struct conn *c, bool now)
{
	return send_events(c, c->watches_after, now);
}

static int on_events(struct conn *c, size_t bytes)
{
	const struct nmd_events *request = (const struct nmd_events *)in->bytes;

	return send_events(c, request->after, !request->wait || request->after == UINT64_MAX);
}

static int reply_done(struct conn *c, int error, const struct nm_error *err)
{
	if (error)
		return reply_error(c, sizeof(struct nmd_reply), error, err->text);
	start_reply(sizeof(struct nmd_reply));
	return send_reply(c, NULL, 0);
}

static int on_rename(struct conn *c, size_t bytes)
{
	const struct nmd_rename *request = (const struct nmd_rename *)in->bytes;
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
	const struct nmd_limit *request = (const struct nmd_limit *)in->bytes;
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

/* When all rings have the workers that they are to have. */
static int reply_when_settled(struct conn *c)
{
	start_reply(sizeof(struct nmd_reply));
	if (!settings_go_on())
		return send_reply(c, NULL, 0);
	if (!keep_reply(c)) /* it goes on, and the one who asked is told so */
		return send_reply(c, NULL, 0);
	c->settles = true;
	wait_for_settings(c);
	return 0;
}

static int on_set(struct conn *c, size_t bytes)
{
	const struct nmd_set *request = (const struct nmd_set *)in->bytes;
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
		c->waiting = copy_of(in);
		if (c->waiting) {
			wait_for_settings(c);
			return 0;
		}
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
	return error ? reply_done(c, error, &err) : reply_when_settled(c);
}

static int on_full_wait(struct conn *c, size_t bytes)
{
	const struct nmd_full_wait *request = (const struct nmd_full_wait *)in->bytes;
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
	in = message;
	return reply_error(c, messages[in->hdr.type].reply, err->code, err->text);
}

int ctl_handle(struct conn *c, const union ctl_message *message, size_t bytes)
{
	uint16_t type = message->hdr.type;
	struct nm_error err;

	in = message;
	if (bytes < sizeof(struct nmd_hdr) || in->hdr.magic != NMD_MAGIC || in->hdr.size != bytes)
		return -EPROTO; /* not ours: hang up */
	if (in->hdr.version != NMD_VERSION)
		return reply_error(c, sizeof(struct nmd_reply), -EPROTONOSUPPORT,
			"client and netmapd are of different versions");
	if (type >= sizeof(messages) / sizeof(messages[0]) || !messages[type].run)
		return reply_error(c, sizeof(struct nmd_reply), -EOPNOTSUPP, "unknown message");
	if (bytes < messages[type].min || bytes > messages[type].max)
		return reply_error(c, messages[type].reply, -EINVAL, "message of a wrong size");
	if (!messages[type].allowed[c->state])
		return reply_error(c, messages[type].reply, -EBUSY,
			c->state == CONN_FRESH
				? "this connection owns no virtual machine"
				: "this connection owns a port or a virtual machine already");
	if (messages[type].long_one && ctl_begin_request(c, &err) != 0)
		return reply_error(c, messages[type].reply, err.code, err.text);
	return messages[type].run(c, bytes);
}
