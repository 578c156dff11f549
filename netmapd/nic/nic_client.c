/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What comes from netmapd-nic moves the link from state to state; what does not fit is a failure, as is the end of the
 * connection. gone() comes from an eventfd's callback (`later`), or with the message that says so.
 */
#include "nic_client.h"

#include <stdlib.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include "device_closer.h"
#include "nic_connect.h"

enum { NIC_ERRNO_MAX = 4096 };

/* ---- ends --------------------------------------------------------------------------------- */

/* Bytes of a queue in the file of posted chunks. */
static size_t posted_bytes(const struct nic_link *link)
{
	return NIC_POSTED_HEAD + (size_t)link->sizes.fill * sizeof(uint64_t);
}

static void drop_posted(struct nic_link *link)
{
	if (link->posted_map)
		munmap(link->posted_map, link->num_queues * posted_bytes(link));
	if (link->posted >= 0)
		close(link->posted);
	link->posted_map = NULL;
	link->posted = -1;
}

static void drop_queues(struct nic_link *link)
{
	drop_posted(link);
	/* At once: NIC_RELEASED says that it is done. */
	for (uint32_t i = 0; i < link->num_queues; i++)
		xsk_destroy(&link->queues[i]);
	link->num_queues = 0;
	link->mapped = false;
}

/* What came from netmapd-nic can be the last one of a network device. */
static void close_later(const struct nic_link *link, const int *fds, uint32_t num_fds)
{
	device_closer_later(link->facts.ifname, fds, num_fds);
}

static void hang_up(struct nic_link *link)
{
	loop_del(link->loop, link->handle);
	link->handle = NULL;
	if (link->sock >= 0)
		shutdown(link->sock, SHUT_RDWR); /* the other side needn't wait, */
	close_later(link, &link->sock, 1);       /* but for what is in it to be read */
	link->sock = -1;
}

static void free_link(struct nic_link *link)
{
	drop_queues(link);
	if (link->counters)
		munmap((void *)(uintptr_t)link->counters, sizeof(*link->counters));
	hang_up(link);
	loop_del(link->loop, link->later_handle);
	if (link->later >= 0)
		close(link->later);
	free(link);
}

static void tell_gone(struct nic_link *link, int error)
{
	hang_up(link);
	link->state = NIC_LINK_GONE;
	link->gone_error = error;
	eventfd_write(link->later, 1);
}

static void on_later(void *arg, uint32_t events)
{
	struct nic_link *link = arg;

	link->ops->gone(link->arg, link->gone_error);
	free_link(link);
}

/* netmapd-nic has refused, or has died. */
static void tell_failed(struct nic_link *link, const struct nm_error *err)
{
	if (link->state >= NIC_LINK_FAILED)
		return;
	link->state = NIC_LINK_FAILED;
	link->ops->failed(link->arg, link, err);
}

/* ---- messages ------------------------------------------------------------------------------ */

/* Users read what netmapd-nic says, and JSON quotes it. */
static void take_text(char *to, const char *text, size_t bytes)
{
	memmove(to, text, bytes);
	to[bytes - 1] = '\0';
	os_make_printable(to);
}

/* A name that can't be one leaves the old one. */
static void take_facts(struct nic_link *link, const struct nic_facts *facts)
{
	struct nic_facts f = *facts;

	take_text(f.ifname, facts->ifname, sizeof(f.ifname));
	take_text(f.driver, facts->driver, sizeof(f.driver));
	if (!f.ifname[0] || memcmp(f.ifname, facts->ifname, strlen(f.ifname)) != 0)
		memcpy(f.ifname, link->facts.ifname, sizeof(f.ifname));
	link->facts = f;
}

static void take_deferred(struct nic_link *link, uint32_t deferred)
{
	link->deferred = deferred < link->num_queues ? deferred : link->num_queues;
}

/* 0, or a negative errno as nic_send(). */
static int send_released(struct nic_link *link, uint32_t first, uint32_t count)
{
	struct nic_released msg = {.first_queue = first, .num_queues = count};

	nic_header_init(&msg.hdr, NIC_RELEASED);
	return nic_send(link->sock, &msg, sizeof(msg), NULL, 0);
}

static int send_plain(struct nic_link *link, enum nic_message_type type)
{
	struct nic_plain msg;

	nic_header_init(&msg.hdr, type);
	return nic_send(link->sock, &msg, sizeof(msg), NULL, 0);
}

static int on_known(struct nic_link *link, const struct nic_told *msg)
{
	if (link->state == NIC_LINK_RELEASED && link->died) {
		if (msg->facts.ifindex != link->facts.ifindex)
			return -ENODEV;
		return send_released(link, link->first_queue, link->exposed_queues);
	}
	if (link->state != NIC_LINK_ASKED)
		return -EPROTO;
	take_facts(link, &msg->facts);
	link->state = NIC_LINK_KNOWN;
	link->ops->known(link->arg, link);
	return 0;
}

static int make_posted(struct nic_link *link)
{
	size_t bytes = link->num_queues * posted_bytes(link);
	void *map;

	link->posted = memfd_create("netmapd-nic", MFD_CLOEXEC);
	if (link->posted < 0 || ftruncate(link->posted, (off_t)bytes) < 0)
		return -errno;
	map = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, link->posted, 0);
	if (map == MAP_FAILED)
		return -errno;
	link->posted_map = map;
	return 0;
}

static int on_opened(struct nic_link *link, const struct nic_opened *msg)
{
	int error;

	if (link->state != NIC_LINK_OPENING || msg->num_queues == 0 ||
		msg->num_queues > NIC_QUEUES_MAX)
		return -EPROTO;
	take_facts(link, &msg->facts);
	link->first_queue = msg->first_queue;
	link->num_queues = msg->num_queues;
	error = make_posted(link);
	if (error)
		return error;
	for (uint32_t i = 0; i < link->num_queues; i++)
		xsk_init_unbound(&link->queues[i], link->first_queue + i,
			link->posted_map + i * posted_bytes(link), link->sizes.fill);
	link->state = NIC_LINK_OPENED;
	link->ops->opened(link->arg, link);
	return 0;
}

/* The sockets are the link's, or closed, whatever is returned. */
static int map_queues(struct nic_link *link, const int *fds, uint32_t num_fds)
{
	int error = num_fds == link->num_queues ? 0 : -EPROTO;

	for (uint32_t i = 0; i < num_fds; i++) {
		if (!error)
			error = xsk_init(
				&link->queues[i], fds[i], link->first_queue + i, &link->sizes);
		if (error)
			close(fds[i]);
	}
	return error;
}

static int on_bound(
	struct nic_link *link, const struct nic_bound *msg, const int *fds, uint32_t num_fds)
{
	bool fits = link->state == NIC_LINK_BINDING && msg->mode != NIC_MODE_ANY &&
		    msg->mode < NIC_MODES && !(link->mapped && num_fds > 0);
	int error = link->mapped ? 0 : map_queues(link, fds, fits ? num_fds : 0);

	if (!fits)
		close_later(link, fds, num_fds);
	if (!fits || error)
		return fits ? error : -EPROTO;
	drop_posted(link);
	take_facts(link, &msg->facts);
	link->mode = msg->mode;
	link->prog_id = msg->prog_id;
	take_deferred(link, msg->deferred);
	take_text(link->why, msg->why, sizeof(link->why));
	link->state = NIC_LINK_BOUND;
	link->ops->bound(link->arg, link);
	return 0;
}

/* The map is closed by the caller. */
static int on_dropped(struct nic_link *link, const int *fds, uint32_t num_fds)
{
	void *map;

	if (link->state != NIC_LINK_OPENING || link->counters || num_fds != 1)
		return -EPROTO;
	map = mmap(NULL, sizeof(*link->counters), PROT_READ, MAP_SHARED, fds[0], 0);
	if (map == MAP_FAILED)
		return -errno;
	link->counters = map;
	return 0;
}

static int on_used(
	struct nic_link *link, const struct nic_used *msg, const int *fds, uint32_t num_fds)
{
	char text[NIC_TEXT_MAX];
	struct nm_error err;

	if (!link->using || msg->error > 0 || msg->error < -NIC_ERRNO_MAX ||
		(num_fds > 0 && (msg->error || num_fds != link->asked_host))) {
		close_later(link, fds, num_fds);
		return -EPROTO;
	}
	link->using = false;
	if (link->state != NIC_LINK_BOUND) {
		close_later(link, fds, num_fds); /* it was closed meanwhile */
		return 0;
	}
	take_text(link->twin, msg->twin_name, sizeof(link->twin));
	take_text(text, msg->text, sizeof(text));
	nm_error_set(&err, msg->error, "%s", text[0] ? text : "there are no host rings");
	link->ops->used(link->arg, link, fds, num_fds, msg->error ? &err : NULL);
	return 0;
}

/* This kernel maps no rings of bound sockets. */
static int on_unbound(struct nic_link *link, const int *fds, uint32_t num_fds)
{
	bool fits = link->state == NIC_LINK_BINDING && !link->mapped;
	int error = map_queues(link, fds, fits ? num_fds : 0);

	if (!fits)
		close_later(link, fds, num_fds);
	if (!fits || error)
		return fits ? error : -EPROTO;
	link->mapped = true;
	drop_posted(link);
	return send_plain(link, NIC_MAPPED);
}

static int on_detached(struct nic_link *link)
{
	uint32_t count = link->num_queues;

	/* While it binds: the sockets are spoilt, and others follow. */
	if (link->state != NIC_LINK_BINDING && link->state != NIC_LINK_DETACHING)
		return -EPROTO;
	drop_queues(link);
	link->state = link->state == NIC_LINK_BINDING ? NIC_LINK_OPENING : NIC_LINK_RELEASED;
	return send_released(link, link->first_queue, count);
}

static int on_changed(struct nic_link *link, const struct nic_told *msg)
{
	take_facts(link, &msg->facts);
	take_deferred(link, msg->deferred);
	if (link->state < NIC_LINK_FAILED)
		link->ops->changed(link->arg, link);
	return 0;
}

static void on_refused(struct nic_link *link, const struct nic_failed *msg)
{
	int error = msg->error < 0 && msg->error > -NIC_ERRNO_MAX ? msg->error : -EPROTO;
	char text[NIC_TEXT_MAX];
	struct nm_error err;

	take_text(text, msg->text, sizeof(text));
	nm_error_set(
		&err, error, "%s", text[0] ? text : "netmapd-nic has refused, and doesn't say why");
	if (link->died)
		tell_gone(link, err.code);
	else
		tell_failed(link, &err); /* the connection goes on until nic_link_close() */
}

/* 0 or a negative errno: the connection is no good. The link may be gone, or failed, after 0. */
static int on_message(
	struct nic_link *link, union nic_message *msg, const int *fds, uint32_t num_fds)
{
	int error = msg->hdr.type == NIC_DROPPED ? on_dropped(link, fds, num_fds) : -EPROTO;

	if (msg->hdr.type == NIC_BOUND)
		return on_bound(link, &msg->bound, fds, num_fds);
	if (msg->hdr.type == NIC_UNBOUND)
		return on_unbound(link, fds, num_fds);
	if (msg->hdr.type == NIC_USED)
		return on_used(link, &msg->used, fds, num_fds);
	close_later(link, fds, num_fds);
	switch (msg->hdr.type) {
	case NIC_DROPPED:
		return error;
	case NIC_KNOWN:
		return on_known(link, &msg->told);
	case NIC_OPENED:
		return on_opened(link, &msg->opened);
	case NIC_CHANGED:
		return on_changed(link, &msg->told);
	case NIC_DETACHED:
		return on_detached(link);
	case NIC_GONE:
		if (link->state != NIC_LINK_RELEASED)
			return -EPROTO;
		tell_gone(link, msg->gone.error);
		return 0;
	case NIC_FAILED:
		on_refused(link, &msg->failed);
		return 0;
	}
	return -EPROTO;
}

static void on_ready(void *arg, uint32_t events);

static int send_ask(struct nic_link *link, uid_t user)
{
	struct nic_ask msg = {.user = user};

	nic_header_init(&msg.hdr, NIC_ASK);
	memcpy(msg.ifname, link->facts.ifname, sizeof(msg.ifname));
	return nic_send(link->sock, &msg, sizeof(msg), NULL, 0);
}

static int dial(struct nic_link *link, struct nm_error *err)
{
	int error;

	link->sock = nic_connect(link->socket, err);
	if (link->sock < 0)
		return link->sock;
	error = loop_add(link->loop, link->sock, EPOLLIN, on_ready, link, &link->handle);
	if (!error)
		error = send_ask(link, link->user);
	if (error && error != -EPIPE) /* who has hung up already has said why */
		return nm_error_set(
			err, error, "%s: netmapd-nic: %s", link->facts.ifname, strerror(-error));
	return 0;
}

/* netmapd-nic has died, so the program is detached; another one can say when the kernel has let go. */
static void ask_another(struct nic_link *link)
{
	struct nm_error err;

	drop_queues(link);
	link->state = NIC_LINK_RELEASED;
	if (!link->exposed)
		tell_gone(link, 0);
	else if (dial(link, &err) != 0)
		tell_gone(link, err.code);
}

/* The connection is of no use any more. */
static void on_end(struct nic_link *link, int error)
{
	bool again = link->died;
	struct nm_error err;

	hang_up(link);
	link->died = true;
	if (error == -EPIPE)
		nm_error_set(&err, error, "%s: netmapd-nic has ended; its log says why",
			link->facts.ifname);
	else
		nm_error_set(&err, error, "%s: netmapd-nic: %s", link->facts.ifname,
			error == -EPROTO ? "it speaks another protocol: is it of this version?"
					 : strerror(-error));
	if (link->state < NIC_LINK_DETACHING)
		tell_failed(link, &err);
	else if (again)
		tell_gone(link, error);
	else
		ask_another(link);
}

static void on_ready(void *arg, uint32_t events)
{
	struct nic_link *link = arg;
	union nic_message msg;
	int fds[NIC_QUEUES_MAX];
	uint32_t num_fds = NIC_QUEUES_MAX;
	int error = nic_receive(link->sock, &msg, fds, &num_fds);

	if (error == -EAGAIN || error == -EINTR)
		return;
	if (error > 0)
		error = on_message(link, &msg, fds, num_fds);
	else
		close_later(link, fds, num_fds);
	if (error < 0)
		on_end(link, error);
}

/* ---- the calls ------------------------------------------------------------------------------ */

struct nic_link *nic_link_new(struct loop *loop, const char *socket, const char *ifname, uid_t user,
	const struct nic_link_ops *ops, void *arg, struct nm_error *err)
{
	struct nic_link *link;

	if (!ifname[0] || strlen(ifname) >= NIC_NAME_MAX) {
		nm_error_set(err, -ENODEV, "%.64s: no network interface has such a name", ifname);
		return NULL;
	}
	/* Its queues lie on cache lines. */
	link = aligned_alloc(64, (sizeof(*link) + 63) / 64 * 64);
	if (!link) {
		nm_error_set(err, -ENOMEM, "%s: out of memory", ifname);
		return NULL;
	}
	memset(link, 0, sizeof(*link));
	link->loop = loop;
	link->socket = socket;
	link->user = user;
	link->ops = ops;
	link->arg = arg;
	link->sock = -1;
	link->posted = -1;
	memcpy(link->facts.ifname, ifname, strlen(ifname));
	link->later = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (link->later < 0 ||
		loop_add(loop, link->later, EPOLLIN, on_later, link, &link->later_handle) != 0)
		nm_error_set(err, -ENOMEM, "%s: no descriptor: %s", ifname, strerror(errno));
	else if (dial(link, err) == 0)
		return link;
	free_link(link);
	return NULL;
}

void nic_link_open(struct nic_link *link, const struct nic_params *p)
{
	struct nic_open msg = {
		.mode = p->mode,
		.chunk = p->chunk,
		.umem_offset = p->umem_offset,
		.umem_bytes = p->umem_bytes,
		.fill = p->sizes.fill,
		.completion = p->sizes.completion,
		.rx = p->sizes.rx,
		.tx = p->sizes.tx,
		.first_queue = p->first_queue,
		.num_queues = p->num_queues,
		.sg = p->sg,
		.no_promisc = p->no_promisc,
		.busy_poll_us = p->busy_poll_us,
		.busy_poll_budget = p->busy_poll_budget,
		.hardware = p->hardware,
		.pass = p->pass,
		.num_ip4 = p->num_ip4,
		.num_ip6 = p->num_ip6,
	};

	os_assert(link->state == NIC_LINK_KNOWN);
	nic_header_init(&msg.hdr, NIC_OPEN);
	memcpy(msg.ip4, p->ip4, sizeof(msg.ip4));
	memcpy(msg.ip6, p->ip6, sizeof(msg.ip6));
	link->sizes = p->sizes;
	link->state = NIC_LINK_OPENING;
	/* When it can't be sent the connection has ended, which is noticed. */
	if (nic_send(link->sock, &msg, sizeof(msg), &p->memory, 1) != 0)
		shutdown(link->sock, SHUT_RDWR);
}

void nic_link_bind(struct nic_link *link)
{
	struct nic_bind msg = {.posted = {0}};

	os_assert(link->state == NIC_LINK_OPENED);
	nic_header_init(&msg.hdr, NIC_BIND);
	for (uint32_t i = 0; i < link->num_queues; i++)
		msg.posted[i] = link->queues[i].fill.mine;
	link->state = NIC_LINK_BINDING;
	link->exposed = true;
	link->exposed_queues = link->num_queues;
	if (nic_send(link->sock, &msg, sizeof(msg), &link->posted, 1) != 0)
		shutdown(link->sock, SHUT_RDWR);
}

void nic_link_use(struct nic_link *link, bool hardware, uint32_t host_rings, uid_t user)
{
	struct nic_use msg = {.hardware = hardware, .host_rings = host_rings, .user = user};

	os_assert(link->state == NIC_LINK_BOUND && !link->using);
	nic_header_init(&msg.hdr, NIC_USE);
	link->using = true;
	link->asked_host = host_rings;
	if (host_rings == 0)
		link->twin[0] = '\0';
	if (nic_send(link->sock, &msg, sizeof(msg), NULL, 0) != 0)
		shutdown(link->sock, SHUT_RDWR);
}

void nic_link_close(struct nic_link *link)
{
	os_assert(link->state < NIC_LINK_DETACHING);
	if (link->sock < 0) {
		ask_another(link);
		return;
	}
	if (!link->exposed) {
		drop_queues(link);
		tell_gone(link, 0);
		return;
	}
	link->state = NIC_LINK_DETACHING;
	if (send_plain(link, NIC_CLOSE) != 0)
		shutdown(link->sock, SHUT_RDWR);
}

void nic_link_abandon(struct nic_link *link)
{
	free_link(link);
}
