/* SPDX-License-Identifier: BSD-2-Clause */
/* Names of ports, as nmport_parse(), the decoders and the older nm_parse() take them. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#define NETMAP_WITH_LIBS
#include <errno.h>
#include <string.h>
#include <libnetmap.h>

#include "portspec.h"

static char last_error[512];

static void on_error(struct nmctx *ctx, const char *text)
{
	(void)ctx;
	snprintf(last_error, sizeof(last_error), "%s", text);
}

static bool only_br_1(void *arg, const char *name)
{
	(void)arg;
	return strcmp(name, "br-1") == 0;
}

static const struct nm_portspec_env env = {.exists = only_br_1};

struct good {
	const char *text, *name;
	uint32_t mode;
	uint16_t ring;
	uint64_t flags;
	uint16_t mem;
	int older; /* nm_parse() knows it, too */
};

static const struct good good[] = {
	{"netmap:ens4", "ens4", NR_REG_ALL_NIC, 0, 0, 0, 1},
	{"vale1:10", "vale1:10", NR_REG_ALL_NIC, 0, 0, 0, 1},
	{"vale:a_B.c-d", "vale:a_B.c-d", NR_REG_ALL_NIC, 0, 0, 0, 1},
	{"netmap:br-lan", "br-lan", NR_REG_ALL_NIC, 0, 0, 0, 1},
	{"netmap:br-lan-3", "br-lan", NR_REG_ONE_NIC, 3, 0, 0, 1},
	{"netmap:br-2", "br", NR_REG_ONE_NIC, 2, 0, 0, 1},
	{"netmap:br-1", "br-1", NR_REG_ALL_NIC, 0, 0, 0, 0},
	{"netmap:br-1-1", "br-1", NR_REG_ONE_NIC, 1, 0, 0, 1},
	{"netmap:e-1x", "e-1x", NR_REG_ALL_NIC, 0, 0, 0, 1},
	{"netmap:e^", "e", NR_REG_SW, 0, 0, 0, 1},
	{"netmap:e^2", "e", NR_REG_ONE_SW, 2, 0, 0, 1},
	{"netmap:e*", "e", NR_REG_NIC_SW, 0, 0, 0, 1},
	{"netmap:e{1", "e{1", NR_REG_ALL_NIC, 0, 0, 0, 1},
	{"vale0:a}b_c-0", "vale0:a}b_c", NR_REG_ONE_NIC, 0, 0, 0, 1},
	{"netmap:e-1/x@7", "e", NR_REG_ONE_NIC, 1, NR_EXCLUSIVE, 7, 1},
	{"netmap:e/z", "e", NR_REG_ALL_NIC, 0, NR_ZCOPY_MON, 0, 1},
	{"netmap:e/zt", "e", NR_REG_ALL_NIC, 0, NR_ZCOPY_MON | NR_MONITOR_TX, 0, 1},
	{"netmap:e/tr", "e", NR_REG_ALL_NIC, 0, NR_MONITOR_TX | NR_MONITOR_RX, 0, 1},
	{"netmap:e/T", "e", NR_REG_ALL_NIC, 0, NR_TX_RINGS_ONLY, 0, 1},
	{"netmap:e@2/R", "e", NR_REG_ALL_NIC, 0, NR_RX_RINGS_ONLY, 2, 1},
	{"netmap:e-3@2/xR@2", "e", NR_REG_ONE_NIC, 3, NR_EXCLUSIVE | NR_RX_RINGS_ONLY, 2, 1},
	{"vale0:a^@9", "vale0:a", NR_REG_SW, 0, 0, 9, 1},
	{"netmap:e/xR@65535", "e", NR_REG_ALL_NIC, 0, NR_EXCLUSIVE | NR_RX_RINGS_ONLY, 65535, 1},
};

static void test_good(void **state)
{
	struct nm_portspec s;
	struct nm_error err;

	(void)state;
	for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
		const struct good *g = &good[i];

		if (nm_portspec_parse(g->text, &env, &s, &err))
			fail_msg("%s", err.text);
		assert_string_equal(s.name, g->name);
		assert_int_equal(s.reg.nr_mode, g->mode);
		assert_int_equal(s.reg.nr_ringid, g->ring);
		assert_int_equal(s.reg.nr_flags, g->flags);
		assert_int_equal(s.reg.nr_mem_id, g->mem);
	}
}

static void test_older(void **state)
{
	char err[MAXERRMSG];
	struct nm_desc d;

	(void)state;
	for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
		const struct good *g = &good[i];

		if (!g->older)
			continue;
		memset(&d, 0, sizeof(d));
		if (nm_parse(g->text, &d, err))
			fail_msg("%s", err);
		assert_string_equal(d.port, g->name);
		assert_int_equal(d.req.nr_flags & NR_REG_MASK, g->mode);
		assert_int_equal(d.req.nr_flags & ~NR_REG_MASK, g->flags);
		assert_int_equal(d.req.nr_ringid, g->ring);
		assert_int_equal(d.req.nr_arg2, g->mem);
	}
}

/* What is wrong, and what the message must say about it. */
static const char *const bad[][2] = {
	{"", "begins with netmap: or vale"},
	{"ens4", "begins with netmap: or vale"},
	{"netmap", "begins with netmap: or vale"},
	{"netmap:", "1 to 63 bytes"},
	{"netmap:a b", "printable"},
	{"vale1", "valeID:PORT"},
	{"vale-x:1", "valeID:PORT"},
	{"vale1:", "PORT"},
	{"netmap:e{", "pipe id"},
	{"netmap:e{a}b", "pipe id"},
	{"netmap:e-65536", "65536 is too large, at most 65535"},
	{"netmap:e-99999999999999999999999", "too large"},
	{"netmap:e^x", "unknown suffix 'x'"},
	{"netmap:e*1", "unknown suffix '1'"},
	{"netmap:e/", "no flag"},
	{"netmap:e/q", "unknown flag 'q'"},
	{"netmap:e/TR", "exclude each other"},
	{"netmap:e@", "unknown option"},
	{"netmap:e@0", "at least 1"},
	{"netmap:e@65536", "65536 is too large"},
	{"netmap:e@18446744073709551617", "too large"},
	{"netmap:e@1x", "'1x' is not a number"},
	{"netmap:e@1@2", "region id 2, and 1 before"},
	{"netmap:e@2/R@3", "region id 3, and 2 before"},
	{"netmap:e@2/R@2@share=vale0:a", "which region"},
	{"netmap:e@conf:@conf:", "given twice"},
	{"netmap:e@conf=2", "unknown option"},
	{"netmap:e@offset=x", "'x' is not a number"},
	{"netmap:e@offset=", "'' is not a number"},
	{"netmap:e@extmem=", "path of 1 to"},
	{"netmap:e@extmem:", "key=value"},
	{"netmap:e@conf:txrings=1", "unknown key"},
	{"netmap:e@1@share=vale0:a", "which region"},
	{"netmap:e@share=", "needs the name"},
	{"netmap:e@share=vale0", "valeID:PORT"},
	{"netmap:e@conf:slots=1,", "key=value"},
	{"netmap:e@conf:slots", "not a number"},
	{"netmap:e@conf:slots=4294967296", "at most 4294967295"},
	{"netmap:e@conf:rings=65536", "at most 65535"},
	{"netmap:e@conf:slot=1", "unknown key 'slot'"},
	{"netmap:e@extmem:if-num=1", "file=PATH"},
	{"netmap:e@extmem:file=", "path of 1 to"},
	{"netmap:e@offset:bits=65", "at most 64"},
	{"netmap:e@nosuch:a=1", "known are"},
};

static void test_bad(void **state)
{
	struct nmport_d *d = nmport_new();

	(void)state;
	nmctx_get()->error = on_error;
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		last_error[0] = '\0';
		errno = 0;
		assert_int_equal(nmport_parse(d, bad[i][0]), -1);
		assert_int_equal(errno, EINVAL);
		if (!strstr(last_error, bad[i][1]) || strchr(last_error, '\n') ||
			strncmp(last_error, bad[i][0], strlen(bad[i][0])) != 0)
			fail_msg("%s: expected '%s', got '%s'", bad[i][0], bad[i][1], last_error);
	}
	nmport_delete(d);
}

static void test_long_name(void **state)
{
	char text[128] = "netmap:";
	struct nmport_d *d = nmport_new();

	(void)state;
	memset(text + 7, 'n', 63);
	assert_int_equal(nmport_parse(d, text), 0);
	assert_int_equal(strlen(d->hdr.nr_name), 63);
	nmport_undo_parse(d);
	text[70] = 'n';
	assert_int_equal(nmport_parse(d, text), -1);
	nmport_delete(d);
}

static void test_options(void **state)
{
	struct nm_portspec s;
	struct nm_error err;

	(void)state;
	assert_int_equal(nm_portspec_parse("vale1:a@conf:rings=2,rx-rings=3,slots=512,tx-slots=64,"
					   "host-rings=4,host-tx-rings=5@share=vale0:b",
				 NULL, &s, &err),
		0);
	assert_int_equal(s.given, NM_SPEC_CONF | NM_SPEC_SHARE);
	assert_int_equal(s.reg.nr_tx_rings, 2);
	assert_int_equal(s.reg.nr_rx_rings, 3);
	assert_int_equal(s.reg.nr_tx_slots, 64);
	assert_int_equal(s.reg.nr_rx_slots, 512);
	assert_int_equal(s.reg.nr_host_tx_rings, 5);
	assert_int_equal(s.reg.nr_host_rx_rings, 4);
	assert_string_equal(s.share, "vale0:b");
	assert_int_equal(nm_portspec_parse("netmap:e@extmem:file=/dev/x:y,if-num=1,if-size=2,"
					   "ring-num=3,ring-size=4,buf-num=5,buf-size=6@offset:"
					   "initial=18446744073709551615,bits=64",
				 NULL, &s, &err),
		0);
	assert_string_equal(s.extmem_file, "/dev/x:y");
	assert_int_equal(s.extmem.nr_if_pool_objtotal, 1);
	assert_int_equal(s.extmem.nr_if_pool_objsize, 2);
	assert_int_equal(s.extmem.nr_ring_pool_objtotal, 3);
	assert_int_equal(s.extmem.nr_ring_pool_objsize, 4);
	assert_int_equal(s.extmem.nr_buf_pool_objtotal, 5);
	assert_int_equal(s.extmem.nr_buf_pool_objsize, 6);
	assert_true(s.offset.initial == UINT64_MAX);
	assert_int_equal(s.offset.bits, 64);
}

/* Other spellings of the same: a value without its key, _ for -, 0 and nothing for the default. */
static void test_spellings(void **state)
{
	struct nm_portspec s;
	struct nm_error err;

	(void)state;
	assert_int_equal(nm_portspec_parse("netmap:e@extmem=/dev/x:y,buf_num=5@offset=16,bits=32"
					   "@conf:tx_rings=2,host_rx-rings=3,slots=0",
				 NULL, &s, &err),
		0);
	assert_string_equal(s.extmem_file, "/dev/x:y");
	assert_int_equal(s.extmem.nr_buf_pool_objtotal, 5);
	assert_int_equal(s.offset.initial, 16);
	assert_int_equal(s.offset.bits, 32);
	assert_int_equal(s.reg.nr_tx_rings, 2);
	assert_int_equal(s.reg.nr_host_rx_rings, 3);
	assert_int_equal(s.reg.nr_tx_slots, 0);
	assert_int_equal(
		nm_portspec_parse("netmap:e@share:port=netmap:eth1@conf:", NULL, &s, &err), 0);
	assert_string_equal(s.share, "eth1");
	assert_int_equal(s.given, NM_SPEC_SHARE | NM_SPEC_CONF);
	assert_int_equal(nm_portspec_parse("netmap:e@share=netmap:eth1", NULL, &s, &err), 0);
	assert_string_equal(s.share, "eth1");
}

static void test_decoders(void **state)
{
	const char *p = "netmap:e-1/x@12@conf:slots=4";
	struct nmreq_header hdr;
	struct nmreq_register reg = {.nr_tx_slots = 9};

	(void)state;
	nmctx_get()->error = on_error;
	nmreq_header_init(&hdr, NETMAP_REQ_REGISTER, &reg);
	assert_int_equal(nmreq_header_decode(&p, &hdr, nmctx_get()), 0);
	assert_string_equal(hdr.nr_name, "e");
	assert_string_equal(p, "-1/x@12@conf:slots=4");
	assert_int_equal(nmreq_register_decode(&p, &reg, nmctx_get()), 0);
	assert_string_equal(p, "@conf:slots=4");
	assert_int_equal(reg.nr_mode, NR_REG_ONE_NIC);
	assert_int_equal(reg.nr_mem_id, 12);
	assert_int_equal(reg.nr_tx_slots, 9);
	p = "^70000";
	assert_int_equal(nmreq_register_decode(&p, &reg, nmctx_get()), -1);
	assert_string_equal(p, "^70000");
	p = "@70000";
	assert_int_equal(nmreq_register_decode(&p, &reg, nmctx_get()), -1);
	assert_non_null(strstr(last_error, "70000 is too large"));
}

static void test_disabled(void **state)
{
	struct nmport_d *d = nmport_new();

	(void)state;
	nmctx_get()->error = on_error;
	nmport_disable_option("conf");
	assert_int_equal(nmport_parse(d, "vale1:a@conf:slots=4"), -1);
	assert_non_null(strstr(last_error, "@conf is disabled"));
	assert_int_equal(nmport_enable_option("conf"), 0);
	assert_int_equal(nmport_parse(d, "vale1:a@conf:slots=4"), 0);
	assert_int_equal(nmport_enable_option("nosuch"), -1);
	assert_int_equal(errno, ENOENT);
	nmport_undo_prepare(d);
}

static void test_option_list(void **state)
{
	struct nmreq_option a = {.nro_reqtype = NETMAP_REQ_OPT_CSB};
	struct nmreq_option b = {.nro_reqtype = NETMAP_REQ_OPT_EXTMEM};
	struct nmreq_header hdr;

	(void)state;
	nmreq_header_init(&hdr, NETMAP_REQ_REGISTER, NULL);
	assert_null(nmreq_find_option(&hdr, NETMAP_REQ_OPT_CSB));
	nmreq_push_option(&hdr, &a);
	nmreq_push_option(&hdr, &b);
	assert_ptr_equal(nmreq_find_option(&hdr, NETMAP_REQ_OPT_CSB), &a);
	nmreq_remove_option(&hdr, &a);
	assert_null(nmreq_find_option(&hdr, NETMAP_REQ_OPT_CSB));
	assert_ptr_equal(nmreq_find_option(&hdr, NETMAP_REQ_OPT_EXTMEM), &b);
	b.nro_next = (uintptr_t)&b; /* a loop is not walked for ever */
	assert_null(nmreq_find_option(&hdr, NETMAP_REQ_OPT_CSB));
	b.nro_next = 0;
	nmreq_remove_option(&hdr, &a); /* not there: nothing happens */
	nmreq_remove_option(&hdr, &b);
	assert_int_equal(hdr.nr_options, 0);
	assert_string_equal(nmreq_option_name(NETMAP_REQ_OPT_OFFSETS), "offsets");
	assert_string_equal(nmreq_option_name(99), "unknown");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_good),
		cmocka_unit_test(test_older),
		cmocka_unit_test(test_bad),
		cmocka_unit_test(test_long_name),
		cmocka_unit_test(test_options),
		cmocka_unit_test(test_spellings),
		cmocka_unit_test(test_decoders),
		cmocka_unit_test(test_disabled),
		cmocka_unit_test(test_option_list),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
