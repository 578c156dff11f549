/* SPDX-License-Identifier: BSD-2-Clause */
/* Messages in, state by state; each request either succeeds, or is answered by NIC_FAILED. */
#include "session.h"

#include <fcntl.h>
#include <linux/sockios.h>
#include <net/if.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "access.h"
#include "device.h"
#include "kernel.h"
#include "log.h"
#include "netlink.h"
#include "nic_connect.h"
#include "session_internal.h"

enum {
	READ_FIRST_MS = 5,  /* has the client read all? It is looked first after this time, */
	READ_LAST_MS = 160, /* and then less and less often, up to this one */
	COUNT_MS = 1000,    /* so often the twin's losses are looked at */
};

/* ---- telling ---------------------------------------------------------------------------------- */

/* 0 or a negative errno, which is the end of the session. */
static int send_it(struct session *s, const void *message, size_t bytes, const int *fds, uint32_t n)
{
	int error = nic_send(s->sock, message, bytes, fds, n);

	s->unheard = error != 0;
	return error;
}

static bool has_read_all(const struct session *s)
{
	int unread = 0;

	return ioctl(s->sock, SIOCOUTQ, &unread) == 0 && unread == 0;
}

static void look_for_changes(struct session *s);

/*
 * Until the client has read what it was sent, if there were descriptors, or is gone. Without a bound: one that was stopped, as by a
 * debugger, keeps its interface, as it does when nothing waits to be read. It makes nobody else wait. Meanwhile the interface may change,
 * and even go.
 */
static void wait_until_read(struct session *s)
{
	for (long ms = READ_FIRST_MS; s->sent_fds && !has_read_all(s);) {
		nanosleep(&(struct timespec){.tv_nsec = ms * 1000000}, NULL);
		ms = ms < READ_LAST_MS ? ms * 2 : ms;
		look_for_changes(s);
	}
}

/*
 * The kernel counts descriptors that wait to be read, of all processes of this user together, and beyond a limit lets none of them send
 * any more. So a client has those of one message at most, for which there is room (raise_limit() in main.c); the next one with n of them
 * waits. What it says is put together afterwards. False: the interface has gone meanwhile, and the client was told.
 */
static bool wait_for_room(struct session *s, uint32_t n)
{
	if (n == 0)
		return true;
	wait_until_read(s);
	s->sent_fds = true;
	return s->state != SESSION_FAILED;
}

static int tell(struct session *s, void *message, size_t bytes, enum nic_message_type type)
{
	nic_header_init(message, type);
	return send_it(s, message, bytes, NULL, 0);
}

static int tell_plain(struct session *s, enum nic_message_type type)
{
	struct nic_plain msg;

	return tell(s, &msg, sizeof(msg), type);
}

static int tell_facts(struct session *s, enum nic_message_type type)
{
	struct nic_told msg = {.facts = s->facts, .deferred = s->deferred};

	return tell(s, &msg, sizeof(msg), type);
}

static int tell_gone(struct session *s, int error)
{
	struct nic_gone msg = {.error = error};

	return tell(s, &msg, sizeof(msg), NIC_GONE);
}

static int tell_failed(struct session *s, const struct nm_error *err)
{
	struct nic_failed msg = {.error = err->code};

	snprintf(msg.text, sizeof(msg.text), "%s", err->text);
	return tell(s, &msg, sizeof(msg), NIC_FAILED);
}

static int tell_opened(struct session *s)
{
	struct nic_opened msg = {
		.facts = s->facts, .first_queue = s->sockets.first, .num_queues = s->sockets.count};

	s->state = SESSION_OPENED;
	return tell(s, &msg, sizeof(msg), NIC_OPENED);
}

/* From now on the client has the sockets; unless it had them before. */
static int tell_bound(struct session *s)
{
	uint32_t fds = s->state == SESSION_UNMAPPED ? 0 : s->sockets.count;
	struct nic_bound msg;

	s->state = SESSION_BOUND;
	if (!wait_for_room(s, fds))
		return 0;
	msg = (struct nic_bound){.facts = s->facts,
		.mode = s->mode,
		.prog_id = program_id(s->prog),
		.deferred = s->deferred};
	memcpy(msg.why, s->why, sizeof(msg.why));
	nic_header_init(&msg.hdr, NIC_BOUND);
	return send_it(s, &msg, sizeof(msg), s->sockets.fd, fds);
}

/* Where the client sees how many of the stack's frames are dropped. */
static int tell_dropped(struct session *s)
{
	struct nic_plain msg;

	nic_header_init(&msg.hdr, NIC_DROPPED);
	if (s->stack.maps.dropped < 0 || !wait_for_room(s, 1))
		return 0;
	return send_it(s, &msg, sizeof(msg), &s->stack.maps.dropped, 1);
}

static int tell_unbound(struct session *s)
{
	struct nic_plain msg;

	nic_header_init(&msg.hdr, NIC_UNBOUND);
	s->state = SESSION_UNMAPPED;
	if (!wait_for_room(s, s->sockets.count))
		return 0;
	return send_it(s, &msg, sizeof(msg), s->sockets.fd, s->sockets.count);
}

/* ---- asking ----------------------------------------------------------------------------------- */

static int may_have(struct session *s, uid_t user, struct nm_error *err)
{
	if (access_may(&s->rules, user, s->facts.ifname))
		return 0;
	nm_error_set(err, -EACCES,
		"%s: user %u may not have this interface; the administrator can allow it by a line \"allow %u %s\" in %s",
		s->facts.ifname, (unsigned)user, (unsigned)user, s->facts.ifname,
		s->config->access);
	/* No later message does anything to it. */
	s->facts = (struct nic_facts){0};
	return err->code;
}

static int find(struct session *s, const char ifname[NIC_NAME_MAX], struct nm_error *err)
{
	memcpy(s->facts.ifname, ifname, NIC_NAME_MAX);
	if (!memchr(ifname, '\0', NIC_NAME_MAX) || !ifname[0])
		return nm_error_set(err, -ENODEV, "no network interface has such a name");
	return device_facts(&s->facts, err);
}

static int ask(struct session *s, const struct nic_ask *msg, struct nm_error *err)
{
	int error = find(s, msg->ifname, err);

	if (!error)
		error = may_have(s, s->peer, err);
	if (!error && msg->user != s->peer)
		error = may_have(s, msg->user, err);
	if (error)
		return error;
	memcpy(s->asked, s->facts.ifname, sizeof(s->asked));
	s->watch[0] = netlink_watch();
	s->watch[1] = netlink_watch_ethtool();
	if (s->watch[0] < 0)
		return nm_error_set(err, s->watch[0], "%s: rtnetlink: %s", s->facts.ifname,
			strerror(-s->watch[0]));
	s->state = SESSION_KNOWN;
	return tell_facts(s, NIC_KNOWN);
}

static int check(struct session *s, const struct nic_check *msg, struct nm_error *err)
{
	struct nic_report report = {.mtu_max_chunk = 0};
	int error = find(s, msg->ifname, err);

	if (!error)
		error = may_have(s, s->peer, err);
	if (!error)
		error = session_check(s, &report, err);
	return error ? error : tell(s, &report, sizeof(report), NIC_REPORT);
}

/* ---- opening ---------------------------------------------------------------------------------- */

static bool is_ring(uint32_t n)
{
	return n >= 2 && n <= NIC_RING_MAX && (n & (n - 1)) == 0;
}

static int check_memory(const struct session *s, const struct nic_open *o, struct nm_error *err)
{
	const char *ifname = s->facts.ifname;
	struct stat st;
	int seals = s->memory < 0 ? -1 : fcntl(s->memory, F_GET_SEALS);

	if (seals < 0 || !(seals & F_SEAL_SHRINK) || fstat(s->memory, &st) < 0)
		return nm_error_set(err, -EINVAL,
			"%s: its memory is no memfd sealed against shrinking", ifname);
	if (o->chunk != 2048 && o->chunk != 4096)
		return nm_error_set(err, -EINVAL,
			"%s: chunks of %u bytes; 2048 and 4096 are possible", ifname, o->chunk);
	if (o->umem_bytes == 0 || o->umem_bytes % o->chunk || o->umem_offset % 4096 ||
		o->umem_offset > (uint64_t)st.st_size ||
		o->umem_bytes > (uint64_t)st.st_size - o->umem_offset)
		return nm_error_set(err, -EINVAL,
			"%s: memory from byte %llu, %llu bytes: not whole chunks within the %lld bytes of its file",
			ifname, (unsigned long long)o->umem_offset,
			(unsigned long long)o->umem_bytes, (long long)st.st_size);
	if (o->umem_bytes > s->rules.memory)
		return nm_error_set(err, -ENOMEM,
			"%s: %llu bytes of memory, at most %llu are allowed; the administrator can raise it by a line \"memory BYTES\" in %s",
			ifname, (unsigned long long)o->umem_bytes,
			(unsigned long long)s->rules.memory, s->config->access);
	return 0;
}

/* Which queues; those that can send and receive. */
static int choose_queues(struct session *s, const struct nic_open *o, struct nm_error *err)
{
	uint32_t there =
		s->facts.queues < s->facts.tx_queues ? s->facts.queues : s->facts.tx_queues;
	uint32_t count = o->num_queues ? o->num_queues : there - o->first_queue;

	if (o->first_queue >= there || count > there - o->first_queue)
		return nm_error_set(err, -EINVAL,
			"%s: queues %u to %llu; it has %u that receive and %u that send",
			s->facts.ifname, o->first_queue,
			(unsigned long long)o->first_queue + count - 1, s->facts.queues,
			s->facts.tx_queues);
	s->sockets.first = o->first_queue;
	s->sockets.count = count;
	return 0;
}

/* Can the rings of a bound socket be mapped? Linux before 6.4 says EBUSY. */
static bool can_map_bound(void)
{
	return kernel_is_at_least(6, 4);
}

/* Sockets are handed out unbound where the kernel wants that. */
static int may_have_unbound(struct session *s, struct nm_error *err)
{
	if (can_map_bound() || access_may_all(&s->rules, s->peer))
		return 0;
	return nm_error_set(err, -EACCES,
		"%s: on Linux before 6.4 netmapd gets sockets that fit any interface, so user %u must be allowed all of them: \"allow %u *\" in %s; or run netmapd as root",
		s->facts.ifname, (unsigned)s->peer, (unsigned)s->peer, s->config->access);
}

static int check_numbers(struct session *s, const struct nic_open *o, struct nm_error *err)
{
	const char *ifname = s->facts.ifname;
	uint32_t most = o->chunk - NIC_HEADROOM - NIC_FRAME_EXTRA;

	if (!is_ring(o->fill) || !is_ring(o->completion) || !is_ring(o->rx) || !is_ring(o->tx))
		return nm_error_set(err, -EINVAL,
			"%s: rings of %u, %u, %u, %u entries; powers of two from 2 to %d are possible",
			ifname, o->fill, o->completion, o->rx, o->tx, NIC_RING_MAX);
	if (o->mode >= NIC_MODES || o->pass & ~(uint32_t)NIC_PASS_ALL ||
		o->num_ip4 > NIC_ADDRESSES_MAX || o->num_ip6 > NIC_ADDRESSES_MAX ||
		o->busy_poll_us > 1000000 || o->busy_poll_budget > 65535)
		return nm_error_set(err, -EINVAL, "%s: an option is out of range", ifname);
	if (o->sg && o->mode == NIC_MODE_ZEROCOPY)
		return nm_error_set(err, -EOPNOTSUPP,
			"%s: packets over several chunks and zero copy exclude each other", ifname);
	if (!o->sg && s->facts.mtu > most)
		return nm_error_set(err, -EMSGSIZE,
			"%s: its MTU is %u, at most %u fit into a buffer; ip link set %s mtu %u, or use several slots per packet",
			ifname, s->facts.mtu, most, ifname, most);
	return choose_queues(s, o, err);
}

static int open_interface(struct session *s, const struct nic_open *o, struct nm_error *err)
{
	int error = device_facts(&s->facts, err); /* it may have changed */

	s->open = *o;
	if (!error)
		error = may_have_unbound(s, err);
	if (!error)
		error = check_memory(s, o, err);
	if (!error)
		error = check_numbers(s, o, err);
	if (!error)
		error = claim_take(&s->claim, s->config->state, &s->facts, err);
	if (!error)
		error = session_prepare(s, err);
	if (!error)
		error = tell_dropped(s);
	return error ? error : tell_opened(s);
}

/* ---- binding ---------------------------------------------------------------------------------- */

/* Chunks are posted, and rings mapped where they can't be later. */
static int bind_posted(struct session *s, struct nm_error *err)
{
	bool spoilt = false;
	int error = session_bind(s, &spoilt, err);

	if (!error)
		return tell_bound(s);
	if (!spoilt)
		return error;
	session_detach(s);
	s->state = SESSION_SPOILT;
	return tell_plain(s, NIC_DETACHED);
}

static int bind_interface(struct session *s, const struct nic_bind *msg, struct nm_error *err)
{
	int error = sockets_post(
		&s->sockets, s->facts.ifname, s->posted, s->open.fill, msg->posted, err);

	if (s->posted >= 0)
		close(s->posted);
	s->posted = -1;
	if (error)
		return error;
	return can_map_bound() ? bind_posted(s, err) : tell_unbound(s);
}

/* Fresh sockets for the next mode, when nobody has anything of the old ones. */
static int start_again(struct session *s, struct nm_error *err)
{
	int error;

	sockets_close(&s->sockets);
	error = sockets_wait_gone(&s->facts, s->sockets.first, s->sockets.bound);
	if (error)
		return nm_error_set(err, error, "%s: the kernel doesn't let go of its queues: %s",
			s->facts.ifname, strerror(-error));
	error = sockets_make(&s->sockets, s->facts.ifname, &s->open, s->memory, err);
	return error ? error : tell_opened(s);
}

/* ---- using ------------------------------------------------------------------------------------ */

/* What can't be had is no end of what there is. */
static int use_interface(struct session *s, const struct nic_use *use)
{
	struct nic_used msg = {.error = 0};
	int fds[NIC_QUEUES_MAX], error;
	uint32_t num_fds = 0;
	struct nm_error err;

	if (s->state == SESSION_BOUND)
		msg.error = session_use(s, use, fds, &num_fds, &err);
	else
		msg.error = nm_error_set(&err, -ENODEV, "%s: it has failed", s->facts.ifname);
	if (msg.error) {
		if (s->config->logs)
			nic_log("%s", err.text);
		snprintf(msg.text, sizeof(msg.text), "%s", err.text);
	}
	msg.twin = s->twin.ifindex;
	memcpy(msg.twin_name, s->twin.ifname, sizeof(msg.twin_name));
	nic_header_init(&msg.hdr, NIC_USED);
	error = wait_for_room(s, num_fds) ? send_it(s, &msg, sizeof(msg), fds, num_fds) : 0;
	while (num_fds > 0)
		close(fds[--num_fds]);
	return error;
}

/* ---- closing ---------------------------------------------------------------------------------- */

static int close_interface(struct session *s)
{
	session_detach(s);
	s->state = SESSION_DETACHED;
	return tell_plain(s, NIC_DETACHED);
}

static int wait_gone(struct session *s, uint32_t first, uint32_t count)
{
	int error;

	sockets_close(&s->sockets);
	error = sockets_wait_gone(&s->facts, first, count);
	if (error)
		nic_log("%s: the kernel has not let go of queues %u to %u: %s", s->facts.ifname,
			first, first + count - 1, strerror(-error));
	s->state = SESSION_ENDED;
	return tell_gone(s, error);
}

static int released(struct session *s, const struct nic_released *msg, struct nm_error *err)
{
	if (s->state == SESSION_SPOILT)
		return start_again(s, err);
	if (s->state == SESSION_DETACHED)
		return wait_gone(s, s->sockets.first, s->sockets.bound);
	if (msg->num_queues > NIC_QUEUES_MAX || msg->first_queue > NIC_QUEUES_MAX)
		return nm_error_set(
			err, -EINVAL, "%s: so many queues it can't have had", s->facts.ifname);
	return wait_gone(s, msg->first_queue, msg->num_queues);
}

/* ---- messages --------------------------------------------------------------------------------- */

static const uint32_t fits[] = {
	[NIC_ASK] = 1 << SESSION_FRESH,
	[NIC_CHECK] = 1 << SESSION_FRESH,
	[NIC_OPEN] = 1 << SESSION_KNOWN,
	[NIC_BIND] = 1 << SESSION_OPENED,
	[NIC_MAPPED] = 1 << SESSION_UNMAPPED,
	[NIC_USE] = 1 << SESSION_BOUND | 1 << SESSION_FAILED,
	[NIC_RELEASED] = 1 << SESSION_KNOWN | 1 << SESSION_SPOILT | 1 << SESSION_DETACHED,
	[NIC_CLOSE] = 1 << SESSION_OPENED | 1 << SESSION_UNMAPPED | 1 << SESSION_SPOILT |
		      1 << SESSION_BOUND | 1 << SESSION_FAILED,
};

static int handle(struct session *s, const union nic_message *msg, struct nm_error *err)
{
	switch (msg->hdr.type) {
	case NIC_ASK:
		return ask(s, &msg->ask, err);
	case NIC_CHECK:
		return check(s, &msg->check, err);
	case NIC_OPEN:
		return open_interface(s, &msg->open, err);
	case NIC_BIND:
		return bind_interface(s, &msg->bind, err);
	case NIC_MAPPED:
		return bind_posted(s, err);
	case NIC_USE:
		return use_interface(s, &msg->use);
	case NIC_RELEASED:
		return released(s, &msg->released, err);
	default:
		return close_interface(s);
	}
}

/* False: the session ends. */
static bool on_message(struct session *s)
{
	union nic_message msg;
	struct nm_error err;
	uint32_t num_fds = 1;
	int fd = -1, error = nic_receive(s->sock, &msg, &fd, &num_fds);
	uint32_t type;

	if (error == -EAGAIN || error == -EINTR)
		return true;
	if (error < 0) {
		if (num_fds > 0)
			close(fd);
		nm_error_set(&err, error, "netmapd-nic: this is no message of its version");
		if (error == -EPROTO)
			tell_failed(s, &err);
		return false;
	}
	type = msg.hdr.type;
	if (num_fds > 0 && type == NIC_OPEN && s->memory < 0)
		s->memory = fd;
	else if (num_fds > 0 && type == NIC_BIND && s->posted < 0)
		s->posted = fd;
	else if (num_fds > 0)
		close(fd);
	if (type >= sizeof(fits) / sizeof(fits[0]) || !(fits[type] & 1U << s->state)) {
		nm_error_set(&err, -EPROTO,
			"%s: netmapd-nic: a message (%u) that does not fit here", s->facts.ifname,
			type);
		tell_failed(s, &err);
		return false;
	}
	s->unheard = false;
	error = handle(s, &msg, &err);
	if (s->unheard)
		return false; /* the client is gone, or doesn't read */
	if (error < 0) {
		if (s->config->logs)
			nic_log("%s", err.text);
		s->state = SESSION_FAILED;
		return tell_failed(s, &err) == 0;
	}
	return s->state != SESSION_ENDED;
}

/* Is any of what has come about the interface? What isn't concerns others, however much of it comes. */
static bool has_changed(const struct session *s)
{
	bool changed = netlink_links_changed(s->watch[0], s->facts.ifindex);

	return (s->watch[1] >= 0 && netlink_drain(s->watch[1])) || changed || s->untold;
}

/* Drivers forget it, and have other instances for other channels. Of a device that is down there are none. */
static void defer_again(struct session *s)
{
	if (s->state == SESSION_BOUND && s->facts.up)
		session_defer(s);
	else
		s->deferred = 0;
}

/* The facts are compared, and told when they are others. */
static void on_change(struct session *s)
{
	struct nic_facts now = s->facts, before = s->facts;
	uint32_t deferred = s->deferred;
	struct nm_error err;

	if (!has_changed(s))
		return;
	if (!if_indextoname(s->facts.ifindex, now.ifname)) {
		nm_error_set(&err, -ENODEV,
			"%s: the interface was removed, or moved to another network namespace",
			s->facts.ifname);
		if (s->state != SESSION_FAILED)
			tell_failed(s, &err);
		if (s->state < SESSION_DETACHED)
			s->state = SESSION_FAILED;
		close(s->watch[0]);
		s->watch[0] = -1;
		s->untold = false;
		return;
	}
	if (device_facts(&now, &err) != 0)
		return;
	s->facts = now;
	defer_again(s);
	if (memcmp(&now, &before, sizeof(now)) == 0 && s->deferred == deferred && !s->untold)
		return;
	s->untold = false;
	if (s->state != SESSION_FAILED && s->state < SESSION_DETACHED)
		s->untold = tell_facts(s, NIC_CHANGED) == -EAGAIN;
}

/* What tells of the interface. */
static void watch_changes(const struct session *s, struct pollfd fds[2])
{
	fds[0] = (struct pollfd){.fd = s->watch[0], .events = POLLIN};
	fds[1] = (struct pollfd){.fd = s->watch[0] < 0 ? -1 : s->watch[1], .events = POLLIN};
}

/* Doesn't wait. */
static void look_for_changes(struct session *s)
{
	struct pollfd fds[2];

	watch_changes(s, fds);
	if (poll(fds, 2, 0) > 0)
		on_change(s);
}

static void serve(struct session *s)
{
	struct pollfd fds[3];

	for (;;) {
		fds[0] = (struct pollfd){.fd = s->sock, .events = POLLIN};
		watch_changes(s, fds + 1);
		if (poll(fds, 3, s->twin.ifindex || s->untold ? COUNT_MS : -1) < 0)
			continue;
		session_count(s);
		if (fds[1].revents || fds[2].revents || s->untold)
			on_change(s);
		if (fds[0].revents && !on_message(s))
			return;
	}
}

void session_run(int sock, uid_t peer, const struct session_config *config)
{
	struct session s = {.sock = sock,
		.peer = peer,
		.config = config,
		.memory = -1,
		.posted = -1,
		.map = -1,
		.prog = -1,
		.link = -1,
		.promisc = -1,
		.watch = {-1, -1},
		.stack = STACK_NONE,
		.twin = TWIN_NONE,
		.claim.fd = -1};
	struct nm_error err;

	for (int i = 0; i < NIC_QUEUES_MAX; i++)
		s.sockets.fd[i] = -1;
	if (access_read(&s.rules, config->access, &err) == 0 &&
		claim_dir(config->state, &err) == 0) {
		serve(&s);
	} else {
		if (config->logs)
			nic_log("%s", err.text);
		tell_failed(&s, &err);
	}
	session_undo(&s);
	shutdown(sock, SHUT_RDWR);
	wait_until_read(&s); /* so long its place is taken, of which there are LISTEN_MOST */
	close(sock);
	access_free(&s.rules);
}
