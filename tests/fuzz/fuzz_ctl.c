/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The control socket of a netmapd: messages with descriptors of all kinds, of several connections;
 * what a reply brings along is mapped and written to.
 */
#include "descriptors.h"
#include "netmapd.h"
#include "proto.h"
#include "requests.h"

#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

enum { CONNS = 4, STEPS = 32, FDS_MAX = 20 };

/* A client, and what its REGISTER has brought. */
struct client {
	int fd; /* -1: not connected */
	int kicks[NMD_FDS_MAX];
	uint32_t num_kicks;
	char *map[2]; /* region, CSB */
	size_t bytes[2];

	/* Types of the messages sent, in their order; those before `answered` are. Some have no answer. */
	uint16_t asked[STEPS];
	uint32_t num_asked, answered;
};

static struct client clients[CONNS];
static union {
	char bytes[NMD_MSG_MAX + 64];
	struct nmd_hdr hdr;
} msg, reply;
static char vfio_path[2][NMD_PATH_MAX]; /* of the last port of a machine */

void fuzz_begin(void)
{
	netmapd_begin();
	for (int i = 0; i < CONNS; i++)
		clients[i].fd = -1;
}

/* ---- what comes back ----------------------------------------------------------------------------- */

static void forget_maps(struct client *c)
{
	for (int i = 0; i < 2; i++) {
		if (c->map[i])
			munmap(c->map[i], c->bytes[i]);
		c->map[i] = NULL;
	}
	while (c->num_kicks > 0)
		close(c->kicks[--c->num_kicks]);
}

static void keep(struct client *c, const struct nmd_attach *attach, const int *fds, uint32_t n)
{
	const size_t bytes[2] = {attach->region_size, attach->csb_size};

	forget_maps(c);
	for (int i = 0; i < 2; i++) {
		c->bytes[i] = bytes[i];
		c->map[i] = mmap(NULL, bytes[i], PROT_READ | PROT_WRITE, MAP_SHARED, fds[i], 0);
		fuzz_check(c->map[i] != MAP_FAILED, "%zu bytes can't be mapped", bytes[i]);
		close(fds[i]);
	}
	for (uint32_t i = 2; i < n; i++)
		c->kicks[c->num_kicks++] = fds[i];
}

/* Answers come in the order of what was asked: a large port is made in parts, and its answer comes late. */
static bool answers(struct client *c, uint16_t type)
{
	for (uint32_t i = c->answered; i < c->num_asked; i++) {
		if (c->asked[i] != type)
			continue;
		c->answered = i + 1;
		return true;
	}
	return false;
}

static void check_reply(struct client *c, size_t bytes, const int *fds, uint32_t nfds)
{
	const struct nmd_reply *r = (const struct nmd_reply *)reply.bytes;
	const struct nmd_nmreq_reply *nmreq = (const struct nmd_nmreq_reply *)reply.bytes;
	const uint16_t type = r->hdr.type;

	fuzz_check(bytes >= sizeof(*r) && r->hdr.magic == NMD_MAGIC && r->hdr.size == bytes,
		"a reply of %zu bytes", bytes);
	/* Who has waited for events gets them first. */
	fuzz_check(answers(c, type) || type == NMD_EVENTS,
		"a reply of type %u to what nobody has asked", type);
	fuzz_check(memchr(r->text, 0, sizeof(r->text)), "a text has no end");
	fuzz_check_error(r->hdr.status, r->text);
	if (nfds == 0)
		return;
	fuzz_check(type == NMD_NMREQ && !r->hdr.status && nmreq->nfds == nfds && nfds >= 4,
		"%u descriptors with type %u, status %d", nfds, type, r->hdr.status);
	keep(c, &nmreq->attach, fds, nfds);
}

/* False: there was none. */
static bool take_reply(struct client *c)
{
	char control[CMSG_SPACE(NMD_FDS_MAX * sizeof(int))];
	struct iovec iov = {reply.bytes, sizeof(reply.bytes)};
	struct msghdr m = {.msg_iov = &iov,
		.msg_iovlen = 1,
		.msg_control = control,
		.msg_controllen = sizeof(control)};
	ssize_t n = recvmsg(c->fd, &m, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
	struct cmsghdr *cmsg = n > 0 ? CMSG_FIRSTHDR(&m) : NULL;
	int fds[NMD_FDS_MAX];
	uint32_t nfds = 0;

	if (n <= 0)
		return false;
	if (cmsg) {
		nfds = (uint32_t)((cmsg->cmsg_len - CMSG_LEN(0)) / sizeof(int));
		memcpy(fds, CMSG_DATA(cmsg), nfds * sizeof(int));
	}
	check_reply(c, (size_t)n, fds, nfds);
	return true;
}

/* ---- what is sent --------------------------------------------------------------------------------- */

static size_t make_nmreq(struct fuzz_in *in)
{
	static struct fuzz_request rq;

	fuzz_request_make(in, &rq, 0);
	memcpy(msg.bytes + sizeof(msg.hdr), rq.bytes, rq.len);
	return sizeof(msg.hdr) + rq.len;
}

static size_t make_add_port(struct fuzz_in *in)
{
	struct nmd_vm_add_port *add = (struct nmd_vm_add_port *)msg.bytes;

	fuzz_port_name(in, add->ifname, sizeof(add->ifname));
	/* What a user writes behind a name. */
	if (fuzz_u8(in) & 1)
		fuzz_text(in, add->ifname + strlen(add->ifname),
			sizeof(add->ifname) - strlen(add->ifname));
	fuzz_bytes(in, add->mac, 6 * fuzz_below(in, 2));
	return sizeof(*add);
}

static size_t make_message(struct fuzz_in *in, uint16_t type)
{
	switch (type) {
	case NMD_HELLO:
		return sizeof(msg.hdr);
	case NMD_NMREQ:
		return make_nmreq(in);
	case NMD_VM_CREATE:
		fuzz_text(in, ((struct nmd_vm_create *)msg.bytes)->name, 16);
		((struct nmd_vm_create *)msg.bytes)->bar_min = fuzz_edge(in, NMD_BAR_SMALLEST);
		return sizeof(struct nmd_vm_create);
	case NMD_VM_ADD_PORT:
		return make_add_port(in);
	case NMD_STATUS:
		((struct nmd_status *)msg.bytes)->start = (uint32_t)fuzz_edge(in, 4096);
		return sizeof(struct nmd_status);
	case NMD_VALE_MACS:
		((struct nmd_vale_macs *)msg.bytes)->pos = fuzz_edge(in, 512);
		fuzz_port_name(in, ((struct nmd_vale_macs *)msg.bytes)->sw_name, NMD_NAME_MAX);
		return sizeof(struct nmd_vale_macs);
	case NMD_VALE_FLUSH:
		fuzz_port_name(in, ((struct nmd_vale_flush *)msg.bytes)->sw_name, NMD_NAME_MAX);
		return sizeof(struct nmd_vale_flush);
	case NMD_EVENTS:
		((struct nmd_events *)msg.bytes)->after = fuzz_edge(in, 64);
		((struct nmd_events *)msg.bytes)->wait = fuzz_below(in, 2);
		return sizeof(struct nmd_events);
	case NMD_RENAME:
		fuzz_port_name(in, ((struct nmd_rename *)msg.bytes)->from, NMD_NAME_MAX);
		fuzz_port_name(in, ((struct nmd_rename *)msg.bytes)->to, NMD_NAME_MAX);
		return sizeof(struct nmd_rename);
	case NMD_LIMIT:
		/* No number: what the others can have stays as it is. */
		fuzz_text(in, ((struct nmd_limit *)msg.bytes)->text, 32);
		memcpy(((struct nmd_limit *)msg.bytes)->text, "ports=", 6);
		return sizeof(struct nmd_limit);
	case NMD_FULL_WAIT:
		((struct nmd_full_wait *)msg.bytes)->ms = (uint32_t)fuzz_edge(in, 10001);
		fuzz_port_name(in, ((struct nmd_full_wait *)msg.bytes)->name, NMD_NAME_MAX);
		return sizeof(struct nmd_full_wait);
	default: {
		size_t bytes = fuzz_u8(in);

		fuzz_bytes(in, msg.bytes + sizeof(msg.hdr), bytes);
		return sizeof(msg.hdr) + bytes;
	}
	}
}

static void send_message(struct fuzz_in *in, const struct client *c, size_t bytes, uint32_t nfds)
{
	char control[CMSG_SPACE(FDS_MAX * sizeof(int))] = {0};
	struct iovec iov = {msg.bytes, bytes};
	struct msghdr m = {.msg_iov = &iov, .msg_iovlen = 1};
	int fds[FDS_MAX];

	for (uint32_t i = 0; i < nfds; i++)
		fds[i] = fuzz_make_fd(in);
	fuzz_attach_fds(&m, control, fds, nfds);
	(void)sendmsg(c->fd, &m, MSG_NOSIGNAL | MSG_DONTWAIT);
	while (nfds > 0)
		close(fds[--nfds]);
}

/* Paths of the machine's sockets, for connect_vfio(). */
static void note_paths(uint16_t type)
{
	const struct nmd_vm_add_port_reply *r = (const struct nmd_vm_add_port_reply *)reply.bytes;

	if (type != NMD_VM_ADD_PORT || r->reply.hdr.status != 0)
		return;
	memcpy(vfio_path[0], r->net_path, NMD_PATH_MAX);
	memcpy(vfio_path[1], r->mem_path, NMD_PATH_MAX);
}

static void talk(struct fuzz_in *in, struct client *c)
{
	uint8_t how = fuzz_u8(in);
	uint16_t type = (how & 7) ? how & 7 : NMD_NMREQ;
	uint32_t nfds = how & 8 ? 1 : how & 16 ? fuzz_below(in, FDS_MAX) : 0;
	size_t bytes;

	memset(msg.bytes, 0, sizeof(msg.bytes));
	if (type == NMD_VALE_FLUSH)
		type += fuzz_below(in, NMD_FULL_WAIT - NMD_VALE_FLUSH + 1);
	bytes = make_message(in, type);
	msg.hdr.magic = NMD_MAGIC;
	msg.hdr.version = NMD_VERSION;
	msg.hdr.type = type;
	msg.hdr.size = (uint32_t)bytes;
	if (how & 32) {
		size_t at = fuzz_u8(in) % sizeof(msg.hdr);

		msg.bytes[at] = (char)fuzz_u8(in);
	}
	if (how & 64)
		bytes = fuzz_u16(in) % sizeof(msg.bytes);
	if ((how & 0xe0) == 0xe0)
		fuzz_fail_allocation(fuzz_below(in, 40));
	c->asked[c->num_asked++] = msg.hdr.type;
	send_message(in, c, bytes, nfds);
	netmapd_run();
	fuzz_fail_allocation(0);
	while (take_reply(c))
		note_paths(((const struct nmd_reply *)reply.bytes)->hdr.type);
}

/* ---- what a client does beside ----------------------------------------------------------------------- */

static void scribble(struct fuzz_in *in, const struct client *c)
{
	uint32_t times = fuzz_below(in, 16), which = fuzz_u8(in) & 1;
	uint64_t one = 1;

	if (!c->map[which])
		return;
	while (times-- > 0) {
		size_t at = fuzz_u16(in) * 4ULL % c->bytes[which];

		OS_STORE((uint32_t *)(void *)(c->map[which] + at), (uint32_t)fuzz_edge(in, 16));
	}
	for (uint32_t i = 0; i < c->num_kicks; i++)
		(void)!write(c->kicks[i], &one, sizeof(one));
}

static void leave(struct client *c)
{
	if (c->fd >= 0)
		close(c->fd);
	c->fd = -1;
	c->num_asked = c->answered = 0;
	forget_maps(c);
}

/* As QEMU, for a moment: what it says is another target's. */
static void connect_vfio(struct fuzz_in *in)
{
	uint8_t how = fuzz_u8(in);
	int fd = vfio_path[0][0] ? netmapd_connect(vfio_path[how & 1], SOCK_STREAM) : -1;
	char bytes[64];

	if (fd < 0)
		return;
	fuzz_bytes(in, bytes, sizeof(bytes));
	(void)send(fd, bytes, how >> 1 & 63, MSG_NOSIGNAL | MSG_DONTWAIT);
	netmapd_run();
	close(fd);
	netmapd_run();
}

static void step(struct fuzz_in *in)
{
	uint8_t what = fuzz_u8(in);
	struct client *c = &clients[what % CONNS];

	if (c->fd < 0)
		c->fd = netmapd_connect(netmapd.config.socket_path, SOCK_SEQPACKET);
	switch (what / CONNS % 8) {
	case 0:
		leave(c);
		break;
	case 1:
		scribble(in, c);
		break;
	case 2:
		connect_vfio(in);
		break;
	default:
		talk(in, c);
	}
}

/* What VALE_NEWIF would have made. */
static void add_device(const char *name)
{
	const struct nm_shape shape = {.rings = {2, 1}, .slots = {16, 16}};
	struct nm_core *core = &netmapd.core;
	struct nm_error err = {0};

	nm_core_lock(core);
	fuzz_check(
		core->platform_ops->newif(core, NULL, name, &shape, 0, &err) == 0, "%s", err.text);
	nm_core_unlock(core);
}

void fuzz_one(struct fuzz_in *in)
{
	vfio_path[0][0] = '\0';
	if (fuzz_u8(in) & 1) {
		add_device("dev0");
		add_device("dev1");
	}
	for (int i = 0; i < STEPS && fuzz_more(in); i++)
		step(in);
	for (int i = 0; i < CONNS; i++)
		leave(&clients[i]);
	netmapd_check_empty();
}
