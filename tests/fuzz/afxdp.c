/* SPDX-License-Identifier: BSD-2-Clause */
#include "afxdp.h"

#include "nic_io.h"

#include <errno.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

enum { RX, TX, FILL, COMPLETION };

static const uint64_t pgoff[KERNEL_RINGS] = {XDP_PGOFF_RX_RING, XDP_PGOFF_TX_RING,
	XDP_UMEM_PGOFF_FILL_RING, XDP_UMEM_PGOFF_COMPLETION_RING};
enum {
	PRODUCER = 0,
	CONSUMER = 64,
	FLAGS = 128,
	ENTRIES = 192
}; /* bytes from the start of a ring */

uint8_t kernel_answer;

/* ---- the system, wrapped ---- */

int __real_getsockopt(int fd, int level, int name, void *value, socklen_t *len);
int __wrap_getsockopt(int fd, int level, int name, void *value, socklen_t *len);
ssize_t __real_sendto(
	int fd, const void *buf, size_t bytes, int flags, const struct sockaddr *to, socklen_t len);
ssize_t __wrap_sendto(
	int fd, const void *buf, size_t bytes, int flags, const struct sockaddr *to, socklen_t len);
ssize_t __wrap_recvfrom(
	int fd, void *buf, size_t bytes, int flags, struct sockaddr *from, socklen_t *len);

static int kick(void)
{
	static const int errors[] = {EAGAIN, EBUSY, ENOBUFS, ENETDOWN, ENXIO, EINVAL};

	if (!kernel_answer)
		return 0;
	errno = errors[kernel_answer-- % (sizeof(errors) / sizeof(errors[0]))];
	return -1;
}

int __wrap_getsockopt(int fd, int level, int name, void *value, socklen_t *len)
{
	static const struct xdp_ring_offset ring = {PRODUCER, CONSUMER, ENTRIES, FLAGS};

	if (level != SOL_XDP)
		return __real_getsockopt(fd, level, name, value, len);
	if (name != XDP_MMAP_OFFSETS) {
		memset(value, kernel_answer, *len);
		return kick();
	}
	*(struct xdp_mmap_offsets *)value = (struct xdp_mmap_offsets){ring, ring, ring, ring};
	return 0;
}

ssize_t __wrap_sendto(
	int fd, const void *buf, size_t bytes, int flags, const struct sockaddr *to, socklen_t len)
{
	return buf ? __real_sendto(fd, buf, bytes, flags, to, len) : kick();
}

ssize_t __wrap_recvfrom(
	int fd, void *buf, size_t bytes, int flags, struct sockaddr *from, socklen_t *len)
{
	return kick();
}

/* ---- rings, from the kernel's side ------------------------------------------------------------------- */

static uint32_t *word(const struct kring *r, uint32_t at)
{
	return (uint32_t *)(void *)(r->map + at);
}

static uint64_t *addr_at(const struct kring *r, uint32_t i)
{
	return (uint64_t *)(void *)(r->map + ENTRIES) + (i & (r->size - 1));
}

static struct xdp_desc *desc_at(const struct kring *r, uint32_t i)
{
	return (struct xdp_desc *)(void *)(r->map + ENTRIES) + (i & (r->size - 1));
}

void kernel_forget(struct kqueue *q)
{
	for (int i = 0; i < KERNEL_RINGS; i++)
		if (q->ring[i].map)
			munmap(q->ring[i].map, q->ring[i].bytes);
	if (q->has)
		munmap(q->has, q->chunks);
	memset(q, 0, sizeof(*q));
}

/* Not of the heap, whose allocations the target makes fail. */
void kernel_registers(struct kqueue *q, uint64_t umem_bytes)
{
	fuzz_check(umem_bytes > 0 && umem_bytes % NM_NIC_BUF_SIZE == 0 &&
			   umem_bytes / NM_NIC_BUF_SIZE <= NM_BUFS_MAX,
		"a umem of %llu bytes", (unsigned long long)umem_bytes);
	q->chunks = (uint32_t)(umem_bytes / NM_NIC_BUF_SIZE);
	q->has = mmap(NULL, q->chunks, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	fuzz_check(q->has != MAP_FAILED, "no memory for %u chunks", q->chunks);
}

/* A socket whose rings have these sizes: its descriptor. What was posted before it was there is kept. */
int kernel_socket(struct kqueue *q, const struct nic_open *o)
{
	const uint32_t sizes[KERNEL_RINGS] = {o->rx, o->tx, o->fill, o->completion};
	int fd = memfd_create("socket", MFD_CLOEXEC);

	fuzz_check(
		fd >= 0 && ftruncate(fd, (off_t)(pgoff[COMPLETION] + (1 << 20))) == 0, "no file");
	for (int i = 0; i < KERNEL_RINGS; i++) {
		struct kring *r = &q->ring[i];

		fuzz_check(sizes[i] > 0 && (sizes[i] & (sizes[i] - 1)) == 0 &&
				   sizes[i] <= NIC_RING_MAX,
			"a ring of %u", sizes[i]);
		r->size = sizes[i];
		r->bytes = ENTRIES + (size_t)sizes[i] * sizeof(struct xdp_desc);
		r->map = mmap(
			NULL, r->bytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd, (off_t)pgoff[i]);
		fuzz_check(r->map != MAP_FAILED, "no ring");
	}
	for (uint32_t i = 0; i < q->chunks; i++)
		q->ring[FILL].seen += q->has[i]; /* netmapd-nic has posted them */
	OS_STORE(word(&q->ring[FILL], PRODUCER), q->ring[FILL].seen);
	q->used = true;
	return fd;
}

/* The kernel gets a buffer to receive into, which it hasn't got. */
void kernel_gets(struct kqueue *q, uint64_t addr)
{
	uint64_t index = addr / NM_NIC_BUF_SIZE;

	fuzz_check(addr % NM_NIC_BUF_SIZE == 0 && index >= NM_BUFS_RESERVED && index < q->chunks,
		"address %llx is posted", (unsigned long long)addr);
	fuzz_check(!q->has[index], "buffer %u is posted twice", (uint32_t)index);
	q->has[index] = 1;
}

/* What netmapd has done to the receiving side: for each packet that it took from a buffer of ours there is one back. */
static void look_at_received(struct kqueue *q)
{
	struct kring *rx = &q->ring[RX], *fill = &q->ring[FILL];
	uint32_t consumed = OS_LOAD(word(rx, CONSUMER)), filled = OS_LOAD(word(fill, PRODUCER));

	fuzz_check(consumed - rx->seen <= rx->size, "rx index %u, was %u", consumed, rx->seen);
	for (; rx->seen != consumed; rx->seen++) {
		uint64_t index = desc_at(rx, rx->seen)->addr / NM_NIC_BUF_SIZE;

		if (index >= q->chunks || !q->has[index])
			continue;
		q->has[index] = 0;
		fuzz_check(fill->seen != filled, "a packet was taken, and no buffer came for it");
		kernel_gets(q, *addr_at(fill, fill->seen++));
	}
	fuzz_check(fill->seen == filled, "more buffers come than packets were taken");
}

static void look_at_sent(struct kqueue *q)
{
	struct kring *tx = &q->ring[TX];
	uint32_t put = OS_LOAD(word(tx, PRODUCER));

	fuzz_check(put - tx->seen <= tx->size, "tx index %u, was %u", put, tx->seen);
	for (; tx->seen != put; tx->seen++) {
		const struct xdp_desc *desc = desc_at(tx, tx->seen);
		uint64_t index = desc->addr / NM_NIC_BUF_SIZE, at = desc->addr % NM_NIC_BUF_SIZE;

		fuzz_check(index >= NM_BUFS_RESERVED && index < q->chunks &&
				   at >= NM_NIC_HEADROOM && at + desc->len <= NM_NIC_BUF_SIZE &&
				   desc->len > 0,
			"%u bytes at %llx are sent", desc->len, (unsigned long long)desc->addr);
	}
}

void kernel_look(struct kqueue *q)
{
	if (!q->used)
		return;
	look_at_received(q);
	look_at_sent(q);
}

/* A buffer that the kernel has; 0: none. */
static uint32_t choose_buffer(struct fuzz_in *in, const struct kqueue *q)
{
	uint32_t start = fuzz_below(in, q->chunks);

	for (uint32_t i = 0; i < q->chunks; i++)
		if (q->has[(start + i) % q->chunks])
			return (start + i) % q->chunks;
	return 0;
}

static void put_received(struct kqueue *q, uint64_t addr, uint32_t len, uint32_t options)
{
	struct kring *rx = &q->ring[RX];
	uint32_t at = *word(rx, PRODUCER);

	*desc_at(rx, at) = (struct xdp_desc){addr, len, options};
	OS_STORE_RELEASE(word(rx, PRODUCER), at + 1);
}

/* As a kernel would; no more than the ring holds. */
void kernel_receives(struct fuzz_in *in, struct kqueue *q, struct nm_region *region)
{
	uint32_t index = choose_buffer(in, q), len = 60 + fuzz_u16(in) % 1460;

	if (!index ||
		*word(&q->ring[RX], PRODUCER) - *word(&q->ring[RX], CONSUMER) >= q->ring[RX].size)
		return;
	if (region && nm_region_buf_valid(region, index))
		fuzz_bytes(in, nm_region_buf(region, index), 64);
	if (*word(&q->ring[FILL], CONSUMER) != q->ring[FILL].seen)
		(*word(&q->ring[FILL], CONSUMER))++; /* of which it is doesn't matter */
	put_received(q, (uint64_t)index * NM_NIC_BUF_SIZE + NM_NIC_HEADROOM, len, 0);
}

void kernel_completes(struct fuzz_in *in, struct kqueue *q)
{
	struct kring *tx = &q->ring[TX], *done = &q->ring[COMPLETION];
	uint32_t from = *word(tx, CONSUMER), to = OS_LOAD(word(tx, PRODUCER)),
		 at = *word(done, PRODUCER);

	for (uint32_t n = fuzz_below(in, 16);
		n > 0 && from != to && at - *word(done, CONSUMER) < done->size; n--) {
		*addr_at(done, at++) = desc_at(tx, from++)->addr;
		OS_STORE_RELEASE(word(tx, CONSUMER), from);
		OS_STORE_RELEASE(word(done, PRODUCER), at);
	}
}

static uint64_t any_address(struct fuzz_in *in, const struct kqueue *q)
{
	uint64_t index = fuzz_edge(in, q->chunks);

	return fuzz_u8(in) & 1 ? index * NM_NIC_BUF_SIZE + NM_NIC_HEADROOM
			       : fuzz_edge(in, index * NM_NIC_BUF_SIZE);
}

/* As no kernel should. */
void kernel_lies(struct fuzz_in *in, struct kqueue *q)
{
	struct kring *r = &q->ring[fuzz_below(in, KERNEL_RINGS)];
	bool produces = r == &q->ring[RX] || r == &q->ring[COMPLETION];
	uint32_t at = *word(&q->ring[COMPLETION], PRODUCER);

	switch (fuzz_below(in, 5)) {
	case 0:
		put_received(q, any_address(in, q), (uint32_t)fuzz_edge(in, 3840),
			(uint32_t)fuzz_edge(in, 1));
		break;
	case 1:
		*addr_at(&q->ring[COMPLETION], at) = any_address(in, q);
		OS_STORE_RELEASE(word(&q->ring[COMPLETION], PRODUCER), at + 1);
		break;
	case 2:
		*word(r, produces ? PRODUCER : CONSUMER) += (uint32_t)fuzz_edge(in, r->size);
		break;
	case 3:
		*word(r, FLAGS) = (uint32_t)fuzz_edge(in, XDP_RING_NEED_WAKEUP);
		break;
	default:
		kernel_answer = fuzz_u8(in);
	}
}
