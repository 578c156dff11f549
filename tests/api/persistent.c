/* SPDX-License-Identifier: BSD-2-Clause */
/* Persistent ports: made, put on switches, opened there, taken off, removed. */
#include "api.h"

#include <net/if.h>

static int newif(const char *name, const struct nmreq_vale_newif *want)
{
	struct nmreq_vale_newif body = *want;
	int ret = request(NETMAP_REQ_VALE_NEWIF, name, &body);

	if (ret == -EPERM || ret == -EACCES || ret == -EOPNOTSUPP || ret == -ENOENT ||
		ret == -ENODEV)
		api_skip("persistent ports can't be made here: %s", api_last_error());
	return ret;
}

static int attach(const char *name, uint32_t mode)
{
	struct nmreq_vale_attach body = {.reg.nr_mode = mode};

	return request(NETMAP_REQ_VALE_ATTACH, name, &body);
}

static int detach(const char *name)
{
	struct nmreq_vale_detach body = {0};

	return request(NETMAP_REQ_VALE_DETACH, name, &body);
}

static int detach_when_free(const char *name)
{
	struct nmreq_vale_detach body = {0};

	return request_when_free(NETMAP_REQ_VALE_DETACH, name, &body);
}

TEST(persistent_port)
{
	struct nmreq_vale_newif want = {.nr_tx_slots = 128, .nr_rx_slots = 64};
	struct nmreq_vale_list list = {0};
	struct nmport_d *d;
	int pid = part_begin();

	if (pid == 0) {
		CHECK_EQ(newif("nmapi0", &want), 0);
		part_end();
	}
	part_join(pid);
	if (!if_nametoindex("nmapi0"))
		api_skip("persistent ports can't be made here");
	/* It outlives the process that made it. */
	CHECK_EQ(newif("nmapi0", &want), -EEXIST);
	d = open_flags("nmapi0", NR_ACCEPT_VNET_HDR);
	CHECK(d->reg.nr_tx_slots == 128 && d->reg.nr_rx_slots == 64);
	CHECK_EQ(request(NETMAP_REQ_VALE_DELIF, "nmapi0", NULL), -EBUSY);
	nmport_close(d);
	/* On a switch and off it. */
	CHECK_EQ(attach("valew:nmapi0", NR_REG_ALL_NIC), 0);
	CHECK_EQ(attach("valew:nmapi0", NR_REG_ALL_NIC), -EBUSY);
	CHECK_EQ(request(NETMAP_REQ_VALE_LIST, "valew:nmapi0", &list), 0);
	CHECK_EQ(request(NETMAP_REQ_VALE_DELIF, "nmapi0", NULL), -EBUSY);
	CHECK_EQ(detach("valew:nmapi0"), 0);
	CHECK_EQ(request(NETMAP_REQ_VALE_LIST, "valew:nmapi0", &list), -ENOENT);
	CHECK_REFUSED(detach("valew:nmapi0"));
	CHECK_EQ(request(NETMAP_REQ_VALE_DELIF, "nmapi0", NULL), 0);
	CHECK_REFUSED(request(NETMAP_REQ_VALE_DELIF, "nmapi0", NULL));
	CHECK_EQ(if_nametoindex("nmapi0"), 0);
}

TEST(persistent_port_limits)
{
	static const struct nmreq_vale_newif bad[] = {{.nr_tx_rings = 65}, {.nr_rx_rings = 65},
		{.nr_tx_rings = UINT16_MAX}, {.nr_tx_slots = 1}, {.nr_rx_slots = 16385},
		{.nr_tx_slots = UINT32_MAX}};

	for (unsigned int i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		CHECK_REFUSED(newif("nmapi1", &bad[i]));
		CHECK_EQ(if_nametoindex("nmapi1"), 0);
	}
	CHECK_REFUSED(request(NETMAP_REQ_VALE_NEWIF, "a-name-of-more-than-15-bytes",
		&(struct nmreq_vale_newif){0}));
	CHECK_REFUSED(request(NETMAP_REQ_VALE_NEWIF, "valew:1", &(struct nmreq_vale_newif){0}));
	CHECK_REFUSED(request(NETMAP_REQ_VALE_NEWIF, "lo", &(struct nmreq_vale_newif){0}));
	CHECK_REFUSED(request(NETMAP_REQ_VALE_DELIF, "lo", NULL));
	CHECK_REFUSED(request(NETMAP_REQ_VALE_DELIF, "nosuchport", NULL));
}

TEST(attach_refusals)
{
	struct nmport_d *d = open_flags("valew:1", 0);

	CHECK_EQ(attach("valew:nosuchport", NR_REG_ALL_NIC), -ENXIO);
	CHECK_REFUSED(attach("nosuchport", NR_REG_ALL_NIC));
	CHECK_REFUSED(attach("valew:", NR_REG_ALL_NIC));
	CHECK_REFUSED(attach("valew:1", NR_REG_ALL_NIC));
	CHECK_REFUSED(detach("valew:nosuchport"));
	CHECK_REFUSED(detach("valew:1")); /* a port of an application */
	CHECK_REFUSED(detach("valenosuch:1"));
	nmport_close(d);
}

TEST(polling_refusals)
{
	struct nmreq_vale_polling body = {.nr_mode = 1, .nr_num_polling_cpus = 1};

	CHECK_REFUSED(request(NETMAP_REQ_VALE_POLLING_ENABLE, "valew:nosuchport", &body));
	CHECK_REFUSED(request(NETMAP_REQ_VALE_POLLING_DISABLE, "valew:nosuchport", &body));
}

TEST(polling)
{
	struct nmreq_vale_polling body = {.nr_mode = 1, .nr_num_polling_cpus = 1}, bad = body;

	CHECK_EQ(newif("nmapi2", &(struct nmreq_vale_newif){0}), 0);
	CHECK_EQ(attach("valew:nmapi2", NR_REG_ALL_NIC), 0);
	bad.nr_mode = 3;
	CHECK_EQ(request(NETMAP_REQ_VALE_POLLING_ENABLE, "valew:nmapi2", &bad), -EINVAL);
	bad = body;
	bad.nr_first_cpu_id = 1000000;
	CHECK_EQ(request(NETMAP_REQ_VALE_POLLING_ENABLE, "valew:nmapi2", &bad), -EINVAL);
	CHECK_EQ(request(NETMAP_REQ_VALE_POLLING_ENABLE, "valew:nmapi2", &body), 0);
	CHECK_REFUSED(request(NETMAP_REQ_VALE_POLLING_ENABLE, "valew:nmapi2", &body));
	CHECK_EQ(request(NETMAP_REQ_VALE_POLLING_DISABLE, "valew:nmapi2", &body), 0);
	CHECK_REFUSED(request(NETMAP_REQ_VALE_POLLING_DISABLE, "valew:nmapi2", &body));
	CHECK_EQ(request(NETMAP_REQ_VALE_POLLING_ENABLE, "valew:nmapi2", &body), 0);
	/* Detaching ends it. */
	CHECK_EQ(detach("valew:nmapi2"), 0);
	CHECK_EQ(request(NETMAP_REQ_VALE_DELIF, "nmapi2", NULL), 0);
}

/* ---- the place on a switch ------------------------------------------------------------ */

static const uint64_t header = NR_ACCEPT_VNET_HDR;

static void make(const char *name, const char *where)
{
	CHECK_EQ(newif(name, &(struct nmreq_vale_newif){0}), 0);
	CHECK_EQ(attach(where, NR_REG_ALL_NIC), 0);
}

/* Whoever has closed it may not have ended yet (request_when_free()). */
static struct nmport_d *open_when_free(const char *spec)
{
	uint64_t limit = now_ms() + WAIT_MS;
	struct nmport_d *d;

	while (!(d = nmport_open(spec)) && errno == EBUSY && now_ms() < limit)
		sleep_ms(1);
	CHECK(d != NULL);
	return d;
}

/* Both ways, with nothing left over. */
static void talk(struct nmport_d *a, struct nmport_d *b, uint32_t from)
{
	for (uint32_t i = from; i < from + 20; i++) {
		send_frame(a, 0, 1, i);
		take_frame(b, 0, 1, i);
		send_frame(b, 0, 2, i);
		take_frame(a, 0, 2, i);
	}
}

TEST(persistent_port_by_its_name_on_the_switch)
{
	static const char *const names[] = {"valew:nmapi3", "valew:nmapi3/x", "netmap:nmapi3",
		"valew:nmapi3-0", "valew:nmapi3"};
	struct nmport_d *other, *place;

	make("nmapi3", "valew:nmapi3");
	other = open_flags("valew:1", header);
	for (unsigned int i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		place = open_when_free(names[i]);
		talk(place, other, i * 100);
		CHECK_EQ(try_mode("valew:nmapi3", NR_REG_ALL_NIC, NR_EXCLUSIVE | header), -EBUSY);
		CHECK_EQ(try_mode("nmapi3", NR_REG_ALL_NIC, header), i == 1 ? -EBUSY : 0);
		CHECK_EQ(detach("valew:nmapi3"), -EBUSY);
		CHECK_EQ(request(NETMAP_REQ_VALE_DELIF, "nmapi3", NULL), -EBUSY);
		nmport_close(place);
	}
	CHECK_EQ(detach_when_free("valew:nmapi3"), 0);
	CHECK_EQ(request(NETMAP_REQ_VALE_DELIF, "nmapi3", NULL), 0);
	nmport_close(other);
}

TEST(persistent_port_with_a_header_of_its_own)
{
	struct nmreq_port_hdr hdr = {.nr_hdr_len = 12};
	uint8_t got[200];
	struct nmport_d *other, *place;
	uint32_t slots;

	make("nmapi7", "valew:nmapi7");
	other = open_flags("valew:1", header);
	CHECK_EQ(request(NETMAP_REQ_PORT_HDR_SET, "valew:nmapi7", &hdr), -EBUSY);
	place = open_flags("valew:nmapi7", header);
	CHECK_EQ(request_on(place, NETMAP_REQ_PORT_HDR_SET, "valew:nmapi7", &hdr), 0);
	send_frame(other, 0, 2, 1);
	CHECK(wait_slots(place, rx_ring(place, 0), 1));
	CHECK_EQ(take_packet(place, rx_ring(place, 0), got, sizeof(got), &slots), FRAME_LEN + 12);
	nmport_close(place);
	CHECK_EQ(detach_when_free("valew:nmapi7"), 0);
	CHECK_EQ(request(NETMAP_REQ_VALE_DELIF, "nmapi7", NULL), 0);
	nmport_close(other);
}

TEST(persistent_port_with_extra_buffers)
{
	struct nmport_d *other, *place;
	uint32_t bufs = 0;

	make("nmapi4", "valew:nmapi4");
	other = open_flags("valew:1", header);
	place = prepare("valew:nmapi4");
	place->reg.nr_extra_bufs = 16;
	CHECK_EQ(finish(place), 0);
	CHECK_EQ(place->reg.nr_extra_bufs, 16);
	for (uint32_t at = place->nifp->ni_bufs_head; at; bufs++)
		memcpy(&at, NETMAP_BUF(tx_ring(place, 0), at), sizeof(at));
	CHECK_EQ(bufs, 16);
	/* One of them in place of a slot's. */
	for (uint32_t i = 0; i < 40; i++) {
		struct netmap_ring *ring = tx_ring(place, 0);
		struct netmap_slot *slot = &ring->slot[ring->head];
		uint32_t mine = place->nifp->ni_bufs_head, next;

		memcpy(&next, NETMAP_BUF(ring, mine), sizeof(next));
		memcpy(NETMAP_BUF(ring, slot->buf_idx), &next, sizeof(next));
		place->nifp->ni_bufs_head = slot->buf_idx;
		slot->buf_idx = mine;
		slot->flags |= NS_BUF_CHANGED;
		send_frame(place, 0, 1, i);
		take_frame(other, 0, 1, i);
	}
	nmport_close(place);
	CHECK_EQ(detach_when_free("valew:nmapi4"), 0);
	CHECK_EQ(request(NETMAP_REQ_VALE_DELIF, "nmapi4", NULL), 0);
	nmport_close(other);
}

static void watch_place(const char *name, const char *port, const char *other_name)
{
	struct nmport_d *other = open_flags(other_name, header), *place = open_spec(port);
	struct nmport_d *rx = open_flags(name, NR_MONITOR_RX | header);
	struct nmport_d *tx = open_flags(name, NR_MONITOR_TX | header);
	struct nmport_d *zero =
		open_flags(name, NR_MONITOR_RX | NR_MONITOR_TX | NR_ZCOPY_MON | header);

	for (uint32_t i = 0; i < 20; i++) {
		send_frame(other, 0, 2, i);
		take_frame(rx, 0, 2, i); /* before its owner looks */
		take_frame(place, 0, 2, i);
		CHECK_EQ(nmport_rxsync(place), 0);
		take_frame(zero, 0, 2, i);
		send_frame(place, 0, 1, i);
		take_frame(tx, 0, 1, i);
		take_frame(other, 0, 1, i);
		take_frame(zero, 0, 1, i);
	}
	expect_empty(rx);
	expect_empty(tx);
	expect_empty(zero);
	nmport_close(zero);
	nmport_close(tx);
	nmport_close(rx);
	nmport_close(place);
	nmport_close(other);
}

TEST(persistent_port_watched)
{
	make("nmapi5", "valew:nmapi5");
	watch_place("valew:nmapi5", "valew:nmapi5", "valew:1");
	watch_place("nmapi5", "valew:nmapi5", "valew:1");
	watch_place("valew:nmapi5", "netmap:nmapi5", "valew:1");
	CHECK_EQ(detach_when_free("valew:nmapi5"), 0);
	CHECK_EQ(request(NETMAP_REQ_VALE_DELIF, "nmapi5", NULL), 0);
}

TEST(persistent_port_on_two_switches)
{
	struct nmport_d *a, *b;

	for (int first = 0; first < 2; first++) {
		make("nmapi6", "valew:nmapi6");
		CHECK_EQ(attach("valew:nmapi6", NR_REG_ALL_NIC), -EBUSY);
		CHECK_EQ(attach("valewB:nmapi6", NR_REG_ALL_NIC), 0);
		CHECK_EQ(attach("valewC:nmapi6", NR_REG_ALL_NIC), -EBUSY);
		a = open_flags("valew:1", header);
		b = open_flags("valewB:1", header);
		talk(a, b, 0);
		CHECK_EQ(try_mode("valew:nmapi6", NR_REG_ALL_NIC, header), -EBUSY);
		CHECK_EQ(try_mode("valewB:nmapi6", NR_REG_ALL_NIC, header), -EBUSY);
		CHECK_EQ(request(NETMAP_REQ_VALE_DELIF, "nmapi6", NULL), -EBUSY);
		CHECK_EQ(detach_when_free(first ? "valew:nmapi6" : "valewB:nmapi6"), 0);
		send_frame(a, 0, 1, 900);
		expect_empty(b);
		CHECK_EQ(request(NETMAP_REQ_VALE_DELIF, "nmapi6", NULL), -EBUSY);
		/* On the switch that is left it can be opened again. */
		CHECK_EQ(try_mode(first ? "valewB:nmapi6" : "valew:nmapi6", NR_REG_ALL_NIC, header),
			0);
		CHECK_EQ(detach_when_free(first ? "valewB:nmapi6" : "valew:nmapi6"), 0);
		CHECK_EQ(request(NETMAP_REQ_VALE_DELIF, "nmapi6", NULL), 0);
		nmport_close(a);
		nmport_close(b);
	}
}
