/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Messages that take more than a turn: those that are tried again, those that are carried out in parts, and those
 * whose reply waits for something. While there is one of a connection, no other message of it is read.
 */
#include "ctl_internal.h"
#include "local.h"
#include "settings.h"
#include "vm.h"

#include <stdlib.h>

enum {
	TRIES_MAX = 2000, /* for what others are about to open, */
	TRY_MS = 1,       /* one after the other */
};

static void pause_for_a_try(struct conn *c)
{
	loop_pause(c->daemon->loop, c->handle, TRY_MS);
	loop_again(c->daemon->loop, c->handle);
}

bool ctl_try_behind_settings(struct conn *c)
{
	c->waiting = ctl_copy(c->in);
	if (c->waiting)
		pause_for_a_try(c);
	return c->waiting != NULL;
}

bool ctl_try_later(struct conn *c)
{
	return ++c->tries <= TRIES_MAX && ctl_try_behind_settings(c);
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

/* The reply is in c->unsent: it is sent when the NIC that it concerns works. */
static int send_when_ready(
	struct conn *c, const char *name, bool attach, const union ctl_message *message)
{
	return ctl_nics_ready(c, name, attach, message, message->hdr.size) == 0 ? ctl_go_on(c) : 0;
}

/* Without memory, too, the NIC is asked for host rings, where it is to have them; the one who asked is then told now that it is done,
 * not when they work. */
int ctl_reply_when_ready(
	struct conn *c, const char *name, bool attach, const union ctl_message *message)
{
	if (ctl_reply_keep(c))
		return send_when_ready(c, name, attach, message);
	ctl_nics_start(c, name, attach, message, message->hdr.size);
	return ctl_reply_send(c, NULL, 0);
}

int ctl_reply_when_gone(
	struct conn *c, const struct nmreq_header *hdr, const union ctl_message *message)
{
	if (!ctl_reply_keep(c)) /* it is on its way, and the one who asked is told so */
		return ctl_reply_send(c, NULL, 0);
	return ctl_taps_ready(c, hdr, message, message->hdr.size) == 0 ? ctl_go_on(c) : 0;
}

int ctl_reply_in_parts(struct conn *c)
{
	struct nm_error err;

	c->request = ctl_reply_keep(c) ? ctl_copy(c->in) : NULL;
	if (c->request)
		return ctl_go_on(c);
	free(c->unsent);
	c->unsent = NULL;
	if (c->vm)
		vm_add_port_cancel(c->vm);
	else
		local_release(c->local);
	nm_error_set(&err, -ENOMEM, "netmapd is out of memory");
	return ctl_answer_error(c, c->in, &err);
}

int ctl_reply_when_settled(struct conn *c)
{
	ctl_reply_begin(c, sizeof(struct nmd_reply));
	/* Without memory to keep it, too: it goes on, and the one who asked is told so. */
	if (!settings_go_on() || !ctl_reply_keep(c))
		return ctl_reply_send(c, NULL, 0);
	c->settles = true;
	pause_for_a_try(c);
	return 0;
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

int ctl_go_on(struct conn *c)
{
	if (c->building)
		return ctl_go_on_status(c);
	if (c->waiting)
		return try_again(c);
	if (c->request)
		return go_on_in_parts(c);
	c->settles = c->settles && settings_go_on();
	if (c->settles) {
		pause_for_a_try(c);
		return 0;
	}
	return ctl_reply_send_kept(c);
}
