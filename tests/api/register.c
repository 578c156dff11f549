/* SPDX-License-Identifier: BSD-2-Clause */
/* REGISTER: modes, flags, numbers, who may share what. */
#include "api.h"

#include <poll.h>
#include <sys/wait.h>

enum { RINGS_MAX = 64, SLOTS_MIN = 2, SLOTS_MAX = 16384 };

TEST(register_defaults)
{
	struct nmport_d *d = open_flags("valer:1", 0);

	CHECK_EQ(d->reg.nr_tx_rings, 1);
	CHECK_EQ(d->reg.nr_rx_rings, 1);
	CHECK(d->reg.nr_tx_slots >= 256 && d->reg.nr_rx_slots >= 256);
	CHECK(d->reg.nr_mem_id > 0 && d->reg.nr_memsize > 0);
	CHECK_EQ(d->reg.nr_extra_bufs, 0);
	CHECK(d->reg.nr_offset < d->reg.nr_memsize);
	CHECK_EQ(d->nifp->ni_tx_rings, 1);
	CHECK_EQ(d->nifp->ni_rx_rings, 1);
	/* The accessor macros of applications count host rings, also where there are none. */
	CHECK(d->nifp->ni_host_tx_rings >= 1 && d->nifp->ni_host_rx_rings >= 1);
	CHECK_EQ(d->nifp->ni_version, NETMAP_API);
	CHECK_EQ(strcmp(d->nifp->ni_name, "valer:1"), 0);
	CHECK_EQ(d->nifp->ni_bufs_head, 0);
	nmport_close(d);
}

TEST(fresh_rings)
{
	struct nmport_d *d = open_shape("valer:1", 2, 32, 64);

	for (uint32_t i = 0; i < 2; i++) {
		struct netmap_ring *tx = tx_ring(d, i), *rx = rx_ring(d, i);

		CHECK_EQ(tx->num_slots, 32);
		CHECK_EQ(rx->num_slots, 64);
		CHECK(tx->ringid == i && rx->ringid == i && tx->dir == 0 && rx->dir == 1);
		CHECK_EQ(nm_ring_space(tx), 31);
		CHECK_EQ(nm_ring_space(rx), 0);
		CHECK(tx->head == 0 && tx->cur == 0 && rx->head == 0 && rx->cur == 0);
		CHECK(tx->offset_mask == 0 && tx->flags == 0);
		for (uint32_t s = 0; s < 32; s++)
			for (uint32_t t = 0; t < 64; t++)
				CHECK(tx->slot[s].buf_idx >= 2 &&
					tx->slot[s].buf_idx != rx->slot[t].buf_idx);
	}
	nmport_close(d);
}

TEST(modes)
{
	CHECK_EQ(try_mode("valer:1", NR_REG_ALL_NIC, 0), 0);
	CHECK_EQ(try_mode("valer:1", NR_REG_ONE_NIC, 0), 0);
	CHECK_EQ(try_mode("valer:1", NR_REG_DEFAULT, 0), -EINVAL);
	CHECK_EQ(try_mode("valer:1", 9, 0), -EINVAL);
	CHECK_EQ(try_mode("valer:1", 255, 0), -EINVAL);
	CHECK_EQ(try_mode("valer:1", UINT32_MAX, 0), -EINVAL);
	/* Switch ports have no host rings. */
	CHECK_EQ(try_mode("valer:1", NR_REG_SW, 0), -EINVAL);
	CHECK_EQ(try_mode("valer:1", NR_REG_ONE_SW, 0), -EINVAL);
}

TEST(ring_numbers)
{
	struct nmport_d *hold = prepare("valer:1");
	struct nmreq_register reg;

	/* Keeps the port with its shape; ring 0 is not among those that are tried. */
	hold->reg.nr_tx_rings = hold->reg.nr_rx_rings = 4;
	hold->reg.nr_mode = NR_REG_ONE_NIC;
	CHECK_EQ(finish(hold), 0);

	for (unsigned int i = 1; i < 6; i++) {
		struct nmport_d *d = prepare("valer:1");

		d->reg.nr_mode = NR_REG_ONE_NIC;
		d->reg.nr_ringid = (uint16_t)i;
		if (i >= 4) {
			CHECK_EQ(finish(d), -EINVAL);
			nmport_close(d);
			continue;
		}
		CHECK_EQ(finish(d), 0);
		CHECK(tx_count(d) == 1 && rx_count(d) == 1);
		CHECK_EQ(tx_ring(d, 0)->ringid, i);
		CHECK_EQ(rx_ring(d, 0)->ringid, i);
		/* Rings that the registration does not include are not there. */
		for (uint32_t r = 0; r < 4; r++)
			CHECK_EQ(d->nifp->ring_ofs[r] != 0, r == i);
		nmport_close(d);
	}
	reg = (struct nmreq_register){.nr_mode = NR_REG_ONE_NIC, .nr_ringid = UINT16_MAX};
	CHECK_EQ(try_register("valer:1", &reg), -EINVAL);
	nmport_close(hold);
}

/* In a direction with fewer rings than the number says it is ring 0. */
TEST(ring_numbers_of_unequal_directions)
{
	struct nmport_d *hold = prepare("valer:1"), *d;
	static const uint64_t flags[] = {0, NR_RX_RINGS_ONLY, NR_TX_RINGS_ONLY};

	hold->reg.nr_tx_rings = 1;
	hold->reg.nr_rx_rings = 4;
	hold->reg.nr_mode = NR_REG_ONE_NIC;
	hold->reg.nr_ringid = 1;
	hold->reg.nr_flags = NR_RX_RINGS_ONLY; /* keeps the port */
	CHECK_EQ(finish(hold), 0);
	CHECK_EQ(rx_ring(hold, 0)->ringid, 1);
	for (int i = 0; i < 3; i++) {
		d = prepare("valer:1");
		d->reg.nr_mode = NR_REG_ONE_NIC;
		d->reg.nr_ringid = 3;
		d->reg.nr_flags = flags[i];
		CHECK_EQ(finish(d), 0);
		CHECK_EQ(tx_count(d), flags[i] != NR_RX_RINGS_ONLY);
		CHECK_EQ(rx_count(d), flags[i] != NR_TX_RINGS_ONLY);
		if (tx_count(d))
			CHECK_EQ(tx_ring(d, 0)->ringid, 0);
		if (rx_count(d))
			CHECK_EQ(rx_ring(d, 0)->ringid, 3);
		nmport_close(d);
	}
	d = prepare("valer:1");
	d->reg.nr_mode = NR_REG_ONE_NIC;
	d->reg.nr_ringid = 4;
	CHECK_EQ(finish(d), -EINVAL);
	nmport_close(d);
	nmport_close(hold);
}

TEST(one_direction)
{
	struct nmport_d *tx = open_flags("valer:1", NR_TX_RINGS_ONLY);
	struct nmport_d *rx = open_flags("valer:1", NR_RX_RINGS_ONLY);
	struct nmport_d *other = open_flags("valer:2", 0);

	CHECK(tx_count(tx) == 1 && rx_count(tx) == 0);
	CHECK(tx_count(rx) == 0 && rx_count(rx) == 1);
	CHECK_EQ(tx->reg.nr_mem_id, rx->reg.nr_mem_id);
	send_frame(tx, 0, 1, 7);
	take_frame(other, 0, 1, 7);
	send_frame(other, 0, 2, 8);
	take_frame(rx, 0, 2, 8);
	nmport_close(tx);
	nmport_close(rx);
	nmport_close(other);
}

/* What is asked for, and 0 if it must be given, else the error. */
static int shape_error(uint32_t tx_rings, uint32_t rx_rings, uint32_t tx_slots, uint32_t rx_slots,
	struct nmreq_register *out)
{
	*out = (struct nmreq_register){.nr_mode = NR_REG_ALL_NIC,
		.nr_tx_rings = (uint16_t)tx_rings,
		.nr_rx_rings = (uint16_t)rx_rings,
		.nr_tx_slots = tx_slots,
		.nr_rx_slots = rx_slots};
	return try_register("valer:s", out);
}

TEST(rings_limits)
{
	static const uint16_t bad[] = {RINGS_MAX + 1, 255, 256, 257, 32768, UINT16_MAX};
	struct nmreq_register out;

	CHECK_EQ(shape_error(RINGS_MAX - 1, 1, 16, 16, &out), 0);
	CHECK_EQ(out.nr_tx_rings, RINGS_MAX - 1);
	CHECK_EQ(shape_error(RINGS_MAX, RINGS_MAX, 16, 16, &out), 0);
	CHECK(out.nr_tx_rings == RINGS_MAX && out.nr_rx_rings == RINGS_MAX);
	for (unsigned int i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		CHECK_EQ(shape_error(bad[i], 1, 16, 16, &out), -EINVAL);
		CHECK_EQ(shape_error(1, bad[i], 16, 16, &out), -EINVAL);
	}
}

TEST(slots_limits)
{
	static const uint32_t bad[] = {
		1, SLOTS_MAX + 1, 65535, 65536, 1u << 31, UINT32_MAX - 1, UINT32_MAX};
	struct nmreq_register out;

	CHECK_EQ(shape_error(1, 1, SLOTS_MIN, SLOTS_MIN, &out), 0);
	CHECK(out.nr_tx_slots == SLOTS_MIN && out.nr_rx_slots == SLOTS_MIN);
	CHECK_EQ(shape_error(1, 1, SLOTS_MIN + 1, 100, &out), 0);
	CHECK(out.nr_tx_slots == SLOTS_MIN + 1 && out.nr_rx_slots == 100);
	CHECK_EQ(shape_error(1, 1, SLOTS_MAX, SLOTS_MAX, &out), 0);
	CHECK(out.nr_tx_slots == SLOTS_MAX && out.nr_rx_slots == SLOTS_MAX);
	for (unsigned int i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		CHECK_EQ(shape_error(1, 1, bad[i], 16, &out), -EINVAL);
		CHECK_EQ(shape_error(1, 1, 16, bad[i], &out), -EINVAL);
	}
	/* Each for itself is allowed; together they are more than a region holds. */
	CHECK_EQ(shape_error(RINGS_MAX, RINGS_MAX, SLOTS_MAX, SLOTS_MAX, &out), -ENOMEM);
}

/* The shape is decided by whoever makes the port. */
TEST(shape_of_a_port_that_is_there)
{
	struct nmport_d *first = prepare("valer:1"), *second = prepare("valer:1");

	first->reg.nr_flags = NR_TX_RINGS_ONLY;
	first->reg.nr_tx_rings = first->reg.nr_rx_rings = 2;
	first->reg.nr_tx_slots = 32;
	first->reg.nr_rx_slots = 48;
	CHECK_EQ(finish(first), 0);
	second->reg.nr_flags = NR_RX_RINGS_ONLY;

	second->reg.nr_tx_rings = second->reg.nr_rx_rings = 1;
	second->reg.nr_tx_slots = 512;
	CHECK_EQ(finish(second), 0);
	CHECK_EQ(second->reg.nr_tx_rings, 2);
	CHECK_EQ(second->reg.nr_tx_slots, 32);
	CHECK_EQ(second->reg.nr_rx_slots, 48);
	nmport_close(first);
	nmport_close(second);
}

TEST(registered_already)
{
	struct nmport_d *d = open_flags("valer:1", 0);

	CHECK(nmport_register(d) < 0 && errno == EBUSY);
	/* The first registration still holds. */
	CHECK_EQ(nmport_txsync(d), 0);
	nmport_close(d);
}

TEST(failed_registration_leaves_the_file_usable)
{
	struct nmport_d *d = prepare("valer:1");

	d->reg.nr_mode = 9;
	CHECK_EQ(finish(d), -EINVAL);
	d->reg = (struct nmreq_register){.nr_mode = NR_REG_ALL_NIC};
	CHECK_EQ(finish(d), 0);
	nmport_close(d);
}

/* ---- sharing -------------------------------------------------------------------------- */

TEST(several_files_on_one_ring)
{
	struct nmport_d *a = open_flags("valer:1", 0), *b, *c = open_flags("valer:2", 0);

	CHECK_EQ(try_mode("valer:1", NR_REG_ALL_NIC, 0), 0);
	CHECK_EQ(try_mode("valer:1", NR_REG_ALL_NIC, NR_EXCLUSIVE), -EBUSY);
	b = open_flags("valer:1", 0);
	CHECK_EQ(a->reg.nr_mem_id, b->reg.nr_mem_id);
	CHECK(a->mem == b->mem);
	CHECK(tx_ring(a, 0) == tx_ring(b, 0));
	/* They go on where the other has stopped. */
	for (uint32_t i = 0; i < 40; i++) {
		send_frame(i % 3 ? a : b, 2, 1, i);
		take_frame(c, 2, 1, i);
		send_frame(c, 1, 2, i);
		take_frame(i % 2 ? a : b, 1, 2, i);
	}
	send_frame(c, 1, 2, 100);
	send_frame(c, 1, 2, 101);
	take_frame(a, 1, 2, 100);
	nmport_close(a);
	take_frame(b, 1, 2, 101);
	a = open_flags("valer:1", 0);
	nmport_close(b);
	send_frame(a, 2, 1, 102);
	take_frame(c, 2, 1, 102);
	send_frame(c, 1, 2, 103);
	take_frame(a, 1, 2, 103);
	nmport_close(a);
	nmport_close(c);
}

/* A program that only sends, and one that only receives, on all rings of one port. */
enum { SHARED_FRAMES = 2000, ON_THE_WAY = 500 };

static void receive_in_child(void)
{
	struct nmport_d *d = open_flags("valer:1", NR_NO_TX_POLL);

	for (uint32_t i = 1; i <= SHARED_FRAMES; i++)
		take_frame(d, 1, 2, i);
	nmport_close(d);
}

TEST(several_programs_on_one_ring)
{
	struct nmport_d *a = open_flags("valer:1", NR_NO_TX_POLL), *c = open_flags("valer:2", 0);
	struct netmap_ring *rx = rx_ring(a, 0);
	int status;
	pid_t pid = fork();

	if (pid == 0) {
		receive_in_child();
		_exit(0);
	}
	for (uint32_t i = 1; i <= SHARED_FRAMES; i++) {
		send_frame(a, 2, 1, i);
		take_frame(c, 2, 1, i);
		for (uint64_t limit = now_ms() + WAIT_MS; !nm_ring_space(tx_ring(c, 0));)
			CHECK(nmport_poll(c, POLLOUT, 1) >= 0 && now_ms() < limit);
		send_frame(c, 1, 2, i);
		for (uint64_t limit = now_ms() + WAIT_MS;
			(i - rx->head) % rx->num_slots > ON_THE_WAY; sleep_ms(1))
			CHECK(now_ms() < limit);
	}
	CHECK(waitpid(pid, &status, 0) == pid);
	CHECK_EQ(status, 0);
	nmport_close(a);
	nmport_close(c);
}

/* Rings of their own, or all in common: netmapd says which rings can be had. */
TEST(some_rings_in_common)
{
	struct nmport_d *d[2];

	for (int i = 0; i < 2; i++) {
		d[i] = prepare("valer:1");
		d[i]->reg.nr_mode = NR_REG_ONE_NIC;
		d[i]->reg.nr_ringid = (uint16_t)i;
		d[i]->reg.nr_tx_rings = d[i]->reg.nr_rx_rings = 2;
		CHECK_EQ(finish(d[i]), 0);
	}
	CHECK_EQ(try_mode("valer:1", NR_REG_ALL_NIC, 0), OVERLAP_ERROR);
	if (OVERLAP_ERROR)
		CHECK(strstr(api_last_error(), "/T") || getenv("NMAPI_RUN"));
	CHECK_EQ(try_mode("valer:1", NR_REG_ONE_NIC, 0), 0);
	CHECK_EQ(try_mode("valer:1", NR_REG_ONE_NIC, NR_RX_RINGS_ONLY), OVERLAP_ERROR);
	nmport_close(d[0]);
	nmport_close(d[1]);
}

TEST(exclusive)
{
	struct nmport_d *x = open_flags("valer:1", NR_EXCLUSIVE), *shared;

	CHECK_EQ(try_mode("valer:1", NR_REG_ALL_NIC, 0), -EBUSY);
	CHECK_EQ(try_mode("valer:1", NR_REG_ALL_NIC, NR_EXCLUSIVE), -EBUSY);
	CHECK_EQ(try_mode("valer:1", NR_REG_ONE_NIC, 0), -EBUSY);
	nmport_close(x);
	shared = open_flags("valer:1", 0);
	CHECK_EQ(try_mode("valer:1", NR_REG_ALL_NIC, NR_EXCLUSIVE), -EBUSY);
	CHECK_EQ(try_mode("valer:1", NR_REG_ALL_NIC, 0), 0);
	nmport_close(shared);
	CHECK_EQ(try_mode("valer:1", NR_REG_ALL_NIC, NR_EXCLUSIVE), 0);
}

/* A ring each, all exclusive; none can be taken twice. */
TEST(exclusive_rings)
{
	struct nmport_d *hold = NULL, *d[3];
	struct nmreq_register reg;

	for (int i = 0; i < 3; i++) {
		d[i] = prepare("valer:1");
		d[i]->reg.nr_mode = NR_REG_ONE_NIC;
		d[i]->reg.nr_ringid = (uint16_t)i;
		d[i]->reg.nr_flags = NR_EXCLUSIVE;
		d[i]->reg.nr_tx_rings = d[i]->reg.nr_rx_rings = 3;
		CHECK_EQ(finish(d[i]), 0);
	}
	for (int i = 0; i < 3; i++) {
		reg = (struct nmreq_register){.nr_mode = NR_REG_ONE_NIC, .nr_ringid = (uint16_t)i};
		CHECK_EQ(try_register("valer:1", &reg), -EBUSY);
	}
	CHECK_EQ(try_mode("valer:1", NR_REG_ALL_NIC, 0), -EBUSY);
	nmport_close(d[1]);
	reg = (struct nmreq_register){.nr_mode = NR_REG_ONE_NIC, .nr_ringid = 1};
	CHECK_EQ(try_register("valer:1", &reg), 0);
	CHECK_EQ(try_mode("valer:1", NR_REG_ALL_NIC, 0), -EBUSY);
	nmport_close(d[0]);
	nmport_close(d[2]);
	hold = open_flags("valer:1", NR_EXCLUSIVE);
	nmport_close(hold);
}

/* Each file sends and receives on its own ring. */
TEST(files_on_different_rings)
{
	struct nmport_d *other = open_shape("valer:2", 3, 16, 16), *d[3];
	uint8_t frame[FRAME_LEN], got[FRAME_LEN];
	uint32_t slots;

	for (int i = 0; i < 3; i++) {
		d[i] = prepare("valer:1");
		d[i]->reg.nr_mode = NR_REG_ONE_NIC;
		d[i]->reg.nr_ringid = (uint16_t)i;
		d[i]->reg.nr_tx_rings = d[i]->reg.nr_rx_rings = 3;
		CHECK_EQ(finish(d[i]), 0);
	}
	for (uint32_t i = 0; i < 3; i++) {
		send_frame(d[i], 0, 1, 100 + i);
		make_frame(frame, sizeof(frame), 0, 1, 100 + i);
		CHECK_EQ(
			take_packet(other, rx_ring(other, i), got, sizeof(got), &slots), FRAME_LEN);
		CHECK_EQ(memcmp(frame, got, sizeof(got)), 0);
		make_frame(frame, sizeof(frame), 0, 2, 200 + i);
		CHECK(put_parts(tx_ring(other, i), frame, sizeof(frame), 0));
		CHECK_EQ(nmport_txsync(other), 0);
		take_frame(d[i], 0, 2, 200 + i);
	}
	for (int i = 0; i < 3; i++)
		nmport_close(d[i]);
	nmport_close(other);
}

/* ---- null ports ----------------------------------------------------------------------- */

TEST(null_port)
{
	struct nmport_d *d = prepare("null");

	d->reg.nr_mode = NR_REG_NULL;
	d->reg.nr_tx_rings = 2;
	d->reg.nr_rx_rings = 1;
	d->reg.nr_tx_slots = 16;
	d->reg.nr_rx_slots = 32;
	d->reg.nr_extra_bufs = 10;
	CHECK_EQ(finish(d), 0);
	CHECK(d->reg.nr_tx_rings == 2 && d->reg.nr_rx_rings == 1);
	CHECK_EQ(d->reg.nr_extra_bufs, 10);
	CHECK_EQ(tx_ring(d, 1)->num_slots, 16);
	CHECK_EQ(rx_ring(d, 0)->num_slots, 32);
	CHECK_EQ(nmport_txsync(d), 0);
	CHECK_EQ(nmport_rxsync(d), 0);
	CHECK_EQ(nm_ring_space(rx_ring(d, 0)), 0);
	nmport_close(d);
}

/* Memory without rings. */
TEST(null_port_of_buffers)
{
	struct nmport_d *d = prepare("");

	d->reg.nr_mode = NR_REG_NULL;
	d->reg.nr_extra_bufs = 5;
	CHECK_EQ(finish(d), 0);
	CHECK(d->reg.nr_tx_rings == 0 && d->reg.nr_rx_rings == 0);
	CHECK_EQ(d->reg.nr_extra_bufs, 5);
	CHECK(d->nifp->ni_bufs_head != 0);
	nmport_close(d);
}
