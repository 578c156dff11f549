/* SPDX-License-Identifier: BSD-2-Clause */
#include "xsk.h"

#include <errno.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include "nic_proto.h"

/* `offset` is where the kernel has the parts of the ring, `pgoff` which ring it is. */
static int map_ring(struct xsk_ring *r, int fd, uint32_t size, uint32_t entry_bytes,
	const struct xdp_ring_offset *offset, uint64_t pgoff, bool produced)
{
	char *map;

	if (!size)
		return 0;
	r->map_bytes = offset->desc + (size_t)size * entry_bytes;
	map = mmap(NULL, r->map_bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_POPULATE, fd,
		(off_t)pgoff);
	if (map == MAP_FAILED)
		return -errno;
	r->map = map;
	r->ours = (void *)(map + (produced ? offset->producer : offset->consumer));
	r->theirs = (void *)(map + (produced ? offset->consumer : offset->producer));
	r->flags = (void *)(map + offset->flags);
	r->entries = map + offset->desc;
	r->size = size;
	r->mask = size - 1;
	r->mine = OS_LOAD(r->ours);
	r->seen = OS_LOAD(r->theirs);
	return 0;
}

/* A ring that isn't there is empty, and has no room. */
static void no_ring(struct xsk_ring *r)
{
	static uint32_t nothing[3];

	*r = (struct xsk_ring){.ours = &nothing[0], .theirs = &nothing[1], .flags = &nothing[2]};
}

static void unmap_ring(struct xsk_ring *r)
{
	if (r->map)
		munmap(r->map, r->map_bytes);
	no_ring(r);
}

static void unmap(struct xsk *s)
{
	unmap_ring(&s->rx);
	unmap_ring(&s->fill);
	unmap_ring(&s->tx);
	unmap_ring(&s->completion);
}

static void no_rings(struct xsk *s, uint32_t queue)
{
	*s = (struct xsk){.fd = -1, .queue = queue};
	no_ring(&s->rx);
	no_ring(&s->fill);
	no_ring(&s->tx);
	no_ring(&s->completion);
}

void xsk_init_unbound(struct xsk *s, uint32_t queue, void *memory, uint32_t size)
{
	uint32_t *head = memory;

	no_rings(s, queue);
	s->fill.ours = &head[0];
	s->fill.theirs = &head[1];
	s->fill.flags = &head[2];
	s->fill.entries = (char *)memory + NIC_POSTED_HEAD;
	s->fill.size = size;
	s->fill.mask = size - 1;
}

int xsk_init(struct xsk *s, int fd, uint32_t queue, const struct xsk_sizes *sizes)
{
	const uint32_t desc = sizeof(struct xdp_desc), addr = sizeof(uint64_t);
	struct xdp_mmap_offsets at;
	socklen_t len = sizeof(at);
	int error;

	no_rings(s, queue);
	if (getsockopt(fd, SOL_XDP, XDP_MMAP_OFFSETS, &at, &len) < 0)
		return -errno;
	if (len != sizeof(at))
		return -EPROTO; /* a kernel before 5.4 */
	error = map_ring(&s->rx, fd, sizes->rx, desc, &at.rx, XDP_PGOFF_RX_RING, false);
	if (!error)
		error = map_ring(
			&s->fill, fd, sizes->fill, addr, &at.fr, XDP_UMEM_PGOFF_FILL_RING, true);
	if (!error)
		error = map_ring(&s->tx, fd, sizes->tx, desc, &at.tx, XDP_PGOFF_TX_RING, true);
	if (!error)
		error = map_ring(&s->completion, fd, sizes->completion, addr, &at.cr,
			XDP_UMEM_PGOFF_COMPLETION_RING, false);
	if (error)
		unmap(s);
	else
		s->fd = fd;
	return error;
}

void xsk_destroy(struct xsk *s)
{
	unmap(s);
	if (s->fd >= 0)
		close(s->fd);
	s->fd = -1;
}

int xsk_kick_tx(const struct xsk *s)
{
	/* cppcheck-suppress nullPointer ; no bytes: it is only a kick */
	return sendto(s->fd, NULL, 0, MSG_DONTWAIT, NULL, 0) < 0 ? -errno : 0;
}

int xsk_kick_rx(const struct xsk *s)
{
	/* cppcheck-suppress nullPointer ; no bytes: it is only a kick */
	return recvfrom(s->fd, NULL, 0, MSG_DONTWAIT, NULL, NULL) < 0 ? -errno : 0;
}

int xsk_stats(const struct xsk *s, struct xsk_stats *stats)
{
	struct xdp_statistics counted = {0}; /* old kernels know less */
	socklen_t len = sizeof(counted);

	if (getsockopt(s->fd, SOL_XDP, XDP_STATISTICS, &counted, &len) < 0)
		return -errno;
	*stats = (struct xsk_stats){
		.rx_dropped = counted.rx_dropped,
		.rx_ring_full = counted.rx_ring_full,
		.fill_empty = counted.rx_fill_ring_empty_descs,
		.rx_invalid = counted.rx_invalid_descs,
		.tx_invalid = counted.tx_invalid_descs,
		.tx_empty = counted.tx_ring_empty_descs,
	};
	return 0;
}
