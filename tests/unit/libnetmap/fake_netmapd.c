/* SPDX-License-Identifier: BSD-2-Clause */
#include "fake_netmapd.h"

#include <assert.h>
#include <errno.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

enum { OFS_TX = 4096, OFS_RX = 8192, OFS_BUFS = 16384, BUF_SIZE = 2048, CSB_SIZE = 4096 };

static int make_memfd(const char *name, size_t size, char **addr)
{
	int fd = memfd_create(name, MFD_CLOEXEC);

	assert(fd >= 0 && ftruncate(fd, (off_t)size) == 0);
	*addr = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	assert(*addr != MAP_FAILED);
	return fd;
}

static void fill_ring(char *region, int64_t at, uint16_t dir, uint32_t first_buf)
{
	struct netmap_ring *ring = (struct netmap_ring *)(void *)(region + at);

	ring->buf_ofs = OFS_BUFS - at;
	ring->num_slots = FAKE_SLOTS;
	ring->nr_buf_size = BUF_SIZE;
	ring->dir = dir;
	/* netmapd promises nothing about these. */
	ring->head = ring->cur = ring->tail = 77;
	for (uint32_t i = 0; i < FAKE_SLOTS; i++)
		ring->slot[i].buf_idx = first_buf + i;
}

static void make_region(struct fake_netmapd *f)
{
	struct netmap_if *nifp;

	if (f->region && f->same_region)
		return;
	if (f->region) {
		munmap(f->region, FAKE_SIZE);
		close(f->region_fd);
	}
	f->region_fd = make_memfd("region", FAKE_SIZE, &f->region);
	nifp = (struct netmap_if *)(void *)f->region;
	nifp->ni_version = NETMAP_API;
	nifp->ni_tx_rings = nifp->ni_rx_rings = 1;
	nifp->ni_host_tx_rings = nifp->ni_host_rx_rings = 1;
	nifp->ring_ofs[0] = OFS_TX;
	nifp->ring_ofs[2] = OFS_RX;
	fill_ring(f->region, OFS_TX, 0, 2);
	fill_ring(f->region, OFS_RX, 1, 2 + FAKE_SLOTS);
}

static void forget_csb(struct fake_netmapd *f)
{
	if (!f->csb)
		return;
	munmap(f->csb, CSB_SIZE);
	close(f->csb_fd);
	close(f->irq[0]);
	close(f->irq[1]);
	for (int i = 0; i < FAKE_RINGS; i++)
		close(f->kick[i]);
	f->csb = NULL;
}

static void make_csb(struct fake_netmapd *f)
{
	forget_csb(f);
	f->csb_fd = make_memfd("csb", CSB_SIZE, &f->csb);
	f->atok = (struct nm_csb_atok *)(void *)f->csb;
	f->ktoa = (struct nm_csb_ktoa *)(void *)(f->csb + 2048);
	f->ktoa[0].hwtail = FAKE_SLOTS - 1; /* tx: all free */
	f->atok[1].appl_need_kick = 1;
	if (f->bad_head)
		f->atok[1].head = FAKE_SLOTS;
	for (int i = 0; i < 2; i++)
		f->irq[i] = eventfd(0, EFD_CLOEXEC);
	for (int i = 0; i < FAKE_RINGS; i++)
		f->kick[i] = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
}

/* Reads the parts of the request and changes what a server changes. */
static void serve_payload(struct fake_netmapd *f, char *payload)
{
	struct nmreq_header *hdr = (struct nmreq_header *)(void *)payload;

	f->header = *hdr;
	f->have_offsets = false;
	if (hdr->nr_options) {
		memcpy(&f->offsets, payload + hdr->nr_options, sizeof(f->offsets));
		f->have_offsets = true;
		memcpy(payload + hdr->nr_options + offsetof(struct nmreq_option, nro_status),
			&f->opt_status, 4);
	}
	hdr->nr_version = NETMAP_API;
	if (hdr->nr_reqtype == NETMAP_REQ_PORT_INFO_GET) {
		struct nmreq_port_info_get *info = (void *)(payload + hdr->nr_body);

		info->nr_mem_id = 4711;
		info->nr_tx_slots = FAKE_SLOTS;
	}
	if (hdr->nr_reqtype == NETMAP_REQ_REGISTER) {
		struct nmreq_register *reg = (void *)(payload + hdr->nr_body);

		f->reg = *reg;
		reg->nr_offset = 0;
		reg->nr_memsize = FAKE_SIZE;
		reg->nr_tx_rings = reg->nr_rx_rings = f->rings ? f->rings : 1;
		reg->nr_host_tx_rings = reg->nr_host_rx_rings = f->host_rings;
		reg->nr_tx_slots = reg->nr_rx_slots = FAKE_SLOTS;
		reg->nr_mem_id = 5;
	}
}

static void send_reply(
	struct fake_netmapd *f, const void *msg, size_t size, const int *fds, size_t n)
{
	char control[CMSG_SPACE(16 * sizeof(int))] = {0};
	struct iovec iov = {.iov_base = (void *)(uintptr_t)msg, .iov_len = size};
	struct msghdr m = {.msg_iov = &iov, .msg_iovlen = 1};
	struct cmsghdr *c;

	if (n) {
		m.msg_control = control;
		m.msg_controllen = CMSG_SPACE(n * sizeof(int));
		c = CMSG_FIRSTHDR(&m);
		c->cmsg_level = SOL_SOCKET;
		c->cmsg_type = SCM_RIGHTS;
		c->cmsg_len = CMSG_LEN(n * sizeof(int));
		memcpy(CMSG_DATA(c), fds, n * sizeof(int));
	}
	sendmsg(f->client, &m, MSG_NOSIGNAL);
}

static void serve_nmreq(struct fake_netmapd *f, char *msg, size_t size)
{
	static char out[NMD_MSG_MAX];
	struct nmd_nmreq_reply *r = (struct nmd_nmreq_reply *)(void *)out;
	size_t payload = size - sizeof(struct nmd_hdr), nfds = 0;
	int fds[4 + FAKE_RINGS];

	f->requests++;
	serve_payload(f, msg + sizeof(struct nmd_hdr));
	memset(out, 0, sizeof(*r));
	r->reply.hdr = *(struct nmd_hdr *)(void *)msg;
	r->reply.hdr.size = (uint32_t)(sizeof(*r) + payload);
	r->reply.hdr.status = f->status;
	r->payload = (uint32_t)payload;
	memcpy(out + sizeof(*r), msg + sizeof(struct nmd_hdr), payload);
	if (f->status) {
		snprintf(r->reply.text, sizeof(r->reply.text), "%s", f->text ? f->text : "");
	} else if (f->header.nr_reqtype == NETMAP_REQ_REGISTER) {
		make_region(f);
		make_csb(f);
		r->attach = (struct nmd_attach){.region_size = FAKE_SIZE,
			.csb_size = CSB_SIZE,
			.ktoa_offset = 2048,
			.rings = FAKE_RINGS,
			.tx_rings = FAKE_TX,
			.rx_rings = FAKE_RX};
		fds[0] = f->region_fd;
		fds[1] = f->csb_fd;
		memcpy(&fds[2], f->irq, sizeof(f->irq));
		memcpy(&fds[4], f->kick, sizeof(f->kick));
		nfds = 4 + FAKE_RINGS - f->one_fd_less;
		r->nfds = (uint32_t)nfds;
	}
	send_reply(f, out, r->reply.hdr.size, fds, nfds);
}

static void serve_client(struct fake_netmapd *f)
{
	static char msg[NMD_MSG_MAX] __attribute__((aligned(8)));
	struct nmd_hello hello;
	ssize_t n;

	for (;;) {
		struct nmd_hdr *hdr = (struct nmd_hdr *)(void *)msg;

		n = recv(f->client, msg, sizeof(msg), 0);
		if (n < (ssize_t)sizeof(*hdr) || hdr->size != (size_t)n)
			return;
		if (hdr->type == NMD_NMREQ) {
			serve_nmreq(f, msg, (size_t)n);
			continue;
		}
		memset(&hello, 0, sizeof(hello));
		hello.reply.hdr = *hdr;
		hello.reply.hdr.size = sizeof(hello);
		send_reply(f, &hello, sizeof(hello), NULL, 0);
	}
}

static void *server(void *arg)
{
	struct fake_netmapd *f = arg;
	int fd;

	while ((fd = accept4(f->listener, NULL, NULL, SOCK_CLOEXEC)) >= 0) {
		__atomic_store_n(&f->connected, true, __ATOMIC_SEQ_CST);
		f->client = fd;
		serve_client(f);
		f->client = -1;
		close(fd);
		__atomic_store_n(&f->connected, false, __ATOMIC_SEQ_CST);
	}
	return NULL;
}

void fake_start(struct fake_netmapd *f)
{
	struct sockaddr_un addr = {.sun_family = AF_UNIX};

	memset(f, 0, sizeof(*f));
	f->client = -1;
	strcpy(f->dir, "/tmp/lib-daemon-XXXXXX");
	assert(mkdtemp(f->dir));
	snprintf(f->path, sizeof(f->path), "%s/socket", f->dir);
	strcpy(addr.sun_path, f->path);
	f->listener = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
	assert(bind(f->listener, (struct sockaddr *)&addr, sizeof(addr)) == 0);
	assert(listen(f->listener, 5) == 0);
	setenv("NETMAPD_SOCKET", f->path, 1);
	setenv("NETMAP_BACKEND", "daemon", 1);
	assert(pthread_create(&f->thread, NULL, server, f) == 0);
}

void fake_stop(struct fake_netmapd *f)
{
	shutdown(f->listener, SHUT_RDWR);
	pthread_join(f->thread, NULL);
	close(f->listener);
	forget_csb(f);
	if (f->region) {
		munmap(f->region, FAKE_SIZE);
		close(f->region_fd);
	}
	unlink(f->path);
	rmdir(f->dir);
}

void fake_hang_up(struct fake_netmapd *f)
{
	shutdown(f->client, SHUT_RDWR);
}

void fake_settle(struct fake_netmapd *f)
{
	while (__atomic_load_n(&f->connected, __ATOMIC_SEQ_CST))
		usleep(1000);
}

uint64_t fake_kicks(struct fake_netmapd *f, unsigned int ring)
{
	uint64_t n = 0;

	return read(f->kick[ring], &n, sizeof(n)) == sizeof(n) ? n : 0;
}
