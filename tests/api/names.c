/* SPDX-License-Identifier: BSD-2-Clause */
/* Names as users write them, to the port that they give. */
#include "api.h"

TEST(name_forms)
{
	static const struct {
		const char *spec;
		uint32_t mode;
		uint64_t flags;
		uint16_t ringid;
		uint16_t tx, rx; /* rings of the registration */
	} forms[] = {
		{"valen:1", NR_REG_ALL_NIC, 0, 0, 4, 4},
		{"valen:1-0", NR_REG_ONE_NIC, 0, 0, 1, 1},
		{"valen:1-3", NR_REG_ONE_NIC, 0, 3, 1, 1},
		{"valen:1/x", NR_REG_ALL_NIC, NR_EXCLUSIVE, 0, 4, 4},
		{"valen:1/T", NR_REG_ALL_NIC, NR_TX_RINGS_ONLY, 0, 4, 0},
		{"valen:1/R", NR_REG_ALL_NIC, NR_RX_RINGS_ONLY, 0, 0, 4},
		{"valen:1-2/xR", NR_REG_ONE_NIC, NR_EXCLUSIVE | NR_RX_RINGS_ONLY, 2, 0, 1},
		{"valen:1/t", NR_REG_ALL_NIC, NR_MONITOR_TX, 0, 0, 4},
		{"valen:1/r", NR_REG_ALL_NIC, NR_MONITOR_RX, 0, 0, 4},
		{"valen:1/rt", NR_REG_ALL_NIC, NR_MONITOR_RX | NR_MONITOR_TX, 0, 0, 4},
		{"valen:1/z", NR_REG_ALL_NIC, NR_ZCOPY_MON, 0, 0,
			4}, /* the engine takes it for both */
		{"valen:1/zt", NR_REG_ALL_NIC, NR_MONITOR_TX | NR_ZCOPY_MON, 0, 0, 4},
		{"valen:1-1/t", NR_REG_ONE_NIC, NR_MONITOR_TX, 1, 0, 1},
	};
	const uint64_t monitor = NR_MONITOR_TX | NR_MONITOR_RX | NR_ZCOPY_MON;
	struct nmport_d *d;

	for (unsigned int i = 0; i < sizeof(forms) / sizeof(forms[0]); i++) {
		char spec[100];

		snprintf(spec, sizeof(spec), "%s@conf:rings=4,slots=16", forms[i].spec);
		d = nmport_prepare(spec);
		CHECK(d != NULL);
		CHECK_EQ(d->reg.nr_mode, forms[i].mode);
		CHECK_EQ(d->reg.nr_flags, forms[i].flags);
		CHECK_EQ(d->reg.nr_ringid, forms[i].ringid);
		if (nmport_open_desc(d) < 0)
			api_fail(__FILE__, __LINE__, "%s: %s", spec, api_last_error());
		/* A monitor's tx rings, if it has some, mean nothing. */
		if ((!(forms[i].flags & monitor) && tx_count(d) != forms[i].tx) ||
			rx_count(d) != forms[i].rx)
			api_fail(__FILE__, __LINE__, "%s: %u tx rings, %u rx rings", spec,
				tx_count(d), rx_count(d));
		nmport_close(d);
	}
}

TEST(name_conf)
{
	struct nmport_d *d =
		open_spec("valen:1@conf:tx-rings=2,rx-rings=3,tx-slots=32,rx-slots=48");

	CHECK(d->reg.nr_tx_rings == 2 && d->reg.nr_rx_rings == 3);
	CHECK(d->reg.nr_tx_slots == 32 && d->reg.nr_rx_slots == 48);
	nmport_close(d);
	d = open_spec("valen:1@conf:rings=2,slots=16");
	CHECK(d->reg.nr_tx_rings == 2 && d->reg.nr_rx_rings == 2);
	CHECK(d->reg.nr_tx_slots == 16 && d->reg.nr_rx_slots == 16);
	nmport_close(d);
}

TEST(name_region)
{
	struct nmport_d *d = open_spec("valen:1@77"), *m, *s;

	CHECK_EQ(d->reg.nr_mem_id, 77);
	m = open_spec("valen:2{p@77");
	s = open_spec("valen:2}p@77");
	CHECK(m->reg.nr_mem_id == 77 && s->reg.nr_mem_id == 77);
	nmport_close(m);
	nmport_close(s);
	nmport_close(d);
}

TEST(name_refusals)
{
	static const char *const specs[] = {"", "vale", "valen", "valen:", "netmap:", "eth0",
		"valen:1/q", "valen:1/xx/", "valen:1@65536", "valen:1@99999999999", "valen:1@-1",
		"valen:1@conf:slots=x", "valen:1@conf:bogus=1", "valen:1@conf:slots=4294967296",
		"valen:1@share=nosuchport", "valen:1@offset:initial=-1",
		"valen:1@extmem:file=", "valen:1@extmem:file=/nonexistent", "valen:1-4096-1/",
		"valen:1^", "valen:1*x", "valen:1@conf:slots=1", "valen:1@conf:slots=16385",
		"valen:1@conf:rings=65", "valen:1@conf:rings=65537", "valen:1-65536",
		"valen:1-1@conf:rings=1", "valen:1@offset:initial=70000", "valen:1@@1",
		"netmap:nosuchport"};

	for (unsigned int i = 0; i < sizeof(specs) / sizeof(specs[0]); i++) {
		struct nmport_d *d = nmport_open(specs[i]);

		if (d)
			api_fail(__FILE__, __LINE__, "'%s' is accepted", specs[i]);
		CHECK(api_last_error()[0] != '\0' && !strchr(api_last_error(), '\n'));
	}
}

TEST(name_of_memory)
{
	struct nmport_d *d = open_spec("valen:1@77");
	const char *name = "valen:1";

	CHECK_EQ(nmreq_get_mem_id(&name, nmctx_get()), 77);
	CHECK_EQ(*name, '\0');
	name = "netmap:nosuchport";
	CHECK_EQ(nmreq_get_mem_id(&name, nmctx_get()), -1);
	nmport_close(d);
}
