/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * libnetmap and a netmapd that lies: replies of any content and length, descriptors that are missing, too
 * many, or of other things, a region and a CSB that can't be. The server is in the place of connect() and
 * sendmsg(): it answers while the library sends, out of the input.
 *
 * Who shares a region is trusted with it: where its rings are is looked at once, and what is in them, buffers
 * above all, is believed. So from then on only the CSB and the indices of rings change, and packets are
 * put into regions alone that are right.
 */
#include <libnetmap.h>
#include <net/netmap_user.h>

#include "descriptors.h"
#include "os.h"
#include "proto.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

enum {
	STEPS = 16,
	PORTS = 2,
	REGION_SIZE = 0x10000,
	OFS_TX = 0x1000,
	OFS_RX = 0x2000,
	OFS_BUFS = 0x4000,
	BUF_SIZE = 1024,
	SLOTS = 8,
	CSB_SIZE = 8192,
	KTOA = 4096,
	FDS_SENT_MAX = 12,
};

static struct fuzz_in *input;
static int server = -1;    /* the last connection's other end */
static char *region, *csb; /* of the last registration, as netmapd has them */
static bool is_right;      /* that region: what the library believes is true */
static char said[1024];    /* by the library, last */
static struct {
	struct nmport_d *d;
	bool is_right; /* its region */
} ports[PORTS];

static void hear(struct nmctx *ctx, const char *text)
{
	snprintf(said, sizeof(said), "%s", text);
	fuzz_check(text[0], "an error has no text");
	for (const unsigned char *c = (const unsigned char *)text; *c; c++)
		fuzz_check(*c >= ' ' && *c != 0x7f, "character %d in \"%s\"", *c, text);
}

void fuzz_begin(void)
{
	setenv("NETMAP_BACKEND", "daemon", 1);
	setenv("NETMAPD_SOCKET", "/nowhere/socket", 1);
	nmctx_get()->error = hear;
}

/* ---- what a registration brings ---------------------------------------------------------------------- */

static int make_file(size_t bytes, char **map)
{
	int fd = memfd_create("fuzz", MFD_CLOEXEC);

	fuzz_check(fd >= 0 && ftruncate(fd, (off_t)bytes) == 0, "no memory");
	*map = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	fuzz_check(*map != MAP_FAILED, "no memory");
	return fd;
}

static void forget_maps(void)
{
	if (region)
		munmap(region, REGION_SIZE);
	if (csb)
		munmap(csb, CSB_SIZE);
	region = csb = NULL;
}

static void fill_ring(uint32_t at, uint16_t dir, uint32_t first_buf)
{
	struct netmap_ring *ring = (struct netmap_ring *)(void *)(region + at);

	ring->buf_ofs = (int64_t)OFS_BUFS - at;
	ring->num_slots = SLOTS;
	ring->nr_buf_size = BUF_SIZE;
	ring->dir = dir;
	for (uint32_t i = 0; i < SLOTS; i++)
		ring->slot[i].buf_idx = first_buf + i;
}

/* A region of one port that is right, but for some words. */
static void fill_region(void)
{
	struct netmap_if *nifp = (struct netmap_if *)(void *)region;
	uint32_t lies = fuzz_below(input, 4);

	nifp->ni_version = NETMAP_API;
	nifp->ni_tx_rings = nifp->ni_rx_rings = 1;
	nifp->ni_host_tx_rings = nifp->ni_host_rx_rings = 1;
	nifp->ring_ofs[0] = OFS_TX;
	nifp->ring_ofs[2] = OFS_RX;
	fill_ring(OFS_TX, 0, 2);
	fill_ring(OFS_RX, 1, 2 + SLOTS);
	is_right = true;
	if (fuzz_u8(input) & 1)
		return;
	is_right = lies == 0;
	for (; lies > 0; lies--) {
		static const uint32_t at[] = {0, OFS_TX, OFS_RX};
		uint32_t word = fuzz_u8(input) % 48;

		((uint32_t *)(void *)(region + at[fuzz_below(input, 3)]))[word] =
			(uint32_t)fuzz_edge(input, REGION_SIZE);
	}
}

static void fill_csb(void)
{
	struct nm_csb_ktoa *ktoa = (struct nm_csb_ktoa *)(void *)(csb + KTOA);

	ktoa[0].hwtail = SLOTS - 1;
	if (fuzz_u8(input) & 1)
		((uint32_t *)(void *)csb)[fuzz_u16(input) % (CSB_SIZE / 4)] =
			(uint32_t)fuzz_edge(input, SLOTS);
}

/* As many as there should be, of what they should be; or not. */
static uint32_t make_fds(int *fds)
{
	uint8_t how = fuzz_u8(input);
	uint32_t n = how & 1 ? fuzz_below(input, FDS_SENT_MAX) : 6;

	forget_maps();
	for (uint32_t i = 0; i < n; i++) {
		if (i == 0)
			fds[i] = make_file(REGION_SIZE, &region);
		else if (i == 1)
			fds[i] = make_file(CSB_SIZE, &csb);
		else
			fds[i] = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
		if (how & 2 && (how >> 4) % 6 == i) {
			close(fds[i]);
			fds[i] = fuzz_make_fd(input);
		}
	}
	if (region)
		fill_region();
	if (csb)
		fill_csb();
	return n;
}

/* ---- replies ---------------------------------------------------------------------------------------- */

static union {
	char bytes[NMD_MSG_MAX + 64];
	struct nmd_hdr hdr;
	struct nmd_nmreq_reply nmreq;
	struct nmd_hello hello;
} request, reply;

/* Returns whether where the region's rings are is told right. */
static bool fill_register(struct nmreq_register *reg)
{
	uint8_t lies = fuzz_u8(input);

	reg->nr_offset = lies & 1 ? fuzz_edge(input, REGION_SIZE) : 0;
	reg->nr_memsize = lies & 2 ? fuzz_edge(input, REGION_SIZE) : REGION_SIZE;
	reg->nr_tx_rings = lies & 4 ? (uint16_t)fuzz_edge(input, 1) : 1;
	reg->nr_rx_rings = lies & 8 ? (uint16_t)fuzz_edge(input, 1) : 1;
	reg->nr_host_tx_rings = lies & 16 ? (uint16_t)fuzz_edge(input, 1) : 0;
	reg->nr_host_rx_rings = lies & 16 ? (uint16_t)fuzz_edge(input, 1) : 0;
	reg->nr_tx_slots = reg->nr_rx_slots = lies & 32 ? (uint32_t)fuzz_edge(input, 8) : SLOTS;
	reg->nr_mode = lies & 64 ? fuzz_below(input, 10) : reg->nr_mode;
	reg->nr_mem_id = 5;
	return !(lies & 31);
}

static void fill_attach(struct nmd_attach *at)
{
	uint8_t lies = fuzz_u8(input);

	*at = (struct nmd_attach){.region_size = REGION_SIZE,
		.csb_size = CSB_SIZE,
		.ktoa_offset = KTOA,
		.rings = 2,
		.tx_rings = 1,
		.rx_rings = 1};
	if (lies & 1)
		at->region_size = fuzz_edge(input, REGION_SIZE);
	if (lies & 2)
		at->csb_size = fuzz_edge(input, CSB_SIZE);
	if (lies & 4)
		at->ktoa_offset = fuzz_edge(input, KTOA);
	if (lies & 8)
		at->rings = (uint32_t)fuzz_edge(input, 2);
	if (lies & 16)
		at->tx_rings = (uint32_t)fuzz_edge(input, 1);
	if (lies & 32)
		at->rx_rings = (uint32_t)fuzz_edge(input, 1);
	if (lies & 64)
		at->first_tx = (uint32_t)fuzz_edge(input, 2);
	if (lies & 128)
		at->first_rx = (uint32_t)fuzz_edge(input, 2);
}

/* The request comes back as netmapd would fill it in. */
static size_t answer_nmreq(size_t bytes, int *fds, uint32_t *nfds)
{
	size_t payload = bytes - sizeof(request.hdr);
	char *copy = (char *)(&reply.nmreq + 1);
	struct nmreq_header hdr;
	bool told;

	memcpy(copy, request.bytes + sizeof(request.hdr), payload);
	memcpy(&hdr, copy, sizeof(hdr));
	reply.nmreq.payload = (uint32_t)payload;
	if (hdr.nr_reqtype == NETMAP_REQ_REGISTER && !reply.hdr.status &&
		hdr.nr_body + sizeof(struct nmreq_register) <= payload) {
		told = fill_register((struct nmreq_register *)(void *)(copy + hdr.nr_body));
		fill_attach(&reply.nmreq.attach);
		*nfds = make_fds(fds);
		is_right &= told;
		reply.nmreq.nfds = *nfds;
	} else if (hdr.nr_body && fuzz_u8(input) & 1) {
		fuzz_bytes(input, copy + hdr.nr_body,
			payload - hdr.nr_body < 32 ? payload - hdr.nr_body : 32);
	}
	return sizeof(reply.nmreq) + payload;
}

static size_t answer(size_t bytes, int *fds, uint32_t *nfds)
{
	uint8_t how = fuzz_u8(input);
	size_t size;

	memset(&reply, 0, sizeof(reply));
	reply.hdr = request.hdr;
	if (how & 1) {
		reply.hdr.status = how & 2 ? (int32_t)fuzz_u32(input) : -EBUSY;
		fuzz_bytes(input, reply.nmreq.reply.text, how & 4 ? NMD_TEXT_MAX : how & 8 ? 4 : 0);
	}
	size = request.hdr.type == NMD_NMREQ ? answer_nmreq(bytes, fds, nfds) : sizeof(reply.hello);
	reply.hdr.size = (uint32_t)size;
	if (how & 16) {
		size_t at = fuzz_u16(input) % size;

		reply.bytes[at] = (char)fuzz_u8(input);
	}
	if ((how & 0x60) == 0x60)
		size = fuzz_u16(input) % sizeof(reply.bytes);
	return size;
}

static void serve(void)
{
	char control[CMSG_SPACE(FDS_SENT_MAX * sizeof(int))] = {0};
	struct iovec iov = {reply.bytes, 0};
	struct msghdr m = {.msg_iov = &iov, .msg_iovlen = 1};
	ssize_t n = recv(server, request.bytes, sizeof(request.bytes), MSG_DONTWAIT);
	int fds[FDS_SENT_MAX];
	uint32_t nfds = 0;

	if (n < (ssize_t)sizeof(request.hdr) || fuzz_u8(input) == 0xff) {
		close(server); /* it hangs up */
		server = -1;
		return;
	}
	iov.iov_len = answer((size_t)n, fds, &nfds);
	fuzz_attach_fds(&m, control, fds, nfds);
	if (sendmsg(server, &m, MSG_NOSIGNAL | MSG_DONTWAIT) < 0) {
		close(server);
		server = -1;
	}
	while (nfds > 0)
		close(fds[--nfds]);
}

/* ---- in the place of the system's ---------------------------------------------------------------------- */

int __wrap_connect(int fd, const struct sockaddr *addr, socklen_t size);
ssize_t __real_sendmsg(int fd, const struct msghdr *msg, int flags);
ssize_t __wrap_sendmsg(int fd, const struct msghdr *msg, int flags);

int __wrap_connect(int fd, const struct sockaddr *addr, socklen_t size)
{
	int pair[2];

	if (server >= 0)
		close(server);
	fuzz_check(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) == 0, "no sockets");
	fuzz_check(dup3(pair[0], fd, O_CLOEXEC) == fd, "dup3");
	close(pair[0]);
	server = pair[1];
	return 0;
}

/* What the library sends is answered before it waits. */
ssize_t __wrap_sendmsg(int fd, const struct msghdr *msg, int flags)
{
	ssize_t n = __real_sendmsg(fd, msg, flags);

	if (fd != server && n >= 0 && server >= 0)
		serve();
	return n;
}

/* ---- a program ------------------------------------------------------------------------------------------ */

static void open_port(int i)
{
	static const char *const names[] = {"vale0:1", "netmap:dev0-1", "netmap:dev0^", "vale0:1/x",
		"netmap:dev0*", "vale0:1{1@offset=16", "netmap:dev0/T",
		"netmap:dev0@share=netmap:dev1"};

	said[0] = '\0';
	is_right = false;
	ports[i].d = nmport_open(names[fuzz_below(input, 8)]);
	ports[i].is_right = is_right;
	fuzz_check(ports[i].d || said[0], "an error has no text");
}

static void close_port(int i)
{
	nmport_close(ports[i].d);
	ports[i].d = NULL;
}

/* Packets, in a region that is right. */
static void use_rings(struct nmport_d *d)
{
	char packet[2 * BUF_SIZE] = "";

	for (uint32_t i = d->first_tx_ring; i <= d->last_tx_ring && i < 2; i++)
		(void)nmport_inject(d, packet, fuzz_u16(input) % sizeof(packet));
	for (uint32_t i = d->first_rx_ring; i <= d->last_rx_ring && i < 1; i++) {
		struct netmap_ring *ring = NETMAP_RXRING(d->nifp, i);

		if (!nm_ring_empty(ring))
			ring->head = ring->cur = nm_ring_next(ring, ring->head);
	}
}

static void lie(void)
{
	uint32_t *word = csb ? (uint32_t *)(void *)csb : NULL;
	uint32_t n = fuzz_below(input, 8);

	for (; word && n > 0; n--)
		OS_STORE(
			&word[fuzz_u16(input) % (CSB_SIZE / 4)], (uint32_t)fuzz_edge(input, SLOTS));
	if (region && csb) {
		struct netmap_ring *ring =
			(struct netmap_ring *)(void *)(region + (n & 1 ? OFS_TX : OFS_RX));

		OS_STORE(&ring->head, (uint32_t)fuzz_edge(input, SLOTS));
	}
}

static void ask(struct nmport_d *d)
{
	static struct {
		struct nmreq_register reg;
		uint8_t more[512];
	} body;
	struct nmreq_header hdr;
	uint16_t type = (uint16_t)fuzz_below(input, 18);

	/* These wait for others. */
	if (type == NETMAP_REQ_SYNC_KLOOP_START)
		return;
	memset(&body, 0, sizeof(body));
	nmreq_header_init(&hdr, type, &body);
	fuzz_text(input, hdr.nr_name, 16);
	(void)nmport_request(d, &hdr);
}

static void step(void)
{
	uint8_t what = fuzz_u8(input);
	int i = what & 1;
	struct nmport_d *d = ports[i].d;

	if (!d) {
		open_port(i);
		return;
	}
	switch (what >> 1 & 7) {
	case 0:
		close_port(i);
		break;
	case 1:
		lie();
		break;
	case 2:
		ask(d);
		break;
	case 3:
		(void)nmport_poll(d, POLLIN | POLLOUT, 0);
		break;
	case 4:
		if (ports[i].is_right)
			use_rings(d);
		break;
	case 5:
		(void)nmport_txsync(d);
		break;
	default:
		(void)nmport_rxsync(d);
	}
}

void fuzz_one(struct fuzz_in *in)
{
	input = in;
	for (int i = 0; i < STEPS && fuzz_more(in); i++)
		step();
	for (int i = 0; i < PORTS; i++)
		close_port(i);
	fuzz_check(!nmctx_get()->mem_descs, "a mapping is left");
	if (server >= 0)
		close(server);
	server = -1;
	forget_maps();
}
