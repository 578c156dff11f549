/* SPDX-License-Identifier: BSD-2-Clause */
/* Memory: extra buffers, regions by their number, offsets, the caller's own memory. */
#include "api.h"

#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

/* ---- extra buffers -------------------------------------------------------------------- */

/* Length of the list of extra buffers; each is looked at and written. */
static uint32_t count_extra(struct nmport_d *d, struct netmap_ring *ring)
{
	uint32_t index = d->nifp->ni_bufs_head, n = 0;

	while (index) {
		char *buf = NETMAP_BUF(ring, index);

		CHECK(index >= 2);
		CHECK(buf > (char *)d->mem->mem &&
			buf + ring->nr_buf_size <= (char *)d->mem->mem + d->mem->size);
		index = *(uint32_t *)(void *)buf;
		memset(buf + 4, 0xa5, ring->nr_buf_size - 4);
		CHECK(++n < 1000000);
	}
	return n;
}

TEST(extra_buffers)
{
	for (uint32_t wanted = 1; wanted < 2000; wanted *= 11) {
		struct nmport_d *d = prepare("valex:1");

		d->reg.nr_extra_bufs = wanted;
		CHECK_EQ(finish(d), 0);
		CHECK_EQ(d->reg.nr_extra_bufs, wanted);
		CHECK_EQ(count_extra(d, tx_ring(d, 0)), wanted);
		nmport_close(d);
	}
}

/* The application may send an extra buffer, and put the slot's on the list instead. */
TEST(extra_buffers_are_buffers)
{
	struct nmport_d *a = prepare("valex:1"), *b = open_flags("valex:2", 0);
	struct netmap_ring *ring;
	uint32_t extra, old;

	a->reg.nr_extra_bufs = 1;
	CHECK_EQ(finish(a), 0);
	ring = tx_ring(a, 0);
	extra = a->nifp->ni_bufs_head;
	old = ring->slot[ring->head].buf_idx;
	make_frame((uint8_t *)NETMAP_BUF(ring, extra), FRAME_LEN, 0, 1, 5);
	ring->slot[ring->head].buf_idx = extra;
	ring->slot[ring->head].len = FRAME_LEN;
	ring->slot[ring->head].flags = NS_BUF_CHANGED;
	ring->head = ring->cur = nm_ring_next(ring, ring->head);
	*(uint32_t *)(void *)NETMAP_BUF(ring, old) = 0;
	a->nifp->ni_bufs_head = old;
	CHECK_EQ(nmport_txsync(a), 0);
	take_frame(b, 0, 1, 5);
	nmport_close(a);
	nmport_close(b);
}

/* What the application does to the list does not change what is given back. */
TEST(extra_buffers_come_back)
{
	uint32_t first = 0;

	for (int round = 0; round < 7; round++) {
		struct nmport_d *d = prepare("valex:1"), *other;
		struct netmap_ring *ring;

		d->reg.nr_mem_id = 77;
		d->reg.nr_tx_slots = d->reg.nr_rx_slots = 16;
		d->reg.nr_extra_bufs = UINT32_MAX;
		CHECK_EQ(finish(d), 0);
		if (!round)
			first = d->reg.nr_extra_bufs;
		CHECK(first > 0 && first < 1000000);
		CHECK_EQ(d->reg.nr_extra_bufs, first);
		ring = tx_ring(d, 0);
		if (round == 0)
			CHECK_EQ(count_extra(d, ring), first);
		/* All are taken that are to be had: the rest is for the rings of others. */
		other = prepare("valex:2");
		other->reg.nr_mem_id = 77;
		other->reg.nr_tx_slots = other->reg.nr_rx_slots = 16;
		other->reg.nr_extra_bufs = 1;
		CHECK_EQ(finish(other), 0);
		CHECK_EQ(other->reg.nr_extra_bufs, 0);
		nmport_close(other);
		if (round == 1)
			d->nifp->ni_bufs_head = 0;
		if (round == 2)
			d->nifp->ni_bufs_head = UINT32_MAX;
		if (round == 3) /* a loop */
			*(uint32_t *)(void *)NETMAP_BUF(ring, d->nifp->ni_bufs_head) =
				d->nifp->ni_bufs_head;
		if (round == 4) /* a buffer of a ring, as if it were an extra one */
			d->nifp->ni_bufs_head = ring->slot[3].buf_idx;
		if (round == 5) /* the same buffer in several slots */
			for (uint32_t i = 0; i < ring->num_slots; i++)
				ring->slot[i].buf_idx = d->nifp->ni_bufs_head;
		nmport_close(d);
	}
}

TEST(extra_buffers_of_two)
{
	struct nmport_d *a = prepare("valex:1"), *b = prepare("valex:1");

	a->reg.nr_flags = NR_TX_RINGS_ONLY;
	b->reg.nr_flags = NR_RX_RINGS_ONLY;
	a->reg.nr_mem_id = 99;
	a->reg.nr_extra_bufs = 3;
	b->reg.nr_extra_bufs = 4;
	CHECK_EQ(finish(a), 0);
	CHECK_EQ(finish(b), 0);
	CHECK_EQ(a->reg.nr_extra_bufs, 3);
	CHECK_EQ(b->reg.nr_extra_bufs, 4);
	CHECK_EQ(count_extra(a, tx_ring(a, 0)), 3);
	CHECK_EQ(count_extra(b, rx_ring(b, 0)), 4);
	CHECK(a->nifp->ni_bufs_head != b->nifp->ni_bufs_head);
	nmport_close(a);
	CHECK_EQ(count_extra(b, rx_ring(b, 0)), 4);
	nmport_close(b);
}

/* ---- regions by number ---------------------------------------------------------------- */

TEST(private_regions)
{
	struct nmport_d *a = open_flags("valex:1", 0), *b = open_flags("valex:2", 0);

	CHECK(a->reg.nr_mem_id != b->reg.nr_mem_id);
	CHECK(a->reg.nr_mem_id != 1 && b->reg.nr_mem_id != 1);
	CHECK(a->mem != b->mem);
	nmport_close(a);
	nmport_close(b);
}

TEST(region_by_number)
{
	struct nmport_d *a = open_spec("valex:1@123"), *b = open_spec("valex:2@123");
	struct netmap_ring *tx = tx_ring(a, 0), *rx = rx_ring(b, 0);
	uint32_t buf;

	CHECK_EQ(a->reg.nr_mem_id, 123);
	CHECK_EQ(b->reg.nr_mem_id, 123);
	CHECK(a->mem == b->mem);
	CHECK_EQ(a->reg.nr_memsize, b->reg.nr_memsize);
	/* One application forwards between them without a copy. */
	send_frame(b, 0, 2, 1);
	take_frame(a, 0, 2, 1);
	send_frame(a, 0, 1, 2);
	CHECK(wait_slots(b, rx, 1));
	buf = rx->slot[rx->head].buf_idx;
	rx->slot[rx->head].buf_idx = tx->slot[tx->head].buf_idx;
	tx->slot[tx->head].buf_idx = buf;
	tx->slot[tx->head].len = rx->slot[rx->head].len;
	tx->slot[tx->head].flags = rx->slot[rx->head].flags = NS_BUF_CHANGED;
	rx->head = rx->cur = nm_ring_next(rx, rx->head);
	tx->head = tx->cur = nm_ring_next(tx, tx->head);
	CHECK_EQ(nmport_rxsync(b), 0);
	CHECK_EQ(nmport_txsync(a), 0);
	take_frame(b, 0, 1, 2);
	/* The first goes, and what it showed of the other's is put right. */
	nmport_close(a);
	a = open_spec("valex:1@123");
	send_frame(a, 0, 1, 3);
	take_frame(b, 0, 1, 3);
	nmport_close(b);
	nmport_close(a);
}

TEST(region_of_another_number)
{
	struct nmport_d *a = open_spec("valex:1/T@123");
	struct nmreq_register reg, want = {.nr_mode = NR_REG_ALL_NIC, .nr_flags = NR_RX_RINGS_ONLY};

	reg = want;
	reg.nr_mem_id = 124;
	CHECK_EQ(try_register("valex:1", &reg), -EINVAL);
	reg = want;
	reg.nr_mem_id = 123;
	CHECK_EQ(try_register("valex:1", &reg), 0);
	reg = want;
	CHECK_EQ(try_register("valex:1", &reg), 0);
	CHECK_EQ(reg.nr_mem_id, 123);
	nmport_close(a);
}

TEST(region_shared_by_name)
{
	struct nmport_d *a = open_spec("valex:1@55"), *b = open_spec("valex:2@share=valex:1");

	CHECK_EQ(a->reg.nr_mem_id, b->reg.nr_mem_id);
	nmport_close(a);
	/* It lives as long as somebody uses it. */
	send_frame(b, 0, 2, 1);
	nmport_close(b);
}

TEST(pipes_share_with_their_parent)
{
	/* Small ones: the private region of a port has some room beside its own rings, not more. */
	struct nmport_d *a = open_shape("valex:1", 1, 32, 32);
	struct nmport_d *m = open_shape("valex:1{1", 1, 32, 32);

	CHECK_EQ(a->reg.nr_mem_id, m->reg.nr_mem_id);
	nmport_close(a);
	nmport_close(m);
}

TEST(region_too_small)
{
	struct nmport_d *a = prepare("valex:1");

	/* A region that is made by number has one size: this port is larger. */
	a->reg.nr_mem_id = 88;
	a->reg.nr_tx_rings = a->reg.nr_rx_rings = 64;
	a->reg.nr_tx_slots = a->reg.nr_rx_slots = 16384;
	CHECK_EQ(finish(a), -ENOMEM);
	nmport_close(a);
	a = open_spec("valex:1@88");
	nmport_close(a);
}

/* ---- offsets -------------------------------------------------------------------------- */

static struct nmport_d *open_offsets_flags(const char *name, uint64_t flags, uint64_t initial,
	uint64_t max, uint64_t bits, uint64_t gap, int want)
{
	struct nmport_d *d = prepare(name);
	int ret = nmport_offset(d, initial, max, bits, gap) < 0 ? -errno : 0;

	d->reg.nr_flags = flags;
	if (!ret)
		ret = finish(d);
	if (ret != want)
		api_fail(__FILE__, __LINE__,
			"initial %llu, max %llu, bits %llu, gap %llu: %d instead of %d (%s)",
			(unsigned long long)initial, (unsigned long long)max,
			(unsigned long long)bits, (unsigned long long)gap, ret, want,
			api_last_error());
	if (want) {
		nmport_close(d);
		return NULL;
	}
	return d;
}

static struct nmport_d *open_offsets(
	const char *name, uint64_t initial, uint64_t max, uint64_t bits, uint64_t gap, int want)
{
	return open_offsets_flags(name, 0, initial, max, bits, gap, want);
}

static uint64_t mask_of(uint64_t bits)
{
	return bits && bits < 64 ? (1ULL << bits) - 1 : UINT64_MAX;
}

TEST(offsets)
{
	for (uint64_t bits = 0; bits <= 64; bits += 16) {
		struct nmport_d *d = open_offsets("valeo:1", 64, 128, bits, 0, 0);
		struct netmap_ring *tx = tx_ring(d, 0), *rx = rx_ring(d, 0);

		CHECK(tx->offset_mask == mask_of(bits) && rx->offset_mask == mask_of(bits));
		for (uint32_t i = 0; i < tx->num_slots; i++)
			CHECK_EQ(NETMAP_ROFFSET(tx, &tx->slot[i]), 64);
		for (uint32_t i = 0; i < rx->num_slots; i++)
			CHECK_EQ(NETMAP_ROFFSET(rx, &rx->slot[i]), 64);
		nmport_close(d);
	}
}

/* Frames travel between ports with and without offsets. */
static void offset_traffic(const char *one, const char *other)
{
	struct nmport_d *a = open_offsets(one, 32, 100, 0, 0, 0), *b = open_flags(other, 0);
	struct netmap_ring *tx = tx_ring(a, 0);

	for (uint32_t i = 0; i < 2000; i++) {
		NETMAP_WOFFSET(tx, &tx->slot[tx->head], i % 101);
		send_frame(a, 0, 1, i);
		take_frame(b, 0, 1, i);
		send_frame(b, 0, 2, i);
		take_frame(a, 0, 2, i);
	}
	nmport_close(a);
	nmport_close(b);
}

TEST(offsets_on_a_switch)
{
	offset_traffic("valeo:1", "valeo:2");
}

TEST(offsets_limits)
{
	struct nmport_d *d = open_flags("valeo:1", 0);
	uint64_t size = tx_ring(d, 0)->nr_buf_size;

	nmport_close(d);
	open_offsets("valeo:1", 10, 9, 0, 0, -EINVAL);  /* the initial one beyond the most */
	open_offsets("valeo:1", 0, 256, 8, 0, -EINVAL); /* 256 does not fit 8 bits */
	nmport_close(open_offsets("valeo:1", 0, 255, 8, 0, 0));
	open_offsets("valeo:1", 0, size, 0, 0, -EINVAL);
	open_offsets("valeo:1", 0, UINT64_MAX, 0, 0, -EINVAL);
	open_offsets("valeo:1", 0, 1, 0, UINT64_MAX, -EINVAL);
	open_offsets("valeo:1", 0, size / 2, 0, size, -EINVAL);
	open_offsets("valeo:1", 0, 0, 65, 0, -EINVAL);
}

/* Offset and length beyond the buffer: dropped, and the port goes on. */
TEST(offsets_beyond_the_buffer)
{
	struct nmport_d *a = open_offsets("valeo:1", 0, 128, 0, 0, 0);
	struct nmport_d *b = open_flags("valeo:2", 0);
	struct netmap_ring *tx = tx_ring(a, 0);
	static const uint64_t beyond[] = {1u << 16, UINT32_MAX, UINT64_MAX, UINT64_MAX - 50};

	for (unsigned int i = 0; i < 6; i++) {
		struct netmap_slot *slot = &tx->slot[tx->head];
		uint32_t room = tx->nr_buf_size - FRAME_LEN;
		bool fits = i == 4; /* just so, though it is more than was asked for */

		make_frame((uint8_t *)NETMAP_BUF(tx, slot->buf_idx) + (fits ? room : 0), FRAME_LEN,
			0, 1, i);
		slot->len = FRAME_LEN;
		slot->flags = 0;
		slot->ptr = i < 4 ? beyond[i] : room + (i - 4);
		tx->head = tx->cur = nm_ring_next(tx, tx->head);
		CHECK_EQ(nmport_txsync(a), 0);
		CHECK(wait_sent(a, tx));
		slot->ptr = 0;
		if (fits)
			take_frame(b, 0, 1, i);
		send_frame(a, 0, 1, 100 + i);
		take_frame(b, 0, 1, 100 + i);
	}
	nmport_close(a);
	nmport_close(b);
}

/* The receiver's offset: the frame is written behind it, or dropped if there is no room. */
TEST(offsets_of_the_receiver)
{
	struct nmport_d *a = open_flags("valeo:1", 0);
	struct nmport_d *b = open_offsets("valeo:2", 64, 64, 0, 32, 0);
	struct netmap_ring *tx = tx_ring(a, 0), *rx = rx_ring(b, 0);
	static uint8_t data[UINT16_MAX], got[UINT16_MAX];
	uint32_t size = tx->nr_buf_size, slots;

	/* Longer than the receiver's room: several slots, each behind its offset, before its gap. */
	make_frame(data, size, 0, 1, 1);
	CHECK(put_parts(tx, data, size, 0));
	CHECK_EQ(nmport_txsync(a), 0);
	CHECK_EQ(take_packet(b, rx, got, sizeof(got), &slots), size);
	CHECK_EQ(slots, 2);
	CHECK_EQ(memcmp(data, got, size), 0);
	nmport_close(a);
	nmport_close(b);
}

TEST(offsets_of_a_second_client)
{
	const uint64_t tx = NR_TX_RINGS_ONLY, rx = NR_RX_RINGS_ONLY;
	struct nmport_d *a = open_offsets_flags("valeo:1", tx, 16, 64, 0, 0, 0);

	/* More than was granted. */
	open_offsets_flags("valeo:1", rx, 16, 128, 0, 0, -EINVAL);
	nmport_close(open_offsets_flags("valeo:1", rx, 16, 64, 0, 0, 0));
	CHECK_REFUSED(try_mode("valeo:1", NR_REG_ALL_NIC, rx));
	nmport_close(a);
	CHECK_EQ(try_mode("valeo:1", NR_REG_ALL_NIC, 0), 0);
}

TEST(offsets_by_name)
{
	struct nmport_d *d = open_spec("valeo:1@offset:initial=48,bits=16");
	struct netmap_ring *tx = tx_ring(d, 0);

	CHECK_EQ(tx->offset_mask, 0xffff);
	CHECK_EQ(NETMAP_ROFFSET(tx, &tx->slot[3]), 48);
	nmport_close(d);
}

/* ---- the caller's memory -------------------------------------------------------------- */

enum { EXT_SIZE = 16 << 20 };

static void *ext_memory(void)
{
	void *mem = mmap(NULL, EXT_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);

	CHECK(mem != MAP_FAILED);
	return mem;
}

TEST(extmem)
{
	char *mem = ext_memory();
	struct nmport_d *a = prepare("valee:1"), *b = open_flags("valee:2", 0);
	struct nmreq_pools_info *info;

	CHECK_EQ(nmport_extmem(a, mem, EXT_SIZE), 0);
	CHECK_EQ(finish(a), 0);
	info = nmport_extmem_getinfo(a);
	CHECK(info != NULL && info->nr_memsize <= EXT_SIZE);
	CHECK(info->nr_if_pool_objtotal && info->nr_ring_pool_objtotal &&
		info->nr_buf_pool_objtotal > 2048);
	/* The rings are in it. */
	CHECK((char *)a->nifp >= mem && (char *)a->nifp < mem + EXT_SIZE);
	for (uint32_t i = 0; i < 100; i++) {
		send_frame(a, 0, 1, i);
		take_frame(b, 0, 1, i);
		send_frame(b, 0, 2, i);
		take_frame(a, 0, 2, i);
	}
	nmport_close(a);
	nmport_close(b);
	/* It is still the caller's. */
	memset(mem, 0x55, EXT_SIZE);
	CHECK_EQ(munmap(mem, EXT_SIZE), 0);
}

TEST(extmem_wishes)
{
	char *mem = ext_memory();
	struct nmport_d *a = prepare("valee:1");
	struct nmreq_pools_info *info;

	CHECK_EQ(nmport_extmem(a, mem, EXT_SIZE), 0);
	info = nmport_extmem_getinfo(a);
	info->nr_if_pool_objtotal = 4;
	info->nr_ring_pool_objtotal = 8;
	info->nr_buf_pool_objtotal = 3000;
	info->nr_buf_pool_objsize = 4096;
	CHECK_EQ(finish(a), 0);
	info = nmport_extmem_getinfo(a);
	CHECK_EQ(info->nr_buf_pool_objsize, 4096);
	CHECK(info->nr_buf_pool_objtotal <= 3000 && info->nr_buf_pool_objtotal > 2048);
	CHECK_EQ(tx_ring(a, 0)->nr_buf_size, 4096);
	nmport_close(a);
	munmap(mem, EXT_SIZE);
}

TEST(extmem_refusals)
{
	char *mem = ext_memory();
	struct nmport_d *a = prepare("valee:1");

	CHECK_EQ(nmport_extmem(a, mem, 4096), 0); /* nothing fits */
	CHECK_REFUSED(finish(a));
	nmport_close(a);
	a = prepare("valee:1");
	/* Memory that is not there. */
	CHECK_EQ(munmap(mem, EXT_SIZE), 0);
	if (nmport_extmem(a, mem, EXT_SIZE) == 0)
		CHECK_REFUSED(finish(a));
	nmport_close(a);
	CHECK_EQ(try_mode("valee:1", NR_REG_ALL_NIC, 0), 0);
}

TEST(extmem_by_name)
{
	char file[] = "/tmp/nmapi-XXXXXX", spec[100];
	int fd = mkstemp(file);
	struct nmport_d *d;

	CHECK(fd >= 0 && ftruncate(fd, EXT_SIZE) == 0);
	snprintf(spec, sizeof(spec), "valee:1@extmem:file=%s", file);
	d = nmport_open(spec);
	unlink(file);
	CHECK(d != NULL);
	CHECK(nmport_extmem_getinfo(d)->nr_buf_pool_objtotal > 2048);
	nmport_close(d);
	close(fd);
}
