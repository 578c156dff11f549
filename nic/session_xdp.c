/* SPDX-License-Identifier: BSD-2-Clause */
#include "session_internal.h"

#include <linux/if_packet.h>
#include <net/ethernet.h>
#include <net/if.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <unistd.h>

#include "deferral.h"
#include "fd.h"
#include "log.h"
#include "netlink.h"
#include "turn.h"
#include "waiting.h"

enum {
	ATTACH_MS = 1000, /* a program that was just left behind is waited for */
	TWIN_MS = 100, /* between one twin of a user and the next: all of the host waits for each */
	CHECK_CHUNKS = 64,
	CHECK_CHUNK = 4096,
	CHECK_POLL_US = 50,
};

/* ---- preparing -------------------------------------------------------------------------------- */

/* Promiscuous as long as this socket is open. */
static int be_promiscuous(struct session *s, struct nm_error *err)
{
	struct packet_mreq req = {
		.mr_ifindex = (int)s->facts.ifindex, .mr_type = PACKET_MR_PROMISC};

	s->promisc = socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC, 0);
	if (s->promisc >= 0 &&
		setsockopt(s->promisc, SOL_PACKET, PACKET_ADD_MEMBERSHIP, &req, sizeof(req)) == 0)
		return 0;
	return nm_error_set(
		err, -errno, "%s: promiscuous mode: %s", s->facts.ifname, strerror(errno));
}

static struct program_filter filter_of(const struct nic_open *o)
{
	struct program_filter filter = {
		.pass = o->pass, .num_ip4 = o->num_ip4, .num_ip6 = o->num_ip6};

	memcpy(filter.ip4, o->ip4, sizeof(filter.ip4));
	memcpy(filter.ip6, o->ip6, sizeof(filter.ip6));
	return filter;
}

static int load(struct session *s, struct nm_error *err)
{
	const struct nic_open *o = &s->open;
	const struct program_filter filter = filter_of(o);

	s->map = program_map(NIC_QUEUES_MAX);
	s->prog = s->map < 0 ? s->map : program_load(s->map, &filter, NULL, o->sg);
	if (s->prog >= 0)
		return o->pass & NIC_PASS_SENT
			       ? 0
			       : stack_shut(&s->stack, &s->claim, &s->facts, &filter, err);
	return nm_error_set(err, s->prog, "%s: the XDP program can't be loaded: %s%s",
		s->facts.ifname, strerror(-s->prog),
		s->prog == -EPERM ? "; netmapd-nic needs CAP_BPF and CAP_NET_ADMIN" : "");
}

int session_prepare(struct session *s, struct nm_error *err)
{
	int error;

	s->hardware = s->open.hardware;
	s->mode = s->open.mode != NIC_MODE_ANY ? s->open.mode
		  : s->open.sg                 ? NIC_MODE_NATIVE
					       : NIC_MODE_ZEROCOPY;
	error = load(s, err);
	if (!error)
		error = offloads_off(&s->claim, &s->facts, err);
	if (!error && !s->open.no_promisc)
		error = be_promiscuous(s, err);
	if (!error)
		error = sockets_make(&s->sockets, s->facts.ifname, &s->open, s->memory, err);
	return error;
}

/* ---- attaching -------------------------------------------------------------------------------- */

/* Its name is not for this process (CAP_SYS_ADMIN). */
static int in_use(struct session *s, uint32_t id, struct nm_error *err)
{
	return nm_error_set(err, -EBUSY,
		"%s: another XDP program is on the interface (bpftool prog show id %u says which), and is left alone; take it off: ip link set %s xdp off",
		s->facts.ifname, id, s->facts.ifname);
}

static int attach_error(struct session *s, int error, bool generic, struct nm_error *err)
{
	uint32_t id = netlink_program(s->facts.ifindex);
	char text[NIC_TEXT_MAX];

	if (id && (error == -EBUSY || error == -EEXIST))
		return in_use(s, id, err);
	netlink_words(s->facts.ifindex, s->prog, generic, text);
	return nm_error_set(err, error, "%s: driver %s takes no XDP program%s: %s%s%s",
		s->facts.ifname, s->facts.driver, generic ? "" : " of its own", strerror(-error),
		text[0] ? ": " : "", text);
}

/* The generic program lets through what the host rings are given: a frame of their own, behind the cookie. */
static int load_generic(struct session *s)
{
	static const uint8_t type[2] = {0x88, 0xb5}; /* for local use */
	const struct program_filter filter = filter_of(&s->open);
	int prog;

	if (getrandom(s->cookie, sizeof(s->cookie), 0) != sizeof(s->cookie))
		return -EIO;
	memcpy(s->cookie + 12, type, sizeof(type));
	s->cookie[0] &= 0xfe; /* of one station */
	prog = program_load(s->map, &filter, s->cookie, s->open.sg);
	if (prog < 0)
		return prog;
	close(s->prog);
	s->prog = prog;
	return 0;
}

/* One that was killed may be on its way off. */
static int attach_within(struct session *s, bool generic)
{
	struct waiting waiting = {
		.ifname = s->facts.ifname, .what = "for the program of its last user to go"};
	int link;

	while ((link = program_attach(s->prog, s->facts.ifindex, generic)) == -EBUSY &&
		waiting_more(&waiting, ATTACH_MS))
		;
	return link;
}

static int attach(struct session *s, bool generic, struct nm_error *err)
{
	int link;

	if (s->link >= 0 && s->generic == generic)
		return 0;
	session_detach(s);
	link = generic ? load_generic(s) : 0;
	if (!link)
		link = attach_within(s, generic);
	if (link < 0)
		return attach_error(s, link, generic, err);
	s->link = link;
	s->generic = generic;
	return 0;
}

void session_count(struct session *s)
{
	if (s->twin.ifindex)
		stack_count(&s->stack, twin_lost(&s->twin));
}

/* The exit program sends nothing there any more before it goes: what the stack sends meanwhile is dropped and counted, or sent. */
static void drop_twin(struct session *s)
{
	const struct program_state to = {.hardware = s->hardware};

	if (!s->twin.ifindex)
		return;
	(void)stack_direct(&s->stack, &to);
	session_count(s);
	s->stack.before = s->stack.lost;
	twin_close(&s->twin);
	claim_forget_twin(&s->claim);
}

void session_detach(struct session *s)
{
	stack_leave(&s->stack);
	drop_twin(s);
	for (uint32_t i = 0; i < s->sockets.count && s->map >= 0; i++)
		program_clear(s->map, s->sockets.first + i);
	if (s->link >= 0)
		close(s->link);
	s->link = -1;
}

/* ---- binding ---------------------------------------------------------------------------------- */

/* Both ways, as the session says who has what. */
static int redirect(struct session *s, struct nm_error *err)
{
	const struct program_state to = {.hardware = s->hardware, .twin = s->twin.ifindex};
	int error = stack_direct(&s->stack, &to);

	for (uint32_t i = 0; i < s->sockets.count && !error; i++) {
		if (s->hardware)
			error = program_set(s->map, s->sockets.first + i, s->sockets.fd[i]);
		else
			program_clear(s->map, s->sockets.first + i);
	}
	if (!error)
		error = stack_watch(&s->stack, s->sockets.fd[0]);
	return error ? nm_error_set(err, error, "%s: the map of sockets: %s", s->facts.ifname,
			       strerror(-error))
		     : 0;
}

/* *attached: it failed later than there. */
static int try_mode(struct session *s, bool *attached, bool *spoilt, struct nm_error *err)
{
	bool generic = s->mode == NIC_MODE_GENERIC;
	int error = attach(s, generic, err);

	*spoilt = false;
	*attached = !error;
	if (!error)
		error = sockets_bind(&s->sockets, &s->facts, s->mode, s->open.sg, spoilt, err);
	return error ? error : redirect(s, err);
}

/* False: there is none, or none is wanted. */
static bool next_mode(struct session *s, bool attached, const struct nm_error *err)
{
	if (!s->why[0])
		memcpy(s->why, err->text, sizeof(s->why) - 1);
	if (s->open.mode != NIC_MODE_ANY || s->mode == NIC_MODE_GENERIC || err->code == -EBUSY ||
		err->code == -ENODEV)
		return false;
	/* Without a program of the driver's there is neither of the better two. */
	s->mode = attached && s->mode == NIC_MODE_ZEROCOPY ? NIC_MODE_NATIVE : NIC_MODE_GENERIC;
	return true;
}

void session_defer(struct session *s)
{
	s->deferred = s->open.busy_poll_us ? deferral_on(&s->claim, &s->facts, &s->sockets, s->mode,
						     &s->undeferrable)
					   : 0;
}

int session_bind(struct session *s, bool *spoilt, struct nm_error *err)
{
	bool attached;

	for (;;) {
		int error = try_mode(s, &attached, spoilt, err);

		if (!error) {
			session_defer(s);
			return 0;
		}
		if (!next_mode(s, attached, err)) {
			*spoilt = false;
			session_detach(s);
			return error;
		}
		if (*spoilt)
			return error;
	}
}

/* ---- host rings --------------------------------------------------------------------------------- */

/* By the name that the interface had when it was asked for, as the right to it. */
static int may_host(const struct session *s, uid_t user, struct nm_error *err)
{
	if (!access_may_host(&s->rules, s->peer, s->asked))
		user = s->peer;
	else if (access_may_host(&s->rules, user, s->asked))
		return 0;
	return nm_error_set(err, -EACCES,
		"%s: user %u may not have its host rings; the administrator can allow it by a line \"allow %u %s host\" in %s",
		s->facts.ifname, (unsigned)user, (unsigned)user, s->asked, s->config->access);
}

static int check_use(const struct session *s, const struct nic_use *use, struct nm_error *err)
{
	if (use->host_rings > NIC_QUEUES_MAX)
		return nm_error_set(err, -EINVAL, "%s: %u host rings, at most %d are possible",
			s->facts.ifname, use->host_rings, NIC_QUEUES_MAX);
	if (use->host_rings && may_host(s, use->user, err) != 0)
		return err->code;
	if (use->host_rings && s->open.pass & NIC_PASS_SENT)
		return nm_error_set(err, -EOPNOTSUPP,
			"%s: host rings get what the host sends, and netmapd --nic-pass sent leaves that to the wire; start netmapd without it",
			s->facts.ifname);
	return 0;
}

/* A user who asks again and again waits, and nobody else. */
static void wait_for_turn(const struct session *s, const struct nic_use *use)
{
	turn_wait(s->config->state, s->peer, use->user, TWIN_MS);
}

int session_use(struct session *s, const struct nic_use *use, int fds[NIC_QUEUES_MAX],
	uint32_t *num_fds, struct nm_error *err)
{
	int error = check_use(s, use, err), late;
	struct nm_error ignored;

	s->hardware = use->hardware;
	if (!error && use->host_rings && !s->twin.ifindex) {
		wait_for_turn(s, use);
		error = twin_make(&s->twin, &s->facts, s->generic ? s->cookie : NULL, fds,
			use->host_rings, err);
		*num_fds = error ? 0 : use->host_rings;
		if (!error) /* the client gets it only then */
			claim_note_twin(&s->claim, s->twin.ifindex);
	} else if (!use->host_rings) {
		drop_twin(s);
	}
	late = redirect(s, error ? &ignored : err); /* what there is goes on */
	if (late && *num_fds > 0) {
		while (*num_fds > 0)
			close(fds[--*num_fds]);
		drop_twin(s);
		(void)redirect(s, &ignored);
	}
	return error ? error : late;
}

/* ---- the end ----------------------------------------------------------------------------------- */

/* All but the claim. */
static void close_all(struct session *s)
{
	session_detach(s);
	stack_open(&s->stack);
	sockets_close(&s->sockets);
	fd_close(&s->prog);
	fd_close(&s->map);
	fd_close(&s->promisc);
	fd_close(&s->memory);
	fd_close(&s->posted);
}

void session_undo(struct session *s)
{
	claim_ending(&s->claim);
	close_all(s);
	claim_restore(&s->claim);
	claim_drop(&s->claim);
	fd_close(&s->watch[0]);
	fd_close(&s->watch[1]);
}

/* ---- checking ---------------------------------------------------------------------------------- */

static int check_memory(void)
{
	int fd = memfd_create("nic-check", MFD_CLOEXEC | MFD_ALLOW_SEALING);

	if (fd < 0 || ftruncate(fd, (off_t)CHECK_CHUNKS * CHECK_CHUNK) < 0)
		return -errno;
	return fd;
}

static int check_mode(
	struct session *s, uint32_t mode, struct nic_report *report, struct nm_error *err)
{
	bool attached, spoilt;
	int error;

	s->open.mode = mode;
	error = session_prepare(s, err);
	if (!error)
		error = try_mode(s, &attached, &spoilt, err);
	if (!error && s->open.busy_poll_us && !report->deferrable)
		report->deferrable = deferral_is_known(&s->facts, &s->sockets, mode);
	session_detach(s);
	sockets_close(&s->sockets);
	fd_close(&s->prog);
	fd_close(&s->map);
	sockets_wait_gone(&s->facts, 0, 1);
	return error;
}

/* A kernel may have no busy polling at all, which says nothing of the mode. */
static int check_with_polling(
	struct session *s, uint32_t mode, struct nic_report *report, struct nm_error *err)
{
	int error;

	s->open.busy_poll_us = CHECK_POLL_US;
	error = check_mode(s, mode, report, err);
	if (error != -ENOPROTOOPT)
		return error;
	s->open.busy_poll_us = 0;
	return check_mode(s, mode, report, err);
}

/* Each mode, on queue 0. */
static void check_modes(struct session *s, struct nic_report *report, struct nm_error *err)
{
	s->open = (struct nic_open){.chunk = CHECK_CHUNK,
		.umem_bytes = (uint64_t)CHECK_CHUNKS * CHECK_CHUNK,
		.fill = CHECK_CHUNKS,
		.completion = CHECK_CHUNKS,
		.rx = CHECK_CHUNKS,
		.tx = CHECK_CHUNKS,
		.pass = NIC_PASS_SENT,
		.no_promisc = 1};
	s->sockets.count = 1;
	s->memory = check_memory();
	for (uint32_t mode = NIC_MODE_ZEROCOPY; mode < NIC_MODES && s->memory >= 0; mode++) {
		report->granted[mode] = check_with_polling(s, mode, report, err) == 0;
		if (!report->granted[mode])
			memcpy(report->said[mode], err->text, NIC_TEXT_MAX - 1);
	}
	s->sockets.count = s->sockets.bound = 0;
}

int session_check(struct session *s, struct nic_report *report, struct nm_error *err)
{
	int error = claim_take(&s->claim, s->config->state, &s->facts, err);

	if (error)
		return error;
	report->facts = s->facts;
	report->mtu_max_chunk = CHECK_CHUNK - NIC_HEADROOM - NIC_FRAME_EXTRA;
	offloads_list(&s->facts, report->offloads, report->fixed);
	report->used_by = netlink_program(s->facts.ifindex);
	if (!report->used_by)
		check_modes(s, report, err);
	session_undo(s);
	return 0;
}
