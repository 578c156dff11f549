/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The name, then rings and flags, then @options: a parser each, which takes its part of the text.
 * An error quotes the part that can't be.
 */
#include "portspec.h"
#include "names.h"

/* A part of the text, not ended by 0. */
struct span {
	const char *s;
	size_t len;
};

enum { MAX_16 = 0xffff };
#define MAX_32 0xffffffffu
#define MAX_64 (~(uint64_t)0)

#define FAIL(r, ...) nm_error_set(r, -EINVAL, __VA_ARGS__)
/* For %.*s: no more of a user's text than fits a line. */
#define SPAN(x) (int)((x).len < 80 ? (x).len : 80), (x).s

static bool is_digit(char c)
{
	return c >= '0' && c <= '9';
}

static bool is_one_of(char c, const char *set)
{
	for (; *set; set++)
		if (*set == c)
			return true;
	return false;
}

/* Bytes of s up to one of the characters of stop, or to the end. */
static size_t length_until(const char *s, const char *stop)
{
	size_t n = 0;

	while (s[n] && !is_one_of(s[n], stop))
		n++;
	return n;
}

/* The same for a span. */
static size_t span_until(struct span x, const char *stop)
{
	size_t n = 0;

	while (n < x.len && !is_one_of(x.s[n], stop))
		n++;
	return n;
}

static bool span_is(struct span x, const char *word)
{
	return x.len == strlen(word) && memcmp(x.s, word, x.len) == 0;
}

/* Cuts x at the first c: x keeps what is before it, the rest is returned (empty if no c). */
static struct span span_cut(struct span *x, char c)
{
	struct span rest = {.s = x->s + x->len, .len = 0};
	size_t i;

	for (i = 0; i < x->len; i++) {
		if (x->s[i] != c)
			continue;
		rest.s = x->s + i + 1;
		rest.len = x->len - i - 1;
		x->len = i;
		break;
	}
	return rest;
}

/* A decimal number, all of x, in min..max. `what` is for the error. */
static int span_number(struct span x, uint64_t min, uint64_t max, const char *what, uint64_t *value,
	struct nm_error *r)
{
	uint64_t v = 0;
	size_t i;

	for (i = 0; i < x.len; i++) {
		if (!is_digit(x.s[i]))
			break;
		if (v > (max - (uint64_t)(x.s[i] - '0')) / 10)
			return FAIL(r, "%s %.*s is too large, at most %llu is possible", what,
				SPAN(x), (unsigned long long)max);
		v = v * 10 + (uint64_t)(x.s[i] - '0');
	}
	if (i < x.len || !x.len)
		return FAIL(r, "%s '%.*s' is not a number", what, SPAN(x));
	if (v < min)
		return FAIL(r, "%s %.*s is too small, at least %llu is needed", what, SPAN(x),
			(unsigned long long)min);
	*value = v;
	return 0;
}

/* ---- the name ------------------------------------------------------------------------- */

/* Bytes at the start of s that may stand in the id of a switch or of a pipe. */
static size_t id_length(const char *s)
{
	size_t n = 0;

	while (is_digit(s[n]) || (s[n] >= 'a' && s[n] <= 'z') || (s[n] >= 'A' && s[n] <= 'Z') ||
		s[n] == '_')
		n++;
	return n;
}

/* Takes "netmap:" off; leaves "valeID:" on. */
static int take_prefix(const char **p, struct nm_error *r)
{
	if (strncmp(*p, "netmap:", 7) == 0) {
		*p += 7;
		return 0;
	}
	if (strncmp(*p, "vale", 4) != 0)
		return FAIL(r, "a port name begins with netmap: or vale");
	if ((*p)[id_length(*p)] != ':')
		return FAIL(
			r, "a port of a switch is written valeID:PORT, ID of letters, digits, _");
	return 0;
}

/* Bytes of the name at s when a trailing -N is the number of a ring. */
static size_t name_length(const char *s, const struct nm_portspec_env *env)
{
	size_t len = length_until(s, "^*/@"), i = len;
	char whole[NETMAP_REQ_IFNAMSIZ];

	while (i > 0 && is_digit(s[i - 1]))
		i--;
	if (i == len || i < 2 || s[i - 1] != '-')
		return len;
	if (env && env->exists && len < sizeof(whole)) {
		memcpy(whole, s, len);
		whole[len] = '\0';
		if (env->exists(env->arg, whole))
			return len;
	}
	return i - 1;
}

/* Copies the name and has it checked by names.h. */
static int store_name(struct span x, char out[NETMAP_REQ_IFNAMSIZ], struct nm_error *r)
{
	struct nm_name parts;

	if (x.len >= NETMAP_REQ_IFNAMSIZ)
		return FAIL(r, "the name has %u bytes, at most %d are possible",
			(unsigned int)x.len, NETMAP_REQ_IFNAMSIZ - 1);
	memset(out, 0, NETMAP_REQ_IFNAMSIZ);
	memcpy(out, x.s, x.len);
	return nm_name_parse(out, &parts, r);
}

int nm_portspec_name(const char **p, const struct nm_portspec_env *env, struct nm_portspec *out,
	struct nm_error *err)
{
	const char *s = *p;
	struct span name;
	int ret;

	ret = take_prefix(&s, err);
	if (ret)
		return ret;
	name.s = s;
	name.len = name_length(s, env);
	ret = store_name(name, out->name, err);
	if (ret)
		return ret;
	*p = s + name.len;
	return 0;
}

/* ---- rings and flags ------------------------------------------------------------------ */

/* Digits at *p, as the number of a ring. */
static int take_ring_number(const char **p, struct nmreq_register *reg, struct nm_error *r)
{
	struct span x = {.s = *p, .len = 0};
	uint64_t v = 0;
	int ret;

	while (is_digit(x.s[x.len]))
		x.len++;
	ret = span_number(x, 0, MAX_16, "ring number", &v, r);
	if (ret)
		return ret;
	reg->nr_ringid = (uint16_t)v;
	*p += x.len;
	return 0;
}

static int take_rings(const char **p, struct nmreq_register *reg, struct nm_error *r)
{
	switch (**p) {
	case '*':
		reg->nr_mode = NR_REG_NIC_SW;
		(*p)++;
		return 0;
	case '-':
		reg->nr_mode = NR_REG_ONE_NIC;
		(*p)++;
		return take_ring_number(p, reg, r);
	case '^':
		reg->nr_mode = NR_REG_SW;
		(*p)++;
		if (!is_digit(**p))
			return 0;
		reg->nr_mode = NR_REG_ONE_SW;
		return take_ring_number(p, reg, r);
	default:
		reg->nr_mode = NR_REG_ALL_NIC;
		return 0;
	}
}

static int take_flags(const char **p, struct nmreq_register *reg, struct nm_error *r)
{
	const uint64_t only = NR_TX_RINGS_ONLY | NR_RX_RINGS_ONLY;
	uint64_t flags = 0;

	for (; **p && **p != '@'; (*p)++) {
		switch (**p) {
		case 'x':
			flags |= NR_EXCLUSIVE;
			break;
		case 't':
			flags |= NR_MONITOR_TX;
			break;
		case 'r':
			flags |= NR_MONITOR_RX;
			break;
		case 'z':
			flags |= NR_ZCOPY_MON;
			break;
		case 'T':
			flags |= NR_TX_RINGS_ONLY;
			break;
		case 'R':
			flags |= NR_RX_RINGS_ONLY;
			break;
		default:
			return FAIL(r, "unknown flag '%c' behind /, known are x t r z T R", **p);
		}
	}
	if (!flags)
		return FAIL(r, "no flag behind /, known are x t r z T R");
	if ((flags & only) == only)
		return FAIL(
			r, "the flags T (tx rings only) and R (rx rings only) exclude each other");
	reg->nr_flags |= flags;
	return 0;
}

/* @ID, in front of the flags, behind them, or the same in both places. */
static int set_region(struct span x, struct nm_portspec *out, struct nm_error *r)
{
	uint64_t id = 0;
	int ret = span_number(x, 1, MAX_16, "region id", &id, r);

	if (ret)
		return ret;
	if ((out->given & NM_SPEC_MEM_ID) && out->reg.nr_mem_id != id)
		return FAIL(r, "region id %.*s, and %u before", SPAN(x), out->reg.nr_mem_id);
	out->reg.nr_mem_id = (uint16_t)id;
	out->given |= NM_SPEC_MEM_ID;
	return 0;
}

/* @ID if flags follow it; else it is the first of the options. */
static int take_region(const char **p, struct nm_portspec *out, struct nm_error *r)
{
	struct span x = {.s = *p + 1, .len = 0};

	while (**p == '@' && is_digit(x.s[x.len]))
		x.len++;
	if (!x.len || x.s[x.len] != '/')
		return 0;
	*p = x.s + x.len;
	return set_region(x, out, r);
}

int nm_portspec_rings(const char **p, struct nm_portspec *out, struct nm_error *err)
{
	const char *s = *p;
	int ret;

	ret = take_rings(&s, &out->reg, err);
	if (!ret)
		ret = take_region(&s, out, err);
	if (!ret && *s == '/') {
		s++;
		ret = take_flags(&s, &out->reg, err);
	}
	if (!ret && *s && *s != '@') {
		struct span rest = {.s = s, .len = strlen(s)};

		ret = FAIL(err, "unknown suffix '%.*s'", SPAN(rest));
	}
	if (ret)
		return ret;
	*p = s;
	return 0;
}

/* ---- options -------------------------------------------------------------------------- */

/* A key of an option: its number goes to one or two members, all of them unsigned. */
struct key {
	const char *name;
	uint64_t max;
	unsigned int bytes; /* of the member */
	size_t offset[2];   /* in struct nm_portspec; 0: no second one */
	uint32_t
		given; /* its own bit of enum nm_portspec_option; 0: 0 is as if it were not there */
};

#define REG(member)    offsetof(struct nm_portspec, reg.member)
#define EXTMEM(member) offsetof(struct nm_portspec, extmem.member)

struct option {
	const char *name;
	uint32_t bit; /* enum nm_portspec_option */
	const char *default_key;
	/* Takes the value of the default key when that is no number. */
	int (*text)(struct span value, struct nm_portspec *out, struct nm_error *r);
	const struct key *keys; /* of the others */
};

static const struct key no_keys[] = {{NULL, 0, 0, {0}, 0}};

static const struct key conf_keys[] = {
	{"rings", MAX_16, 2, {REG(nr_tx_rings), REG(nr_rx_rings)}, 0},
	{"tx-rings", MAX_16, 2, {REG(nr_tx_rings)}, 0},
	{"rx-rings", MAX_16, 2, {REG(nr_rx_rings)}, 0},
	{"host-rings", MAX_16, 2, {REG(nr_host_tx_rings), REG(nr_host_rx_rings)}, 0},
	{"host-tx-rings", MAX_16, 2, {REG(nr_host_tx_rings)}, 0},
	{"host-rx-rings", MAX_16, 2, {REG(nr_host_rx_rings)}, 0},
	{"slots", MAX_32, 4, {REG(nr_tx_slots), REG(nr_rx_slots)}, 0},
	{"tx-slots", MAX_32, 4, {REG(nr_tx_slots)}, 0},
	{"rx-slots", MAX_32, 4, {REG(nr_rx_slots)}, 0},
	{"full-wait-ms", NM_PORTSPEC_FULL_WAIT_MAX, 4, {offsetof(struct nm_portspec, full_wait_ms)},
		NM_SPEC_FULL_WAIT},
	{NULL, 0, 0, {0}, 0},
};

static const struct key extmem_keys[] = {
	{"if-num", MAX_32, 4, {EXTMEM(nr_if_pool_objtotal)}, 0},
	{"if-size", MAX_32, 4, {EXTMEM(nr_if_pool_objsize)}, 0},
	{"ring-num", MAX_32, 4, {EXTMEM(nr_ring_pool_objtotal)}, 0},
	{"ring-size", MAX_32, 4, {EXTMEM(nr_ring_pool_objsize)}, 0},
	{"buf-num", MAX_32, 4, {EXTMEM(nr_buf_pool_objtotal)}, 0},
	{"buf-size", MAX_32, 4, {EXTMEM(nr_buf_pool_objsize)}, 0},
	{NULL, 0, 0, {0}, 0},
};

static const struct key offset_keys[] = {
	{"initial", MAX_64, 8, {offsetof(struct nm_portspec, offset.initial)}, 0},
	{"bits", 64, 4, {offsetof(struct nm_portspec, offset.bits)}, 0},
	{NULL, 0, 0, {0}, 0},
};

static void store(struct nm_portspec *out, size_t offset, unsigned int bytes, uint64_t value)
{
	uint16_t v16 = (uint16_t)value;
	uint32_t v32 = (uint32_t)value;
	char *to = (char *)out + offset;

	if (bytes == 2)
		memcpy(to, &v16, 2);
	else if (bytes == 4)
		memcpy(to, &v32, 4);
	else
		memcpy(to, &value, 8);
}

/* Words of a key are joined by - or by _. */
static bool is_key(struct span x, const char *key)
{
	if (x.len != strlen(key))
		return false;
	for (size_t i = 0; i < x.len; i++)
		if (x.s[i] != key[i] && !(x.s[i] == '_' && key[i] == '-'))
			return false;
	return true;
}

/* key=value of an option. */
static int set_key(const char *option, const struct key *keys, struct span name, struct span value,
	struct nm_portspec *out, struct nm_error *r)
{
	const struct key *k = keys;
	uint64_t v;
	int ret;

	while (k->name && !is_key(name, k->name))
		k++;
	if (!k->name)
		return FAIL(r, "unknown key '%.*s' of @%s", SPAN(name), option);
	ret = span_number(value, 0, k->max, k->name, &v, r); /* a count or size of 0: the default */
	if (ret)
		return ret;
	out->given |= k->given;
	store(out, k->offset[0], k->bytes, v);
	if (k->offset[1])
		store(out, k->offset[1], k->bytes, v);
	return 0;
}

static int set_file(struct span path, struct nm_portspec *out, struct nm_error *r)
{
	if (!path.len || path.len >= sizeof(out->extmem_file))
		return FAIL(r, "@extmem: file needs a path of 1 to %d bytes", NM_PORTSPEC_FILE - 1);
	memcpy(out->extmem_file, path.s, path.len);
	out->extmem_file[path.len] = '\0';
	return 0;
}

static int set_share(struct span value, struct nm_portspec *out, struct nm_error *r)
{
	/* A span is not ended by 0, and take_prefix() wants a string. */
	char text[NETMAP_REQ_IFNAMSIZ + 8];
	const char *p = text;
	struct span name;
	int ret;

	if (!value.len || value.len >= sizeof(text))
		return FAIL(r, "@share= needs the name of a port, as netmap:NAME or valeID:PORT");
	memcpy(text, value.s, value.len);
	text[value.len] = '\0';
	/* The name may stand alone. */
	if (strncmp(p, "netmap:", 7) == 0 || strncmp(p, "vale", 4) == 0) {
		ret = take_prefix(&p, r);
		if (ret)
			return ret;
	}
	name.s = p;
	name.len = strlen(p);
	return store_name(name, out->share, r);
}

static int set_one(const struct option *o, struct span key, struct span value,
	struct nm_portspec *out, struct nm_error *r)
{
	if (o->text && is_key(key, o->default_key))
		return o->text(value, out, r);
	return set_key(o->name, o->keys, key, value, out, r);
}

/* K=V,K=V,…; where the option has a default key, the first may be a value alone. */
static int set_keys(const struct option *o, struct span list, bool value_first,
	struct nm_portspec *out, struct nm_error *r)
{
	if (list.len && list.s[list.len - 1] == ',')
		return FAIL(r, "@%s: nothing behind the last comma; it takes key=value", o->name);
	while (list.len || value_first) {
		struct span key = list, value;
		int ret;

		list = span_cut(&key, ',');
		value = key;
		if (value_first)
			key = (struct span){o->default_key, strlen(o->default_key)};
		else
			value = span_cut(&key, '=');
		value_first = false;
		ret = set_one(o, key, value, out, r);
		if (ret)
			return ret;
	}
	return 0;
}

static const struct option options[] = {
	{"share", NM_SPEC_SHARE, "port", set_share, no_keys},
	{"conf", NM_SPEC_CONF, NULL, NULL, conf_keys},
	{"extmem", NM_SPEC_EXTMEM, "file", set_file, extmem_keys},
	{"offset", NM_SPEC_OFFSET, "initial", NULL, offset_keys},
	{NULL, 0, NULL, NULL, NULL},
};

/* NAME:K=V,…, or NAME=V with the default key. */
static int take_option(struct span x, struct nm_portspec *out, struct nm_error *r)
{
	const struct option *o = options;
	struct span name = x, rest;
	bool value_first;
	int ret;

	if (x.len && is_digit(x.s[0]))
		return set_region(x, out, r);
	name.len = span_until(x, ":=");
	while (o->name && !span_is(name, o->name))
		o++;
	value_first = name.len < x.len && x.s[name.len] == '=';
	if (!o->name || (value_first && !o->default_key))
		return FAIL(r,
			"unknown option '@%.*s', known are @ID @share= @conf: @extmem: @offset:",
			SPAN(x));
	if (out->given & o->bit)
		return FAIL(r, "the option @%s is given twice", o->name);
	rest = (struct span){
		x.s + name.len + (name.len < x.len), x.len - name.len - (name.len < x.len)};
	if (!rest.len && !value_first && o->bit != NM_SPEC_CONF)
		return FAIL(r, "@%s: needs key=value, separated by commas", o->name);
	ret = set_keys(o, rest, value_first, out, r);
	if (!ret)
		out->given |= o->bit;
	return ret;
}

int nm_portspec_options(const char **p, struct nm_portspec *out, struct nm_error *err)
{
	const char *s = *p;
	int ret;

	while (*s == '@') {
		struct span x = {.s = s + 1, .len = length_until(s + 1, "@")};

		ret = take_option(x, out, err);
		if (ret)
			return ret;
		s = x.s + x.len;
	}
	if (*s) {
		struct span rest = {.s = s, .len = strlen(s)};

		return FAIL(err, "unknown suffix '%.*s'", SPAN(rest));
	}
	if ((out->given & NM_SPEC_MEM_ID) && (out->given & NM_SPEC_SHARE))
		return FAIL(err, "@ID and @share= both say which region to use");
	if ((out->given & NM_SPEC_EXTMEM) && !out->extmem_file[0])
		return FAIL(err, "@extmem: needs file=PATH");
	*p = s;
	return 0;
}

int nm_portspec_parse(const char *text, const struct nm_portspec_env *env, struct nm_portspec *out,
	struct nm_error *err)
{
	struct nm_error why;
	const char *p = text;
	int ret;

	memset(out, 0, sizeof(*out));
	ret = nm_portspec_name(&p, env, out, &why);
	if (!ret)
		ret = nm_portspec_rings(&p, out, &why);
	if (!ret)
		ret = nm_portspec_options(&p, out, &why);
	if (ret)
		nm_error_set(err, why.code, "%.80s: %s", text, why.text);
	return ret;
}

const char *nm_portspec_option_name(enum nm_portspec_option option)
{
	switch (option) {
	case NM_SPEC_MEM_ID:
		return "ID";
	case NM_SPEC_SHARE:
		return "share";
	case NM_SPEC_CONF:
		return "conf";
	case NM_SPEC_EXTMEM:
		return "extmem";
	case NM_SPEC_OFFSET:
		return "offset";
	case NM_SPEC_FULL_WAIT:
		return "conf";
	}
	return NULL;
}
