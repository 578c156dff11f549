/* SPDX-License-Identifier: BSD-2-Clause */
/* core/names.h: which names there are, and what they are taken apart into. */
#include "names.h"
#include "util.h"

static const struct {
	const char *name;
	enum nm_name_kind kind;
	enum nm_pipe_end pipe;
	const char *base, *vale, *port, *pipe_id;
} good[] = {
	{"eth0", NM_NAME_PLAIN, NM_PIPE_NONE, "eth0", "", "", ""},
	{"br-lan.5", NM_NAME_PLAIN, NM_PIPE_NONE, "br-lan.5", "", "", ""},
	{"x", NM_NAME_PLAIN, NM_PIPE_NONE, "x", "", "", ""},
	{"vale", NM_NAME_PLAIN, NM_PIPE_NONE, "vale", "", "", ""},
	{"vale0", NM_NAME_PLAIN, NM_PIPE_NONE, "vale0", "", "", ""},
	{"vale-x:1", NM_NAME_PLAIN, NM_PIPE_NONE, "vale-x:1", "", "", ""},
	{"vale:1", NM_NAME_VALE, NM_PIPE_NONE, "vale:1", "vale", "1", ""},
	{"vale0:1", NM_NAME_VALE, NM_PIPE_NONE, "vale0:1", "vale0", "1", ""},
	{"valeA_9:tap-0.1_x", NM_NAME_VALE, NM_PIPE_NONE, "valeA_9:tap-0.1_x", "valeA_9",
		"tap-0.1_x", ""},
	{"vale0:eth0^", NM_NAME_VALE, NM_PIPE_NONE, "vale0:eth0^", "vale0", "eth0^", ""},
	{"eth0{3", NM_NAME_PLAIN, NM_PIPE_MASTER, "eth0", "", "", "3"},
	{"eth0}abc_9", NM_NAME_PLAIN, NM_PIPE_SLAVE, "eth0", "", "", "abc_9"},
	{"vale1:a{0", NM_NAME_VALE, NM_PIPE_MASTER, "vale1:a", "vale1", "a", "0"},
	{"123456789012345678901234567890123456789012345678901234567890123", NM_NAME_PLAIN,
		NM_PIPE_NONE, "123456789012345678901234567890123456789012345678901234567890123", "",
		"", ""},
};

static const char *const bad[] = {
	"",
	" ",
	"eth 0",
	"eth0 ",
	"eth/0",
	"eth\t0",
	"eth0\n",
	"eth\x7f",
	"eth\xc3\xa4",
	"vale0:",
	"vale0:^",
	"vale0:a^b",
	"vale0:a^^",
	"vale:",
	"vale0:a/b",
	"vale0:a:b",
	"vale0:a*",
	"vale0:\xff",
	"{1",
	"}1",
	"eth0{",
	"eth0}",
	"eth0{a-b",
	"eth0{a.b",
	"eth0{1{2",
	"eth0{1}2",
	"eth0{1 ",
	"vale0:{1",
	"vale0:}1",
	"1234567890123456789012345678901234567890123456789012345678901234",
	"12345678901234567890123456789012345678901234567890123456789012345678901234567890",
};

static void good_names(void **state)
{
	for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
		struct nm_name name;
		struct nm_error err = {0};

		if (nm_name_parse(good[i].name, &name, &err) != 0)
			fail_msg("\"%s\" refused: %s", good[i].name, err.text);
		assert_int_equal(name.kind, good[i].kind);
		assert_int_equal(name.pipe, good[i].pipe);
		assert_string_equal(name.base, good[i].base);
		assert_string_equal(name.sw_name, good[i].vale);
		assert_string_equal(name.port, good[i].port);
		assert_string_equal(name.pipe_id, good[i].pipe_id);
	}
}

static void bad_names(void **state)
{
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		struct nm_name name;
		struct nm_error err = {0};

		if (nm_name_parse(bad[i], &name, &err) != -EINVAL)
			fail_msg("\"%s\" accepted", bad[i]);
		assert_int_not_equal(err.text[0], '\0');
		assert_null(strchr(err.text, '\n'));
	}
}

/* A user must be able to see what is wrong, and his terminal must not do it. */
static void what_is_not_printable_is_quoted(void **state)
{
	struct nm_error err;
	struct nm_name name;

	assert_int_equal(nm_name_parse("a\n\x1b[2J\xff\"\\", &name, &err), -EINVAL);
	assert_string_equal(err.text,
		"\"a\\x0a\\x1b[2J\\xff\\x22\\x5c\": a port name is printable, without space and /");
	assert_int_equal(nm_name_check("a/b", &err), -EINVAL);
	assert_int_equal(nm_name_check_made("a/b", &err), 0);
	assert_int_equal(nm_name_check_made("a b", &err), -EINVAL);
	assert_int_equal(nm_name_check("a{b:c}", &err), 0);
	assert_int_equal(nm_error_set(&err, -EINVAL, "a\n%s", "\xc3\xa4"), -EINVAL);
	assert_string_equal(err.text, "a???");
}

/* A field of a request need not be a string: ASan watches that nothing behind it is read. */
static void name_without_end(void **state)
{
	char *field = os_zalloc(NETMAP_REQ_IFNAMSIZ);
	struct nm_error err;
	struct nm_name name;

	memset(field, 'a', NETMAP_REQ_IFNAMSIZ);
	assert_int_equal(nm_name_parse(field, &name, &err), -EINVAL);
	memcpy(field, "vale0:", 6);
	assert_int_equal(nm_name_parse(field, &name, &err), -EINVAL);
	os_free(field);
}

/* A text that is too long is cut, and nothing else. */
static void short_error_buffer(void **state)
{
	struct {
		struct nm_error err;
		char behind[4];
	} x = {.behind = "..."};
	char word[2 * NM_ERR_TEXT];

	memset(word, 'x', sizeof(word));
	word[sizeof(word) - 1] = '\0';
	assert_int_equal(nm_error_set(&x.err, -EINVAL, "%s", word), -EINVAL);
	assert_int_equal(x.err.code, -EINVAL);
	assert_int_equal(strlen(x.err.text), NM_ERR_TEXT - 1);
	assert_string_equal(x.behind, "...");
}

/* Whatever is accepted can be put together again from its parts. */
static void parts_make_the_name(void **state)
{
	static const char alphabet[] = "vale0:a{}_-./ \x80x1Z";
	struct prng r = prng_new(1);
	uint32_t accepted = 0;

	for (int round = 0; round < 50000; round++) {
		char text[NETMAP_REQ_IFNAMSIZ] = "", again[4 * NETMAP_REQ_IFNAMSIZ];
		struct nm_error err;
		uint32_t len = prng_below(&r, 12);
		struct nm_name name;

		if (prng_chance(&r, 60))
			strcpy(text, prng_chance(&r, 50) ? "vale" : "vale1:");
		for (uint32_t i = (uint32_t)strlen(text); i < len; i++)
			text[i] = alphabet[prng_below(&r, sizeof(alphabet) - 1)];
		if (nm_name_parse(text, &name, &err) != 0)
			continue;
		accepted++;
		os_snprintf(again, sizeof(again), "%s%s%s", name.base,
			name.pipe == NM_PIPE_MASTER  ? "{"
			: name.pipe == NM_PIPE_SLAVE ? "}"
						     : "",
			name.pipe_id);
		assert_string_equal(again, text);
		assert_int_equal(name.pipe != NM_PIPE_NONE, name.pipe_id[0] != '\0');
		assert_int_equal(name.kind == NM_NAME_VALE, name.port[0] != '\0');
		if (name.kind == NM_NAME_PLAIN)
			continue;
		os_snprintf(again, sizeof(again), "%s:%s", name.sw_name, name.port);
		assert_string_equal(again, name.base);
	}
	assert_true(accepted > 1000);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(good_names),
		cmocka_unit_test(bad_names),
		cmocka_unit_test(what_is_not_printable_is_quoted),
		cmocka_unit_test(name_without_end),
		cmocka_unit_test(short_error_buffer),
		cmocka_unit_test(parts_make_the_name),
	};

	test_seed();
	return cmocka_run_group_tests_name("names", tests, NULL, NULL);
}
