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
	{"-z", "unknown option '-z'"},
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
	{"-i x -d ::1", "not an IPv4 address"},
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
	{"-i x -c 0", "not in 1..4096"},
	{"-i x -p 0", "not in 1..64"},
	{"-i x -p 65", "not in 1..64"},
	{"-i x -q 0", "not in 0.001.."},
	{"-i x -f ping -p 2", "one thread"},
	{"-i x -f rx -k -p 2", "one thread"},
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
		cmocka_unit_test(test_bad),
		cmocka_unit_test(test_long),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
