/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Names and port specifications of users: the parser that daemon, library and tools share, the core's
 * parser of names, and what libnetmap and nm_open() make of the same text.
 */
#define NETMAP_WITH_LIBS
#include <libnetmap.h>
#include <net/netmap_user.h>

#include "fuzz.h"
#include "names.h"
#include "portspec.h"

#include <errno.h>

enum { TEXT_MAX = 512 };

static char said[1024]; /* by libnetmap, last */

static void hear(struct nmctx *ctx, const char *text)
{
	snprintf(said, sizeof(said), "%s", text);
}

void fuzz_begin(void)
{
	nmctx_get()->error = hear;
	/* They ask netmapd, and open files: names alone are looked at here. */
	nmport_disable_option("share");
	nmport_disable_option("extmem");
}

/* A text may quote what is written in any language, but nothing that a terminal obeys. */
static void check_line(const char *text)
{
	fuzz_check(text[0], "an error has no text");
	for (const unsigned char *c = (const unsigned char *)text; *c; c++)
		fuzz_check(*c >= ' ' && *c != 0x7f, "character %d in \"%s\"", *c, text);
}

static bool exists(void *arg, const char *name)
{
	return strchr(name, '-') && strlen(name) % 2 == 0;
}

static const struct nm_portspec_env env = {.exists = exists};

static void check_name(const char *name)
{
	struct nm_error err = {0};
	struct nm_name parts;
	int error = nm_name_parse(name, &parts, &err);

	fuzz_check(error == 0 || error == -EINVAL, "%d", error);
	fuzz_check_error(error, err.text);
	if (error)
		return;
	fuzz_check(strlen(name) < NETMAP_REQ_IFNAMSIZ, "a long name");
	fuzz_check(parts.base[0] || parts.pipe != NM_PIPE_NONE, "no base in %s", name);
	fuzz_check((parts.pipe != NM_PIPE_NONE) == (parts.pipe_id[0] != '\0'), "%s", parts.pipe_id);
	fuzz_check((parts.kind == NM_NAME_VALE) == (parts.sw_name[0] != '\0'), "%s", parts.sw_name);
	fuzz_check(
		strncmp(parts.base, name, strlen(parts.base)) == 0, "%s of %s", parts.base, name);
}

/* 0 or an error; what it says twice is the same. */
static int check_spec(const char *text, struct nm_portspec *spec)
{
	struct nm_error err = {0};
	struct nm_portspec again;
	int error = nm_portspec_parse(text, &env, spec, &err);

	fuzz_check(error == 0 || error == -EINVAL, "%d", error);
	fuzz_check(!error || err.text[0], "an error has no text");
	fuzz_check((nm_portspec_parse(text, &env, &again, &err) == 0) == !error, "%s", text);
	if (error)
		return error;
	fuzz_check(memchr(spec->name, 0, sizeof(spec->name)), "a name has no end");
	fuzz_check(strcmp(spec->name, again.name) == 0 && spec->reg.nr_mode == again.reg.nr_mode &&
			   spec->reg.nr_flags == again.reg.nr_flags && spec->given == again.given,
		"%s is read in two ways", text);
	check_name(spec->name);
	return 0;
}

static void check_library(const char *text)
{
	struct nmreq_header hdr = {0};
	struct nmreq_register reg = {0};
	const char *at = text;
	struct nmport_d *d;

	said[0] = '\0';
	d = nmport_prepare(text);
	if (d)
		fuzz_check(memchr(d->hdr.nr_name, 0, sizeof(d->hdr.nr_name)), "a name has no end");
	else
		check_line(said);
	nmport_undo_prepare(d);
	if (nmreq_header_decode(&at, &hdr, nmctx_get()) == 0) {
		fuzz_check(at >= text && at <= text + strlen(text), "behind the end");
		(void)nmreq_register_decode(&at, &reg, nmctx_get());
		fuzz_check(at >= text && at <= text + strlen(text), "behind the end");
	}
}

static void check_nm_open(const char *text)
{
	static struct nm_desc d;
	char err[MAXERRMSG] = "";

	memset(&d, 0, sizeof(d));
	if (nm_parse(text, &d, err) != 0)
		fuzz_check(memchr(err, 0, sizeof(err)), "a text has no end");
	else
		fuzz_check(memchr(d.req.nr_name, 0, sizeof(d.req.nr_name)), "a name has no end");
}

/* Words of the grammar, so that inputs need not spell them. */
static size_t add_word(uint8_t which, char *to, size_t room)
{
	static const char *const words[] = {"netmap:", "vale", "vale0:", "{", "}", "-1", "^", "*",
		"/", "@", "@conf:", "slots=", "rings=", "host-rings=", "tx-slots=", "@share=",
		"@extmem:", "file=", "buf-num=", "@offset=", "initial=", "bits=", ",", "eth0",
		"br-lan", "xtrzTR", "65536", "4294967296", "18446744073709551616"};

	return (size_t)snprintf(to, room, "%s", words[which % (sizeof(words) / sizeof(words[0]))]);
}

void fuzz_one(struct fuzz_in *in)
{
	char text[TEXT_MAX + 32] = "";
	struct nm_portspec spec;
	size_t length = 0;

	while (fuzz_more(in) && length < TEXT_MAX) {
		uint8_t byte = fuzz_u8(in);

		if (byte >= 0xc0)
			length += add_word(byte - 0xc0, text + length, sizeof(text) - length);
		else if (byte)
			text[length++] = (char)byte;
		else
			break;
	}
	text[length] = '\0';
	(void)check_spec(text, &spec);
	check_name(text);
	check_library(text);
	check_nm_open(text);
}
