/* SPDX-License-Identifier: BSD-2-Clause */
/* pkt-gen's command line: what is understood, and what is said about the rest. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <string.h>

#include "options.h"

enum { ARGS_MAX = 32 };

/* Parses a line of words separated by single spaces; '_' stands for an empty word. */
static int parse(const char *line, struct gen_options *o, char err[OPTIONS_ERR])
{
	char copy[256], *argv[ARGS_MAX] = {(char *)(uintptr_t) "pkt-gen"}, *word, *save = NULL;
	int argc = 1;

	strncpy(copy, line, sizeof(copy) - 1);
	copy[sizeof(copy) - 1] = '\0';
	for (word = strtok_r(copy, " ", &save); word; word = strtok_r(NULL, " ", &save)) {
		if (strcmp(word, "_") == 0)
			*word = '\0';
		argv[argc++] = word;
	}
	argv[argc] = NULL;
	err[0] = '\0';
	return options_parse(argc, argv, o, err);
}

static void must_parse(const char *line, struct gen_options *o)
{
	char err[OPTIONS_ERR];

	if (parse(line, o, err))
		fail_msg("%s: %s", line, err);
}

static void test_defaults(void **state)
{
	struct gen_options o;

	(void)state;
	must_parse("-i ens4", &o);
	assert_string_equal(o.port, "netmap:ens4");
	assert_int_equal(o.fn, GEN_RX);
	assert_int_equal(o.count, 0);
	assert_int_equal(o.len, 60);
	assert_int_equal(o.burst, 512);
	assert_int_equal(o.threads, 1);
	assert_int_equal(o.report_ms, 1000);
	assert_int_equal(o.dst_mac[5], 0xff);
	assert_false(o.have_src_mac || o.check || o.help);
	assert_true(o.rate == 0 && o.timeout == 0 && o.wait_link < 0);
	must_parse("-h", &o);
	assert_true(o.help);
	must_parse("--help", &o);
	assert_true(o.help);
}

static void test_all(void **state)
{
	static const uint8_t mac[6] = {0, 0xaa, 0xbb, 0xcc, 0x0a, 1};
	struct gen_options o;

	(void)state;
	must_parse("-i vale1:1 -f tx -n 2M -l 1514 -b 64 -d 10.0.0.1:2000-10.0.0.3:2010 "
		   "-s 1.2.3.4:7 -D 00:AA:bb:cc:a:1 -S 00:aa:bb:cc:0a:01",
		&o);
	assert_string_equal(o.port, "vale1:1");
	assert_int_equal(o.fn, GEN_TX);
	assert_int_equal(o.count, 2000000);
	assert_int_equal(o.len, 1514);
	assert_int_equal(o.burst, 64);
	assert_int_equal(o.dst.ip[0], 0x0a000001);
	assert_int_equal(o.dst.ip[1], 0x0a000003);
	assert_int_equal(o.dst.port[0], 2000);
	assert_int_equal(o.dst.port[1], 2010);
	assert_int_equal(o.src.ip[1], 0x01020304);
	assert_int_equal(o.src.port[1], 7);
	assert_memory_equal(o.dst_mac, mac, 6);
	assert_memory_equal(o.src_mac, mac, 6);
	assert_true(o.have_src_mac);

	must_parse("-i netmap:x-0 -f ping -w 0.5 -R 1.5k -T 250 -a 3 -c 4 -v -v --check "
		   "--timeout 2.5",
		&o);
	assert_string_equal(o.port, "netmap:x-0");
	assert_int_equal(o.fn, GEN_PING);
	assert_true(o.wait_link == 0.5 && o.rate == 1500 && o.timeout == 2.5);
	assert_int_equal(o.report_ms, 250);
	assert_int_equal(o.affinity, 3);
	assert_int_equal(o.cpus, 4);
	assert_int_equal(o.verbose, 2);
	assert_true(o.check);
	must_parse("-i x -kq1 -f tx -p 4 -d 10.9.8.7-10.9.8.8", &o);
	assert_true(o.check && o.timeout == 1);
	assert_int_equal(o.threads, 4);
	assert_int_equal(o.dst.port[1], 1234);
	assert_int_equal(o.dst.ip[1], 0x0a090808);
}

static const char *const bad[][2] = {
	{"", "-i PORT is needed"},
	{"-i", "missing value behind '-i'"},
	{"-i _", "empty name"},
	{"-Q", "unknown option '-Q'"},
	{"--nosuch", "unknown option '--nosuch'"},
	{"--check=1 -i x", "unknown option '--check=1'"},
	{"--timeout", "missing value behind '--timeout'"},
	{"-i x y", "unexpected argument 'y'"},
	{"-i x -f both", "'both': unknown function"},
	{"-i x -f _", "unknown function"},
	{"-i x -n _", "not a number"},
	{"-i x -n ten", "not a number"},
	{"-i x -n -1", "not a number"},
	{"-i x -n 10x", "not a number"},
	{"-i x -n 0x10", "not a number"},
	{"-i x -n 1k5", "behind the number"},
	{"-i x -n 1.5", "not a whole number"},
	{"-i x -n 1.2.3", "behind the number"},
	{"-i x -n 99999999999999999999", "not in 0..1"},
	{"-i x -l 59", "not in 60..65535"},
	{"-i x -l 65536", "not in 60..65535"},
	{"-i x -b 0", "not in 1..65536"},
	{"-i x -b 65537", "not in 1..65536"},
	{"-i x -d 10.0.0", "'10.0.0' is not an IPv4 address"},
	{"-i x -d ::g", "not an IPv6 address"},
	{"-i x -d 10.0.0.1:", "port ''"},
	{"-i x -d 10.0.0.1:65536", "port '65536' is not in 0..65535"},
	{"-i x -d 10.0.0.1:1x", "port '1x'"},
	{"-i x -d 10.0.0.1:-1", "port ''"},
	{"-i x -d 10.0.0.1-", "not an IPv4 address"},
	{"-i x -d 10.0.0.2-10.0.0.1", "address is below"},
	{"-i x -s 10.0.0.1:5-10.0.0.1:4", "port is below"},
	{"-i x -D 00:11:22:33:44", "not a MAC address"},
	{"-i x -D 00:11:22:33:44:5g", "not a MAC address"},
	{"-i x -S 00:11:22:33:44:55:66", "not a MAC address"},
	{"-i x -w soon", "not a number"},
	{"-i x -w 3601", "not in 0..3600"},
	{"-i x -R 0", "not in 0.001.."},
	{"-i x -R 1e9", "not a number"},
	{"-i x -R inf", "not a number"},
	{"-i x -R 10Q", "not a number"},
	{"-i x -R .", "not a number"},
	{"-i x -T 0", "not in 1..3600000"},
	{"-i x -T 1s", "not a number"},
	{"-i x -a -1", "not a number"},
	{"-i x -a 4096", "not in 0..4095"},
	{"-i x -c 4097", "not in 0..4096"},
	{"-i x -p 0", "not in 1..64"},
	{"-i x -p 65", "not in 1..64"},
	{"-i x -q 0", "not in 0.001.."},
	{"-i x -f ping -p 2", "one thread"},
	{"-i x -f rx -k -p 2", "one thread"},
	{"-i x -d [::1", "is not [IPv6]:PORT"},
	{"-i x -d [::1]5", "is not [IPv6]:PORT"},
	{"-i x -d ::1-10.0.0.1", "one IPv4 and one IPv6"},
	{"-i x -4 -6", "IPv4 and IPv6"},
	{"-i x -6 -d 10.0.0.1", "IPv4 and IPv6"},
	{"-i x -s ::1 -d 10.0.0.1", "IPv4 and IPv6"},
	{"-i x -6 -l 61", "62 bytes or more"},
	{"-i x -6 -l 79 -k -f tx", "80 bytes or more"},
	{"-i x -l 100 -l 100 -f tx", "not below the first length"},
	{"-i x -l 100 -l 60", "goes with -f tx"},
	{"-i x -f tx -F 0", "not in 1..64"},
	{"-i x -f tx -F 65", "not in 1..64"},
	{"-i x -f tx -F 61", "more slots than bytes"},
	{"-i x -f tx -F 3 -M 30", "hold the whole packet"},
	{"-i x -f tx -M 30", "-M goes with -F"},
	{"-i x -F 2", "goes with -f tx"},
	{"-i x -H 11", "not 0, 10 or 12"},
	{"-i x -H 13", "not in 0..12"},
	{"-i x -C _", "TXSLOTS"},
	{"-i x -C 1,2,3,4,5", "TXSLOTS"},
	{"-i x -C 1,", "TXSLOTS"},
	{"-i x -C 1,2,65536", "TXSLOTS"},
	{"-i x -C 4294967296", "TXSLOTS"},
	{"-i x -P f", "go with -f tx"},
	{"-i x -P _ -f tx", "not the name of a file"},
	{"-i x -P f -f tx -k", "come from the file"},
	{"-i x -P f -f tx -l 60", "come from the file"},
	{"-i x -I", "go with -f tx"},
	{"-i x -f tx -I -k", "all packets are the same"},
	{"-i x -f tx -I -d 10.0.0.1-10.0.0.2", "all packets are the same"},
	{"-i x -r", "go with -f tx"},
	{"-i x -f tx -r -z", "not written"},
	{"-i x -f tx -W", "-W goes with -f rx"},
};

static void test_bad(void **state)
{
	struct gen_options o;
	char err[OPTIONS_ERR];

	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		assert_int_equal(parse(bad[i][0], &o, err), -1);
		if (!strstr(err, bad[i][1]) || strchr(err, '\n'))
			fail_msg("'%s': expected '%s', got '%s'", bad[i][0], bad[i][1], err);
	}
}

static void test_new(void **state)
{
	char err[OPTIONS_ERR];
	struct gen_options o;

	(void)state;
	assert_int_equal(
		parse("-i x -f tx -l 1500 -l 60 -F 3 -M 16 -H 12 -C 512,256,4 -zZ -NABXI -I -v", &o,
			err),
		-1); /* -I with what changes */
	assert_int_equal(
		parse("-i x -f tx -l 1500 -l 60 -F 3 -M 16 -H 12 -C 512,256,4 -zZ -NABX", &o, err),
		0);
	assert_true(o.len == 1500 && o.len_min == 60 && o.frags == 3 && o.frag_size == 16);
	assert_int_equal(o.hdr_len, 12);
	assert_true(o.conf[0] == 512 && o.conf[1] == 256 && o.conf[2] == 4 && o.conf[3] == 4);
	assert_true(
		o.src.random && o.dst.random && o.raw_units && o.average && o.framing && o.dump);
	assert_int_equal(parse("-i x -C 100 -W -4", &o, err), 0);
	assert_true(o.conf[0] == 100 && o.conf[1] == 100 && o.conf[2] == 0 && o.exit_if_empty);
	assert_true(o.hdr_len == -1 && o.src.ip[0] == 0x0a000001 && o.dst.ip[1] == 0x0a010001);
	assert_int_equal(parse("-i x -6", &o, err), 0);
	assert_true(o.v6 && o.len == 62 && (uint64_t)(o.src.ip[0] >> 64) == 0xfd00ULL << 48);
	assert_int_equal(parse("-i x -f tx -k -d [fd00::5]:7-[fd00::9]:8 -l 90", &o, err), 0);
	assert_true(o.v6 && o.dst.port[0] == 7 && o.dst.port[1] == 8);
	assert_true((uint64_t)o.dst.ip[0] == 5 && (uint64_t)o.dst.ip[1] == 9);
	assert_int_equal(parse("-i x -s fd00::1-fd00::2", &o, err), 0);
	assert_true(o.src.v6 && o.src.port[0] == 1234);
	assert_int_equal(parse("-i x -f tx -P file.pcap -n 0", &o, err), 0);
	assert_string_equal(o.replay, "file.pcap");
	assert_true(o.have_count && o.count == 0);
}

static void test_long(void **state)
{
	char name[1024], err[OPTIONS_ERR];
	char *argv[] = {(char *)(uintptr_t) "pkt-gen", (char *)(uintptr_t) "-i", name, NULL};
	struct gen_options o;

	(void)state;
	memset(name, 'n', sizeof(name) - 1);
	name[sizeof(name) - 1] = '\0';
	assert_int_equal(options_parse(3, argv, &o, err), -1);
	assert_non_null(strstr(err, "longer than"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_defaults),
		cmocka_unit_test(test_all),
		cmocka_unit_test(test_new),
		cmocka_unit_test(test_bad),
		cmocka_unit_test(test_long),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
