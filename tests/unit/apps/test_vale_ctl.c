/* SPDX-License-Identifier: BSD-2-Clause */
/* vale-ctl: its options. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <string.h>

#include "options.h"

static struct vale_options o;
static char err[OPTIONS_ERR];

static int parse(const char *a, const char *b, const char *c, const char *d, const char *e)
{
	const char *argv[] = {"vale-ctl", a, b, c, d, e, NULL};
	int argc = 0;

	while (argv[argc])
		argc++;
	err[0] = '\0';
	return options_parse(argc, (char **)argv, &o, err);
}

static void test_actions(void **state)
{
	static const struct {
		const char *option, *name;
		enum vale_action action;
	} rows[] = {{"-g", "vale1:a", VALE_RINGS}, {"-a", "vale1:eth0", VALE_ATTACH},
		{"-h", "vale1:eth0", VALE_ATTACH_HOST}, {"-d", "vale1:eth0", VALE_DETACH},
		{"-n", "v0", VALE_NEWIF}, {"-r", "v0", VALE_DELIF},
		{"-P", "vale1:v0", VALE_NO_POLL}, {"-l", "vale1:a", VALE_LIST_ONE}};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		assert_int_equal(parse(rows[i].option, rows[i].name, NULL, NULL, NULL), 0);
		assert_int_equal(o.action, rows[i].action);
		assert_string_equal(o.name, rows[i].name);
	}
	assert_int_equal(parse(NULL, NULL, NULL, NULL, NULL), 0);
	assert_int_equal(o.action, VALE_LIST_ALL);
	assert_int_equal(parse("-l", "-v", NULL, NULL, NULL), 0);
	assert_true(o.action == VALE_LIST_ALL && o.verbose);
	assert_int_equal(parse("-g", "netmap:eth0", NULL, NULL, NULL), 0);
	assert_string_equal(o.name, "eth0");
	assert_int_equal(parse("--help", NULL, NULL, NULL, NULL), 0);
	assert_int_equal(o.action, VALE_HELP);
}

static void test_numbers(void **state)
{
	(void)state;
	assert_int_equal(parse("-n", "v0", "-C", "1,2,3,4", NULL), 0);
	assert_true(o.confs == 4 && o.conf[0] == 1 && o.conf[1] == 2 && o.conf[2] == 3 &&
		    o.conf[3] == 4);
	assert_int_equal(parse("-C", "512", "-n", "v0", NULL), 0);
	assert_true(o.confs == 1 && o.conf[0] == 512 && o.conf[1] == 0);
	assert_int_equal(parse("-p", "vale1:v0", "-C", "1,0,2", NULL), 0);
	assert_true(o.action == VALE_POLL && o.confs == 3 && o.conf[0] == 1 && o.conf[2] == 2);
	assert_int_equal(parse("-a", "vale1:v0", "-m", "65535", NULL), 0);
	assert_int_equal(o.mem_id, 65535);
}

static void test_bad(void **state)
{
	static const char *const bad[][5] = {{"-g"}, {"-g", ""}, {"-a", "eth0"}, {"-d", "vale1:"},
		{"-n", "vale1:x"}, {"-r", ""}, {"-x"}, {"--nope"}, {"extra"},
		{"-a", "vale1:a", "b"}, {"-n", "a", "-r", "a"}, {"-l", "-g", "vale1:a"},
		{"-C", "1"}, {"-n", "a", "-C", ""}, {"-n", "a", "-C", "1,2,3,4,5"},
		{"-n", "a", "-C", "1,,2"}, {"-n", "a", "-C", "1,2,65536"},
		{"-n", "a", "-C", "4294967296"}, {"-p", "vale1:a"}, {"-p", "vale1:a", "-C", "0"},
		{"-p", "vale1:a", "-C", "2,0"}, {"-p", "vale1:a", "-C", "0,1,2"},
		{"-p", "vale1:a", "-C", "1,1,0"}, {"-n", "a", "-m", "0"},
		{"-n", "a", "-m", "65536"}, {"-n", "a", "-m", "x"}, {"-m", "1"},
		{"-g", "vale1:0123456789012345678901234567890123456789012345678901234567890"}};

	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		assert_int_equal(parse(bad[i][0], bad[i][1], bad[i][2], bad[i][3], bad[i][4]), -1);
		assert_true(err[0] != '\0');
		assert_null(strchr(err, '\n'));
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_actions),
		cmocka_unit_test(test_numbers),
		cmocka_unit_test(test_bad),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
