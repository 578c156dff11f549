/* SPDX-License-Identifier: BSD-2-Clause */
#include "command.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "blocker.h"
#include "opts.h"

enum member { TEXT, NUMBER, SWITCH };

/* A key of ptnet-pci, and what vfio-user-pci calls it in JSON. */
struct passed_on {
	const char *key, *name;
	enum member kind;
};

static const struct passed_on net_keys[] = {
	{"bus", "bus", TEXT},
	{"addr", "addr", TEXT},
	{"multifunction", "multifunction", SWITCH},
	{"acpi-index", "acpi-index", NUMBER},
	{NULL},
};

static const struct passed_on mem_keys[] = {
	{"mem-bus", "bus", TEXT},
	{"mem-addr", "addr", TEXT},
	{NULL},
};

/* Adds a member to a JSON object that isn't closed yet; replaces `*object`. */
static void add_member(char **object, const char *name, const char *json)
{
	char *more = text_format("%s,\"%s\":%s", *object, name, json);

	free(*object);
	*object = more;
}

static void add_text(char **object, const char *name, const char *text)
{
	char *quoted = text_json(text);

	add_member(object, name, quoted);
	free(quoted);
}

/* The JSON argument of one vfio-user device, with what `device` says of `keys`. */
static char *vfio_user(
	const char *path, const char *id, const struct opts *device, const struct passed_on *keys)
{
	char *quoted = text_json(path), *out, *closed;

	out = text_format(
		"{\"driver\":\"vfio-user-pci\",\"socket\":{\"type\":\"unix\",\"path\":%s}", quoted);
	free(quoted);
	add_text(&out, "id", id);
	for (; keys->key; keys++) {
		const char *value = opts_get(device, keys->key);

		if (!value)
			continue;
		quoted = text_format("%lu", strtoul(value, NULL, 10));
		if (keys->kind == SWITCH)
			add_member(&out, keys->name, opts_bool(value) == 1 ? "true" : "false");
		else if (keys->kind == NUMBER)
			add_member(&out, keys->name, quoted);
		else
			add_text(&out, keys->name, value);
		free(quoted);
	}
	closed = text_format("%s}", out);
	free(out);
	return closed;
}

/* An id that no other device has: the wished one, with a number behind it if need be. */
static char *free_id(const struct scan *s, const char *wished)
{
	for (unsigned int n = 0;; n++) {
		char *id = n ? text_format("%s.%u", wished, n) : text_dup(wished);

		if (!scan_has_id(s, "device", "driver", id))
			return id;
		free(id);
	}
}

/*
 * The CPU of emulation: all that QEMU can do, but what says that `rep movsb` and `rep stosb` are fast. QEMU does them
 * a byte at a time, and a guest that is told so uses them for all copies; without it copies by words.
 */
#define EMULATED_CPU "max,erms=off,fsrm=off,fsrs=off,fzrm=off"

static void add_accel(const struct command *c, struct text_argv *out)
{
	bool kvm = c->accel == COMMAND_ACCEL_KVM;

	if (c->accel == COMMAND_ACCEL_USER)
		return;
	text_argv_add(out, "-accel");
	text_argv_add(out, kvm ? "kvm" : "tcg,thread=multi");
	if (c->add_cpu) {
		text_argv_add(out, "-cpu");
		text_argv_add(out, kvm ? "host" : EMULATED_CPU);
	}
}

static void add_memory(const struct memory *m, struct text_argv *out)
{
	if (!m->add)
		return;
	text_argv_add(out, "-object");
	text_argv_take(out, text_format("memory-backend-memfd,id=%s,size=%" PRIu64 ",share=on",
				    m->id, m->bytes));
	text_argv_add(out, "-machine");
	text_argv_take(out, text_format("memory-backend=%s", m->id));
}

/* The first port in the same region as port i. */
static size_t first_of_region(const struct command *c, size_t i)
{
	size_t k = 0;

	while (strcmp(c->sockets[k].mem_path, c->sockets[i].mem_path))
		k++;
	return k;
}

/* Do two ports of one region say different things of its memory device? */
static int check_mem_options(const struct command *c, char err[TEXT_ERR])
{
	static const char *const keys[] = {"mem-id", "mem-bus", "mem-addr"};
	const struct port *port = c->ports->port;

	for (size_t i = 0; i < c->ports->count; i++)
		for (size_t n = 0; n < i * sizeof(keys) / sizeof(keys[0]); n++) {
			const char *key = keys[n % (sizeof(keys) / sizeof(keys[0]))];
			size_t k = n / (sizeof(keys) / sizeof(keys[0]));
			const char *one = opts_get(&port[k].device, key);
			const char *other = opts_get(&port[i].device, key);

			if (one && other && strcmp(one, other) &&
				first_of_region(c, k) == first_of_region(c, i))
				return text_fail(-EINVAL, err,
					"-device ptnet-pci,netdev=%.100s: %s=%.50s, but netdev=%.100s, which "
					"has the same memory device, says %.50s",
					port[i].id, key, other, port[k].id, one);
		}
	return 0;
}

/* What the ports of the region of port i, its first one, say of its memory device. */
static void mem_options(const struct command *c, size_t i, struct opts *o)
{
	memset(o, 0, sizeof(*o));
	for (size_t k = i; k < c->ports->count; k++) {
		const struct opts *device = &c->ports->port[k].device;

		if (first_of_region(c, k) != i)
			continue;
		for (size_t m = 0; m < device->count; m++)
			if (!strncmp(device->opt[m].key, "mem-", 4))
				opts_add(o, device->opt[m].key, device->opt[m].value);
	}
}

/* Does the user say where the memory device is to be? */
static bool is_placed(const struct opts *mem)
{
	return opts_has(mem, "mem-addr") || opts_has(mem, "mem-bus");
}

/*
 * The memory devices, one per region, in the order of the ports: those that the user
 * has placed, or those that QEMU places.
 */
static void add_mem_devices(const struct command *c, bool placed, struct text_argv *out)
{
	unsigned int number = 0;

	for (size_t i = 0; i < c->ports->count; i++) {
		struct opts mem;
		char *id;

		if (first_of_region(c, i) != i)
			continue;
		mem_options(c, i, &mem);
		id = text_format("ptnet-mem%u", number++);
		if (is_placed(&mem) == placed) {
			const char *given = opts_get(&mem, "mem-id");
			char *unique = given ? text_dup(given) : free_id(c->scan, id);

			text_argv_add(out, "-device");
			text_argv_take(
				out, vfio_user(c->sockets[i].mem_path, unique, &mem, mem_keys));
			free(unique);
		}
		free(id);
		opts_free(&mem);
	}
}

static void add_net_device(const struct command *c, const struct port *port, struct text_argv *out)
{
	const char *path = c->sockets[port - c->ports->port].net_path;
	const char *given = opts_get(&port->device, "id");
	char *wished = text_format("ptnet-%s", port->id);
	char *id = given ? text_dup(given) : free_id(c->scan, wished);

	text_argv_add(out, "-device");
	text_argv_take(out, vfio_user(path, id, &port->device, net_keys));
	free(id);
	free(wished);
}

/*
 * May a device that QEMU places get the address of one that comes later? QEMU gives a
 * device without an address the first free one, at its turn.
 */
static bool addresses_given(const struct scan *s)
{
	for (size_t i = 0; i < s->count; i++) {
		struct opts o;
		bool given;

		if (scan_is(&s->arg[i], "readconfig") || scan_is(&s->arg[i], "set"))
			return true;
		if (!scan_is(&s->arg[i], "device") && !scan_is(&s->arg[i], "nic"))
			continue;
		opts_parse(&o, s->arg[i].value, NULL);
		given = opts_has(&o, "addr") || opts_has(&o, "mem-addr");
		opts_free(&o);
		if (given)
			return true;
	}
	return false;
}

static const struct port *port_of(const struct command *c, size_t arg, bool *is_device)
{
	for (size_t i = 0; i < c->ports->count; i++) {
		const struct port *port = &c->ports->port[i];

		*is_device = port->device_arg == arg;
		if (*is_device || port->netdev_arg == arg)
			return port;
	}
	return NULL;
}

static void add_word(const struct scan_arg *a, struct text_argv *out)
{
	text_argv_add(out, a->word);
	if (a->value)
		text_argv_add(out, a->value);
}

/* Is there a network option besides our own netdevs? */
static bool has_other_network(const struct command *c)
{
	bool is_device;

	for (size_t i = 0; i < c->scan->count; i++) {
		const struct scan_arg *a = &c->scan->arg[i];

		if ((scan_is(a, "net") || scan_is(a, "nic") || scan_is(a, "netdev")) &&
			!port_of(c, i, &is_device))
			return true;
	}
	return false;
}

int command_build(const struct command *c, struct text_argv *out, char err[TEXT_ERR])
{
	bool first = true, last = addresses_given(c->scan), is_device;
	int ret = check_mem_options(c, err);

	if (ret < 0)
		return ret;
	text_argv_add(out, c->qemu);
	add_accel(c, out);
	add_memory(c->memory, out);
	if (c->blocker > 0)
		blocker_args(c->blocker, out);
	if (!has_other_network(c)) {
		text_argv_add(out, "-nic");
		text_argv_add(out, "none");
	}

	for (size_t i = 0; i < c->scan->count; i++) {
		const struct port *port = port_of(c, i, &is_device);

		if (!port) {
			add_word(&c->scan->arg[i], out);
			continue;
		}
		if (!is_device)
			continue;
		if (first)
			add_mem_devices(c, true, out);
		if (first && !last)
			add_mem_devices(c, false, out);
		first = false;
		add_net_device(c, port, out);
	}
	if (last)
		add_mem_devices(c, false, out);
	return 0;
}

int command_devices(const struct command *c, struct text_argv *out, char err[TEXT_ERR])
{
	int ret = check_mem_options(c, err);

	if (ret < 0)
		return ret;
	add_mem_devices(c, true, out);
	add_mem_devices(c, false, out);
	for (size_t i = 0; i < c->ports->count; i++)
		add_net_device(c, &c->ports->port[i], out);
	return 0;
}

void command_plain(const char *qemu, const struct scan *s, struct text_argv *out)
{
	text_argv_add(out, qemu);
	for (size_t i = 0; i < s->count; i++)
		add_word(&s->arg[i], out);
}

int command_print(const struct text_argv *a, FILE *f)
{
	for (size_t i = 0; i < a->count; i++) {
		char *quoted = text_shell(a->v[i]);

		fprintf(f, "%s%s", i ? " " : "", quoted);
		free(quoted);
	}
	fputc('\n', f);
	return fflush(f) || ferror(f) ? -EIO : 0;
}

void command_vm_name(const struct scan *s, char *out, size_t size)
{
	out[0] = '\0';
	for (size_t i = 0; i < s->count; i++) {
		const char *name;
		struct opts o;

		if (!scan_is(&s->arg[i], "name"))
			continue;
		opts_parse(&o, s->arg[i].value, "guest");
		name = opts_get(&o, "guest");
		if (name)
			snprintf(out, size, "%s", name);
		opts_free(&o);
	}
}
