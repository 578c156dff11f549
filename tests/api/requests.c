/* SPDX-License-Identifier: BSD-2-Clause */
/* Requests as such: headers, options, and those that ask. */
#include "api.h"

#include <stdlib.h>

/* ---- headers -------------------------------------------------------------------------- */

static int info_with_version(unsigned int version, unsigned int *out)
{
	struct nmreq_port_info_get info = {0};
	struct nmreq_header hdr;
	int ret;

	nmreq_header_init(&hdr, NETMAP_REQ_PORT_INFO_GET, &info);
	hdr.nr_version = (uint16_t)version;
	strcpy(hdr.nr_name, "valev:1");
	ret = request_header(NULL, &hdr);
	*out = hdr.nr_version;
	return ret;
}

TEST(version)
{
	unsigned int out;

	CHECK_EQ(info_with_version(NETMAP_MIN_API - 1, &out), -EINVAL);
	CHECK_EQ(info_with_version(0, &out), -EINVAL);
	CHECK_EQ(info_with_version(UINT16_MAX, &out), -EINVAL);
	CHECK_EQ(info_with_version(NETMAP_MAX_API + 1, &out), -EINVAL);
	CHECK_EQ(info_with_version(14, &out), 0);
	CHECK_EQ(out, NETMAP_API);
	CHECK_EQ(info_with_version(15, &out), 0);
	CHECK_EQ(out, NETMAP_API);
}

TEST(reserved_field)
{
	struct nmreq_port_info_get info = {0};
	struct nmreq_header hdr;

	nmreq_header_init(&hdr, NETMAP_REQ_PORT_INFO_GET, &info);
	strcpy(hdr.nr_name, "valev:1");
	hdr.nr_reserved = 1;
	CHECK_EQ(request_header(NULL, &hdr), -EINVAL);
	hdr.nr_reserved = 0;
	CHECK_EQ(request_header(NULL, &hdr), 0);
}

TEST(unknown_requests)
{
	static const uint16_t types[] = {0, 16, 17, 255, 256, 32768, UINT16_MAX};

	for (unsigned int i = 0; i < sizeof(types) / sizeof(types[0]); i++)
		CHECK_EQ(request(types[i], "valev:1", NULL), -EOPNOTSUPP);
}

TEST(missing_body)
{
	static const uint16_t types[] = {NETMAP_REQ_REGISTER, NETMAP_REQ_PORT_INFO_GET,
		NETMAP_REQ_VALE_ATTACH, NETMAP_REQ_VALE_DETACH, NETMAP_REQ_VALE_LIST,
		NETMAP_REQ_PORT_HDR_SET, NETMAP_REQ_PORT_HDR_GET, NETMAP_REQ_VALE_NEWIF,
		NETMAP_REQ_VALE_POLLING_ENABLE, NETMAP_REQ_VALE_POLLING_DISABLE,
		NETMAP_REQ_POOLS_INFO_GET, NETMAP_REQ_SYNC_KLOOP_START};

	for (unsigned int i = 0; i < sizeof(types) / sizeof(types[0]); i++)
		CHECK_REFUSED(request(types[i], "valev:1", NULL));
}

TEST(name_without_end)
{
	struct nmreq_port_info_get info = {0};
	struct nmreq_header hdr;

	nmreq_header_init(&hdr, NETMAP_REQ_PORT_INFO_GET, &info);
	memset(hdr.nr_name, 'a', sizeof(hdr.nr_name));
	memcpy(hdr.nr_name, "valev:", 6);
	CHECK_EQ(request_header(NULL, &hdr), -EINVAL);
	hdr.nr_name[NETMAP_REQ_IFNAMSIZ - 1] = '\0';
	CHECK_EQ(request_header(NULL, &hdr), 0);
}

TEST(bad_names)
{
	static const char *const names[] = {"", "vale:", "vale1:", "vale 1:a", "vale-1:a",
		"vale1:a/b", "vale1:a b", "vale1:a:b", "vale1:a{", "vale1:a}", "vale1:a{b-c",
		"vale1:a{b{c", "vale1:a{b}c", "vale1:a{ ", "a/b", "no\tname", "\x80"};

	for (unsigned int i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		struct nmreq_register reg = {.nr_mode = NR_REG_ALL_NIC};

		if (try_register(names[i], &reg) >= 0)
			api_fail(__FILE__, __LINE__, "the name '%s' is accepted", names[i]);
	}
	CHECK_EQ(try_mode("nosuchport", NR_REG_ALL_NIC, 0), -ENXIO);
}

TEST(good_names)
{
	static const char *const names[] = {"vale:a", "vale_X9:a", "vale1:a.b-c_d",
		"vale1:01234567890123456789012345678901234567890123456789012345", "vale1:a{Z_9",
		"vale1:a}Z_9", "anything{1"};

	for (unsigned int i = 0; i < sizeof(names) / sizeof(names[0]); i++)
		CHECK_EQ(try_mode(names[i], NR_REG_ALL_NIC, 0), 0);
}

/* ---- options -------------------------------------------------------------------------- */

/* A registration with this list of options. */
static int register_with(struct nmreq_option *first)
{
	struct nmport_d *d = prepare("valeo:1");
	int ret;

	d->hdr.nr_options = (uintptr_t)first;
	ret = finish(d);
	d->hdr.nr_options = 0; /* they are not the library's */
	nmport_close(d);
	return ret;
}

TEST(option_unknown)
{
	static const uint32_t types[] = {0, NETMAP_REQ_OPT_MAX, 1000, UINT32_MAX};

	for (unsigned int i = 0; i < 4; i++) {
		struct nmreq_option opt = {.nro_reqtype = types[i]};

		CHECK_EQ(register_with(&opt), -EOPNOTSUPP);
		CHECK_EQ(opt.nro_status, EOPNOTSUPP);
	}
}

/* The status of each option tells which one it was. */
TEST(option_unknown_beside_known)
{
	for (int first = 0; first < 2; first++) {
		struct nmreq_opt_offsets ofs = {
			.nro_opt = {.nro_reqtype = NETMAP_REQ_OPT_OFFSETS, .nro_status = 77}};
		struct nmreq_option opt = {.nro_reqtype = 99};

		if (first)
			opt.nro_next = (uintptr_t)&ofs;
		else
			ofs.nro_opt.nro_next = (uintptr_t)&opt;
		CHECK_EQ(register_with(first ? &opt : &ofs.nro_opt), -EOPNOTSUPP);
		CHECK_EQ(opt.nro_status, EOPNOTSUPP);
	}
}

TEST(option_twice)
{
	struct nmreq_opt_offsets one = {.nro_opt = {.nro_reqtype = NETMAP_REQ_OPT_OFFSETS}};
	struct nmreq_opt_offsets two = one;

	one.nro_opt.nro_next = (uintptr_t)&two;
	CHECK_EQ(register_with(&one.nro_opt), -EINVAL);
	CHECK(one.nro_opt.nro_status == EINVAL || two.nro_opt.nro_status == EINVAL);
}

TEST(option_loop)
{
	struct nmreq_option opt = {.nro_reqtype = 50, .nro_next = (uintptr_t)&opt};
	struct nmreq_opt_offsets ofs = {
		.nro_opt = {.nro_reqtype = NETMAP_REQ_OPT_OFFSETS, .nro_next = (uintptr_t)&ofs}};

	CHECK_EQ(register_with(&opt), -EMSGSIZE);       /* what nobody knows has no end */
	CHECK_EQ(register_with(&ofs.nro_opt), -EINVAL); /* it stands twice */
}

/* The length of a list is looked at before the types. */
TEST(option_list_too_long)
{
	static const uint32_t last[] = {
		77, NETMAP_REQ_OPT_CSB, NETMAP_REQ_OPT_OFFSETS, NETMAP_REQ_OPT_SYNC_KLOOP_EVENTFDS};
	struct nmreq_option list[99];
	struct {
		struct nmreq_option opt;
		char rest[1000];
	} end;

	for (unsigned int k = 0; k < sizeof(last) / sizeof(last[0]); k++) {
		for (unsigned int i = 0; i < 99; i++)
			list[i] = (struct nmreq_option){.nro_reqtype = 1000 + i,
				.nro_next = (uintptr_t)(i + 1 < 99 ? &list[i + 1] : &end.opt)};
		memset(&end, 0, sizeof(end));
		end.opt.nro_reqtype = last[k];
		end.opt.nro_size = 1000;
		CHECK_EQ(register_with(list), -EMSGSIZE);
	}
}

TEST(option_of_another_request)
{
	struct nmreq_opt_offsets ofs = {.nro_opt = {.nro_reqtype = NETMAP_REQ_OPT_OFFSETS}};
	struct nmreq_opt_sync_kloop_mode mode = {
		.nro_opt = {.nro_reqtype = NETMAP_REQ_OPT_SYNC_KLOOP_MODE}};
	struct nmreq_port_info_get info = {0};
	struct nmreq_header hdr;

	nmreq_header_init(&hdr, NETMAP_REQ_PORT_INFO_GET, &info);
	strcpy(hdr.nr_name, "valeo:1");
	hdr.nr_options = (uintptr_t)&ofs;
	CHECK_EQ(request_header(NULL, &hdr), -EOPNOTSUPP);
	CHECK_EQ(ofs.nro_opt.nro_status, EOPNOTSUPP);
	CHECK_EQ(register_with(&mode.nro_opt), -EOPNOTSUPP);
	CHECK_EQ(mode.nro_opt.nro_status, EOPNOTSUPP);
}

TEST(option_oversize)
{
	struct {
		struct nmreq_opt_sync_kloop_eventfds fds;
		char rest[NETMAP_REQ_MAXSIZE];
	} *big = calloc(1, sizeof(*big));
	struct nmreq_sync_kloop_start start = {0};
	struct nmreq_header hdr;

	CHECK(big != NULL);
	big->fds.nro_opt.nro_reqtype = NETMAP_REQ_OPT_SYNC_KLOOP_EVENTFDS;
	nmreq_header_init(&hdr, NETMAP_REQ_SYNC_KLOOP_START, &start);
	hdr.nr_options = (uintptr_t)big;
	big->fds.nro_opt.nro_size = NETMAP_REQ_MAXSIZE;
	CHECK_REFUSED(request_header(NULL, &hdr));
	big->fds.nro_opt.nro_size = UINT64_MAX;
	CHECK_REFUSED(request_header(NULL, &hdr));
	big->fds.nro_opt.nro_size = UINT64_MAX - 4000;
	CHECK_REFUSED(request_header(NULL, &hdr));
	free(big);
}

/* ---- PORT_INFO_GET -------------------------------------------------------------------- */

TEST(port_info)
{
	struct nmport_d *d = prepare("valei:1"), *own = nmport_new();
	struct nmreq_port_info_get info;
	char name[] = "valei:1";

	d->reg.nr_tx_rings = 2;
	d->reg.nr_rx_rings = 3;
	d->reg.nr_tx_slots = 64;
	d->reg.nr_rx_slots = 100;
	CHECK_EQ(finish(d), 0);
	for (int named = 0; named < 2; named++) {
		/* A file that is bound asks about its own port without a name. */
		memset(&info, 0xee, sizeof(info));
		CHECK_EQ(request_on(named ? own : d, NETMAP_REQ_PORT_INFO_GET, named ? name : "",
				 &info),
			0);
		CHECK_EQ(info.nr_memsize, d->reg.nr_memsize);
		CHECK_EQ(info.nr_tx_slots, 64);
		CHECK_EQ(info.nr_rx_slots, 100);
		CHECK_EQ(info.nr_tx_rings, 2);
		CHECK_EQ(info.nr_rx_rings, 3);
		CHECK_EQ(info.nr_host_tx_rings, d->reg.nr_host_tx_rings);
		CHECK_EQ(info.nr_host_rx_rings, d->reg.nr_host_rx_rings);
		CHECK_EQ(info.nr_mem_id, d->reg.nr_mem_id);
	}
	/* The file that asked is not bound: it can be. */
	strcpy(own->hdr.nr_name, "valei:2");
	own->reg.nr_mode = NR_REG_ALL_NIC;
	CHECK_EQ(finish(own), 0);
	nmport_close(own);
	nmport_close(d);
}

TEST(port_info_makes_nothing)
{
	struct nmreq_port_info_get info = {0};
	struct nmreq_vale_list list = {0};

	CHECK_EQ(request(NETMAP_REQ_PORT_INFO_GET, "valei:tmp", &info), 0);
	CHECK(info.nr_tx_rings == 1 && info.nr_rx_rings == 1);
	CHECK(info.nr_tx_slots > 0 && info.nr_memsize > 0);
	CHECK_EQ(request(NETMAP_REQ_VALE_LIST, "valei:tmp", &list), -ENOENT);
	CHECK_EQ(request(NETMAP_REQ_PORT_INFO_GET, "nosuchport", &info), -ENXIO);
}

/* Without a name: a region, the shared one by default. Programs learn the version in this way. */
TEST(port_info_of_a_region)
{
	struct nmport_d *d = open_flags("valei:1", 0);
	struct nmreq_port_info_get info = {0};
	uint16_t ids[] = {0, 1, d->reg.nr_mem_id};

	for (int i = 0; i < 3; i++) {
		info = (struct nmreq_port_info_get){.nr_mem_id = ids[i], .nr_tx_rings = 9};
		CHECK_EQ(request(NETMAP_REQ_PORT_INFO_GET, "", &info), 0);
		CHECK(info.nr_memsize > 0 && info.nr_mem_id == (ids[i] ? ids[i] : 1));
		CHECK(info.nr_tx_rings == 0 && info.nr_rx_rings == 0 && info.nr_tx_slots == 0);
	}
	CHECK_EQ(info.nr_memsize, d->reg.nr_memsize);
	info = (struct nmreq_port_info_get){.nr_mem_id = 60000};
	CHECK_EQ(request(NETMAP_REQ_PORT_INFO_GET, "", &info), -ENOENT);
	nmport_close(d);
}

/* A port that is made for the question is the one that REGISTER would make. */
TEST(port_info_with_a_shape)
{
	struct nmreq_port_info_get info = {
		.nr_tx_slots = 512, .nr_rx_slots = 128, .nr_tx_rings = 2, .nr_rx_rings = 3};

	CHECK_EQ(request(NETMAP_REQ_PORT_INFO_GET, "valei:shape", &info), 0);
	CHECK(info.nr_tx_slots == 512 && info.nr_rx_slots == 128);
	CHECK(info.nr_tx_rings == 2 && info.nr_rx_rings == 3);
	memset(&info, 0xee, sizeof(info)); /* of a program that wants nothing but the answer */
	CHECK_EQ(request(NETMAP_REQ_PORT_INFO_GET, "valei:shape", &info), 0);
	CHECK(info.nr_tx_rings == 1 && info.nr_rx_rings == 1);
}

/* An option that leads to itself is there twice. */
TEST(option_in_a_loop)
{
	struct nmport_d *d = prepare("valei:1");
	struct nmreq_opt_offsets opt = {.nro_opt.nro_reqtype = NETMAP_REQ_OPT_OFFSETS};

	opt.nro_opt.nro_next = (uintptr_t)&opt;
	d->hdr.nr_options = (uintptr_t)&opt;
	CHECK_EQ(finish(d), -EINVAL);
	d->hdr.nr_options = 0;
	nmport_close(d);
}

/* ---- VALE_LIST ------------------------------------------------------------------------ */

TEST(vale_list)
{
	static const char *const names[] = {"valel1:a", "valel1:b", "valel2:c"};
	struct nmreq_vale_list at[3] = {0}, list = {0};
	struct nmport_d *d[3];
	struct nmreq_header hdr;
	unsigned int seen = 0;

	for (int i = 0; i < 3; i++)
		d[i] = open_flags(names[i], 0);
	for (int i = 0; i < 3; i++)
		CHECK_EQ(request(NETMAP_REQ_VALE_LIST, names[i], &at[i]), 0);
	CHECK_EQ(at[0].nr_bridge_idx, at[1].nr_bridge_idx);
	CHECK(at[0].nr_port_idx != at[1].nr_port_idx);
	CHECK(at[0].nr_bridge_idx != at[2].nr_bridge_idx);
	for (;;) {
		nmreq_header_init(&hdr, NETMAP_REQ_VALE_LIST, &list);
		if (request_header(NULL, &hdr) != 0)
			break;
		for (unsigned int i = 0; i < 3; i++)
			if (strcmp(hdr.nr_name, names[i]) == 0) {
				CHECK_EQ(list.nr_bridge_idx, at[i].nr_bridge_idx);
				CHECK_EQ(list.nr_port_idx, at[i].nr_port_idx);
				CHECK(!(seen & 1u << i));
				seen |= 1u << i;
			}
		list.nr_port_idx++;
	}
	CHECK_EQ(seen, 7);
	list.nr_bridge_idx = UINT16_MAX;
	list.nr_port_idx = UINT32_MAX;
	CHECK_EQ(request(NETMAP_REQ_VALE_LIST, "", &list), -ENOENT);
	CHECK_EQ(request(NETMAP_REQ_VALE_LIST, "valel1:z", &list), -ENOENT);
	for (int i = 0; i < 3; i++)
		nmport_close(d[i]);
	CHECK_EQ(request(NETMAP_REQ_VALE_LIST, "valel1:a", &list), -ENOENT);
}

/* ---- virtio-net header ---------------------------------------------------------------- */

static int set_hdr(struct nmport_d *d, const char *name, uint32_t len)
{
	struct nmreq_port_hdr body = {.nr_hdr_len = len};

	return request_on(d, NETMAP_REQ_PORT_HDR_SET, name, &body);
}

static uint32_t get_hdr(const char *name)
{
	struct nmreq_port_hdr body = {.nr_hdr_len = 99};

	CHECK_EQ(request(NETMAP_REQ_PORT_HDR_GET, name, &body), 0);
	return body.nr_hdr_len;
}

TEST(port_hdr)
{
	static const uint32_t bad[] = {1, 9, 11, 13, 65535, UINT32_MAX};
	struct nmport_d *d = open_flags("valeh:1", NR_ACCEPT_VNET_HDR), *other;
	struct nmreq_port_hdr body = {0};

	CHECK_EQ(get_hdr("valeh:1"), 0);
	for (unsigned int i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		CHECK_EQ(set_hdr(d, "valeh:1", bad[i]), -EINVAL);
	CHECK_EQ(set_hdr(d, "valeh:1", 10), 0);
	CHECK_EQ(get_hdr("valeh:1"), 10);
	CHECK_EQ(set_hdr(d, "valeh:1", 12), 0);
	CHECK_EQ(get_hdr("valeh:1"), 12);
	/* Who did not say that it understands the header does not get the port. */
	nmport_close(d);
	d = open_flags("valeh:1", NR_ACCEPT_VNET_HDR | NR_TX_RINGS_ONLY);
	CHECK_EQ(set_hdr(d, "valeh:1", 12), 0);
	CHECK_REFUSED(try_mode("valeh:1", NR_REG_ALL_NIC, NR_RX_RINGS_ONLY));
	other = open_flags("valeh:1", NR_ACCEPT_VNET_HDR | NR_RX_RINGS_ONLY);
	CHECK_EQ(set_hdr(d, "valeh:1", 0), -EBUSY);
	CHECK_EQ(set_hdr(NULL, "valeh:1", 10), -EBUSY);
	nmport_close(other);
	CHECK_EQ(set_hdr(d, "valeh:1", 0), 0);
	CHECK_EQ(try_mode("valeh:1", NR_REG_ALL_NIC, NR_RX_RINGS_ONLY), 0);
	CHECK_EQ(set_hdr(NULL, "nosuchport", 12), -ENXIO);
	CHECK_EQ(request(NETMAP_REQ_PORT_HDR_GET, "nosuchport", &body), -ENXIO);
	nmport_close(d);
}

/* ---- POOLS_INFO_GET ------------------------------------------------------------------- */

static void check_pools(const struct nmreq_pools_info *p)
{
	uint64_t ends[3] = {
		p->nr_if_pool_offset + (uint64_t)p->nr_if_pool_objtotal * p->nr_if_pool_objsize,
		p->nr_ring_pool_offset +
			(uint64_t)p->nr_ring_pool_objtotal * p->nr_ring_pool_objsize,
		p->nr_buf_pool_offset + (uint64_t)p->nr_buf_pool_objtotal * p->nr_buf_pool_objsize};

	CHECK(p->nr_if_pool_objtotal && p->nr_ring_pool_objtotal && p->nr_buf_pool_objtotal > 2);
	CHECK(ends[0] <= p->nr_ring_pool_offset && ends[1] <= p->nr_buf_pool_offset);
	CHECK(ends[2] <= p->nr_memsize);
}

TEST(pools_info)
{
	struct nmport_d *d = open_flags("valeq:1", 0);
	struct nmreq_pools_info by_name = {0}, by_id = {0}, own = {0};
	struct netmap_ring *ring = tx_ring(d, 0);

	CHECK_EQ(request(NETMAP_REQ_POOLS_INFO_GET, "valeq:1", &by_name), 0);
	by_id.nr_mem_id = d->reg.nr_mem_id;
	CHECK_EQ(request(NETMAP_REQ_POOLS_INFO_GET, "", &by_id), 0);
	CHECK_EQ(request_on(d, NETMAP_REQ_POOLS_INFO_GET, "", &own), 0);
	check_pools(&by_name);
	CHECK_EQ(by_name.nr_mem_id, d->reg.nr_mem_id);
	CHECK_EQ(by_name.nr_memsize, d->reg.nr_memsize);
	CHECK_EQ(memcmp(&by_name, &by_id, sizeof(own)), 0);
	CHECK_EQ(memcmp(&by_name, &own, sizeof(own)), 0);
	CHECK_EQ(by_name.nr_buf_pool_objsize, ring->nr_buf_size);
	CHECK_EQ((char *)d->mem->mem + by_name.nr_buf_pool_offset - (char *)ring, ring->buf_ofs);
	nmport_close(d);
	memset(&by_id, 0, sizeof(by_id));
	by_id.nr_mem_id = UINT16_MAX;
	CHECK_EQ(request(NETMAP_REQ_POOLS_INFO_GET, "", &by_id), -ENOENT);
	CHECK_EQ(request(NETMAP_REQ_POOLS_INFO_GET, "nosuchport", &by_id), -ENXIO);
}
