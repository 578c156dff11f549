/* SPDX-License-Identifier: BSD-2-Clause */
#include "command.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "opts.h"

enum member { TEXT, NUMBER, SWITCH };

/* Keys of ptnet-pci that vfio-user-pci has as well, and what they are in JSON. */
static const struct {
	const char *key;
	enum member kind;
} passed_on[] = {
	{"id", TEXT},
	{"bus", TEXT},
	{"addr", TEXT},
	{"multifunction", SWITCH},
	{"acpi-index", NUMBER},
};

/* The JSON argument of one vfio-user device; `device` may be NULL. */
static char *vfio_user(const char *path, const struct opts *device)
{
	char *quoted = text_json(path), *out, *more;

	out = text_format(
		"{\"driver\":\"vfio-user-pci\",\"socket\":{\"type\":\"unix\",\"path\":%s}", quoted);
	free(quoted);
	for (size_t i = 0; device && i < sizeof(passed_on) / sizeof(passed_on[0]); i++) {
		const char *value = opts_get(device, passed_on[i].key);

		if (!value)
			continue;
		if (passed_on[i].kind == SWITCH)
			quoted = text_dup(opts_bool(value) == 1 ? "true" : "false");
		else if (passed_on[i].kind == NUMBER)
			quoted = text_format("%lu", strtoul(value, NULL, 10));
		else
			quoted = text_json(value);
		more = text_format("%s,\"%s\":%s", out, passed_on[i].key, quoted);
		free(quoted);
		free(out);
		out = more;
	}
	more = text_format("%s}", out);
	free(out);
	return more;
}

static void add_accel(const struct command *c, struct text_argv *out)
{
	bool kvm = c->accel == COMMAND_ACCEL_KVM;

	if (c->accel == COMMAND_ACCEL_USER)
		return;
	text_argv_add(out, "-accel");
	text_argv_add(out, kvm ? "kvm" : "tcg,thread=multi");
	if (c->add_cpu) {
		text_argv_add(out, "-cpu");
		text_argv_add(out, kvm ? "host" : "max");
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

/* One memory device per region, in the order of the ports. */
static void add_mem_devices(const struct command *c, struct text_argv *out)
{
	for (size_t i = 0; i < c->ports->count; i++) {
		size_t k = 0;

		while (strcmp(c->sockets[k].mem_path, c->sockets[i].mem_path))
			k++;
		if (k < i)
			continue;
		text_argv_add(out, "-device");
		text_argv_take(out, vfio_user(c->sockets[i].mem_path, NULL));
	}
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

		if (scan_is(a, "net") || scan_is(a, "nic") ||
			(scan_is(a, "netdev") && !port_of(c, i, &is_device)))
			return true;
	}
	return false;
}

void command_build(const struct command *c, struct text_argv *out)
{
	bool first = true, is_device;

	text_argv_add(out, c->qemu);
	add_accel(c, out);
	add_memory(c->memory, out);
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
			add_mem_devices(c, out);
		first = false;
		text_argv_add(out, "-device");
		text_argv_take(
			out, vfio_user(c->sockets[port - c->ports->port].net_path, &port->device));
	}
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
