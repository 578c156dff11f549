/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Messages that concern a network interface: it takes time to open one (nic.h), or to remove one (tap_leave.h), so the message is kept,
 * and nothing else is read from the connection.
 *
 *      the port isn't there      the message is handled when it is, or refused
 *      it is opening             the message was handled; its reply is sent when packets flow. If they never will, what
 *                                was made is undone, and the reply says why
 *      TAPs are leaving          the message is handled when they are gone; the reply of who removes one is sent when that is gone
 */
#include "ctl_internal.h"
#include "attachment.h"
#include "local.h"
#include "os_user.h"
#include "policy.h"
#include "tap.h"
#include "vm.h"

#include <net/if.h>
#include <stdlib.h>

/* The kept message, and its descriptor, are no longer needed. */
static void drop_kept(struct conn *c)
{
	free(c->kept);
	c->kept = NULL;
	closer_put(c->closer, c->kept_fd);
	c->kept_fd = -1;
}

static int keep(struct conn *c, const union ctl_message *message, size_t bytes)
{
	c->kept = malloc(bytes);
	if (!c->kept)
		return -ENOMEM;
	memcpy(c->kept, message, bytes);
	c->kept_bytes = bytes;
	c->kept_fd = c->rx_fd;
	c->rx_fd = -1;
	loop_mod(c->daemon->loop, c->handle, 0);
	return 0;
}

static void listen_again(struct conn *c)
{
	loop_mod(c->daemon->loop, c->handle, EPOLLIN);
}

/* ---- before it is handled ---------------------------------------------------------------------- */

static void forget_taps(struct conn *c)
{
	tap_wait_forget(&c->tap_wait);
	c->taps_gone = false;
}

/* Its port is there, or can't be. */
static void handle_kept(void *arg, const struct nm_error *err)
{
	struct conn *c = arg;
	union ctl_message *message = c->kept;
	int fd = c->kept_fd, error;

	c->kept = NULL;
	c->kept_fd = -1;
	c->rx_fd = fd;
	listen_again(c);
	c->daemon->core.payer = account_quota(c->user);
	error = err ? ctl_answer_error(c, message, err) : ctl_handle(c, message, c->kept_bytes);
	c->daemon->core.payer = NULL;
	if (!c->kept)
		forget_taps(c); /* if it kept its place, and was refused for another reason */
	free(message);
	ctl_put_fd(c);
	ctl_end_request(c);
	if (error)
		ctl_end(c);
}

/* A turn of the connection's own, so that its user pays for what it does. */
static void taps_are_gone(void *arg)
{
	struct conn *c = arg;

	c->taps_gone = true;
	loop_again(c->daemon->loop, c->handle);
}

/* It waits in a list: -EINPROGRESS, or -ENOMEM, and it doesn't any more. */
static int keep_waiting(
	struct conn *c, const union ctl_message *message, size_t bytes, struct nm_error *err)
{
	if (keep(c, message, bytes) == 0)
		return -EINPROGRESS;
	port_wait_forget(&c->wait);
	forget_taps(c);
	return nm_error_set(err, -ENOMEM, "netmapd is out of memory");
}

int ctl_nics_ask(struct conn *c, const char *name, bool attach, const union ctl_message *message,
	size_t bytes, struct nm_error *err)
{
	int error;

	c->wait.fn = handle_kept;
	c->wait.arg = c;
	c->tap_wait.fn = taps_are_gone;
	c->tap_wait.arg = c;
	error = nics_ask(
		c->daemon, name, attach, account_uid(c->user), &c->wait, &c->tap_wait, err);
	if (error != NICS_WAIT_FOR_TAP)
		forget_taps(c);
	if (error != NICS_WAIT_FOR_TAP && error != -EINPROGRESS)
		return error;
	return keep_waiting(c, message, bytes, err);
}

/* That could be a device's. */
static bool short_name(const struct nmreq_header *hdr, char name[IFNAMSIZ])
{
	size_t length = strnlen(hdr->nr_name, sizeof(hdr->nr_name));

	if (length >= IFNAMSIZ)
		return false;
	memcpy(name, hdr->nr_name, length);
	name[length] = 0;
	return true;
}

int ctl_taps_ask(struct conn *c, const struct nmreq_header *hdr, const union ctl_message *message,
	size_t bytes, struct nm_error *err)
{
	bool new = hdr->nr_reqtype == NETMAP_REQ_VALE_NEWIF;
	char name[IFNAMSIZ];

	if ((!new && hdr->nr_reqtype != NETMAP_REQ_VALE_DELIF) || !short_name(hdr, name))
		return 0;
	c->tap_wait.fn = taps_are_gone;
	c->tap_wait.arg = c;
	if (taps_ask(c->daemon, new ? TAP_WANT_NEW : TAP_WANT_ROOM, name, &c->tap_wait) == 0)
		return 0;
	return keep_waiting(c, message, bytes, err);
}

/* ---- behind it ------------------------------------------------------------------------------------ */

static void unbind(struct conn *c)
{
	local_release(c->local);
	if (c->state == CONN_BOUND)
		c->state = CONN_FRESH;
}

/* What the request has done. One that asked for a port's numbers has done nothing. */
static void undo(struct conn *c)
{
	const struct nmreq_header *hdr = (const void *)(c->kept->bytes + sizeof(struct nmd_hdr));
	struct nm_error err;
	uint32_t index;

	if (c->kept->hdr.type == NMD_VM_ADD_PORT)
		vm_drop_port(c->vm);
	else if (hdr->nr_reqtype == NETMAP_REQ_VALE_ATTACH)
		(void)nm_attachment_remove(&c->daemon->core, NULL, hdr->nr_name, &index, &err);
	else if (hdr->nr_reqtype == NETMAP_REQ_REGISTER)
		unbind(c);
	free(c->unsent);
	c->unsent = NULL;
}

static void send_kept(void *arg, const struct nm_error *err)
{
	struct conn *c = arg;
	int error;

	if (err)
		undo(c);
	error = err ? ctl_answer_error(c, c->kept, err) : ctl_go_on(c);
	drop_kept(c);
	listen_again(c);
	ctl_end_request(c);
	if (error)
		ctl_end(c);
}

/* The reply waits in a list: -EINPROGRESS; or 0 without memory, and it is sent before what it waits for. */
static int keep_reply(struct conn *c, const union ctl_message *message, size_t bytes)
{
	if (keep(c, message, bytes) == 0)
		return -EINPROGRESS;
	port_wait_forget(&c->wait);
	forget_taps(c);
	return 0;
}

/* Does it wait for the interface? */
static bool waits_for_nic(struct conn *c, const char *name, bool attach,
	const union ctl_message *message, size_t bytes)
{
	bool host = message->hdr.type == NMD_NMREQ &&
		    policy_host_rings(message->bytes + sizeof(struct nmd_hdr),
			    bytes - sizeof(struct nmd_hdr));

	c->wait.fn = send_kept;
	c->wait.arg = c;
	return nics_ready(c->daemon, name, attach, host, account_uid(c->user), &c->wait) != 0;
}

int ctl_nics_ready(struct conn *c, const char *name, bool attach, const union ctl_message *message,
	size_t bytes)
{
	return waits_for_nic(c, name, attach, message, bytes) ? keep_reply(c, message, bytes) : 0;
}

void ctl_nics_start(struct conn *c, const char *name, bool attach, const union ctl_message *message,
	size_t bytes)
{
	if (waits_for_nic(c, name, attach, message, bytes))
		port_wait_forget(&c->wait);
}

/* Does it wait for the device that this request has removed? */
static bool waits_for_end(struct conn *c, const struct nmreq_header *hdr)
{
	char name[IFNAMSIZ];

	return short_name(hdr, name) && taps_ask(c->daemon, TAP_WANT_END, name, &c->tap_wait) != 0;
}

int ctl_taps_ready(struct conn *c, const struct nmreq_header *hdr, const union ctl_message *message,
	size_t bytes)
{
	c->tap_wait.fn = taps_are_gone;
	c->tap_wait.arg = c;
	return waits_for_end(c, hdr) ? keep_reply(c, message, bytes) : 0;
}

void ctl_taps_go_on(struct conn *c)
{
	c->taps_gone = false;
	if (!c->unsent)
		handle_kept(c, NULL);
	else if (!waits_for_end(c, (const void *)(c->kept->bytes + sizeof(struct nmd_hdr))))
		send_kept(c, NULL);
}

void ctl_nics_forget(struct conn *c)
{
	port_wait_forget(&c->wait);
	forget_taps(c);
	if (c->kept)
		drop_kept(c);
}
