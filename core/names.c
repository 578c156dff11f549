/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Which bytes may stand where in a name. One that is refused is quoted with \xNN for all that is not
 * printable.
 */
#include "names.h"

/* The alphabets of the three kinds of word in a name. */
static bool is_id_char(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
	       c == '_';
}

static bool is_port_char(char c)
{
	return is_id_char(c) || c == '.' || c == '-';
}

static bool is_printable(char c)
{
	return c > ' ' && c < 0x7f;
}

static bool is_name_char(char c)
{
	return is_printable(c) && c != '/';
}

static bool is_plain_char(char c)
{
	return is_name_char(c) && c != '{' && c != '}';
}

static size_t span(const char *s, size_t len, bool (*allowed)(char c))
{
	size_t n = 0;

	while (n < len && allowed(s[n]))
		n++;
	return n;
}

static void copy_part(char *dst, const char *src, size_t len)
{
	memcpy(dst, src, len);
	dst[len] = '\0';
}

enum { QUOTED_MAX = 4 * NETMAP_REQ_IFNAMSIZ };

static const char *quote(char out[QUOTED_MAX], const char *name, size_t len)
{
	char *to = out;

	for (size_t i = 0; i < len; i++) {
		bool plain = name[i] >= ' ' && name[i] < 0x7f && name[i] != '\\' && name[i] != '"';

		to += os_snprintf(to, QUOTED_MAX - (size_t)(to - out), plain ? "%c" : "\\x%02x",
			(unsigned char)name[i]);
	}
	*to = '\0';
	return out;
}

static int check(const char *name, bool (*allowed)(char c), struct nm_error *err)
{
	size_t len = strnlen(name, NETMAP_REQ_IFNAMSIZ);
	char quoted[QUOTED_MAX];

	if (len == 0 || len == NETMAP_REQ_IFNAMSIZ)
		return nm_error_set(
			err, -EINVAL, "a port name has 1 to %d bytes", NETMAP_REQ_IFNAMSIZ - 1);
	if (span(name, len, allowed) != len)
		return nm_error_set(err, -EINVAL,
			"\"%s\": a port name is printable, without space and /",
			quote(quoted, name, len));
	return 0;
}

int nm_name_check(const char *name, struct nm_error *err)
{
	return check(name, is_name_char, err);
}

int nm_name_check_made(const char *name, struct nm_error *err)
{
	return check(name, is_printable, err);
}

/* "valeID:PORT": true when the base has this form; then sw_name and port are filled in. */
static int parse_vale(const char *base, struct nm_name *out, struct nm_error *err)
{
	size_t len = strlen(base);
	size_t id = 4 + span(base + 4, len - 4, is_id_char);
	size_t port;

	if (base[id] != ':')
		return 0; /* an interface that happens to be called vale… */
	port = span(base + id + 1, len - id - 1, is_port_char);
	if (port > 0 && base[id + 1 + port] == '^')
		port++; /* host rings of a device on the switch */
	if (port == 0 || id + 1 + port != len)
		return nm_error_set(err, -EINVAL,
			"\"%s\": a switch port is valeID:PORT with PORT of letters, digits, _ . -",
			base);
	out->kind = NM_NAME_VALE;
	copy_part(out->sw_name, base, id);
	copy_part(out->port, base + id + 1, port);
	return 0;
}

static int parse_pipe(const char *brace, size_t len, struct nm_name *out, struct nm_error *err)
{
	if (len < 2 || span(brace + 1, len - 1, is_id_char) != len - 1)
		return nm_error_set(err, -EINVAL,
			"\"%s\": a pipe id is one or more of letters, digits, _", brace);
	out->pipe = brace[0] == '{' ? NM_PIPE_MASTER : NM_PIPE_SLAVE;
	copy_part(out->pipe_id, brace + 1, len - 1);
	return 0;
}

int nm_name_parse(const char *name, struct nm_name *out, struct nm_error *err)
{
	size_t len, base;
	int error = nm_name_check(name, err);

	memset(out, 0, sizeof(*out));
	if (error)
		return error;
	len = strlen(name);
	base = span(name, len, is_plain_char);
	if (base == 0)
		return nm_error_set(
			err, -EINVAL, "\"%s\": the name of a pipe's parent is missing", name);
	copy_part(out->base, name, base);
	if (base < len)
		error = parse_pipe(name + base, len - base, out, err);
	if (error)
		return error;
	if (base > 4 && memcmp(name, "vale", 4) == 0)
		return parse_vale(out->base, out, err);
	return 0;
}
