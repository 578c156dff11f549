/* SPDX-License-Identifier: BSD-2-Clause */
#include "scan.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "memory.h"
#include "proto.h"

/* Options of QEMU (x86, 5.0 to 11.1) that take no argument, and old ones that are gone. */
static const char *const flags[] = {
	"S",
	"alt-grab",
	"ctrl-grab",
	"curses",
	"daemonize",
	"enable-fips",
	"enable-hax",
	"enable-kvm",
	"enable-sync-profile",
	"full-screen",
	"h",
	"help",
	"jitdump",
	"mem-prealloc",
	"no-acpi",
	"no-fd-bootchk",
	"no-frame",
	"no-hpet",
	"no-kvm",
	"no-quit",
	"no-reboot",
	"no-shutdown",
	"no-user-config",
	"nodefaults",
	"nodefconfig",
	"nographic",
	"nouserconfig",
	"old-param",
	"one-insn-per-tb",
	"only-migratable",
	"perfmap",
	"portrait",
	"preconfig",
	"s",
	"sdl",
	"semihosting",
	"singlestep",
	"snapshot",
	"usb",
	"version",
	"win2k-hack",
	"xen-attach",
	"xen-domid-restrict",
};

bool scan_is_flag(const char *name)
{
	for (size_t i = 0; i < sizeof(flags) / sizeof(flags[0]); i++)
		if (!strcmp(flags[i], name))
			return true;
	return false;
}

static int take_bar_min(struct scan *s, const char *text, char err[TEXT_ERR])
{
	uint64_t bytes;

	if (!text)
		return 0;
	if (memory_parse_size(text, &bytes) < 0 || (bytes & (bytes - 1)) ||
		bytes < NMD_BAR_SMALLEST || bytes > NMD_BAR_LARGEST)
		return text_fail(-EINVAL, err,
			"--bar-min %.50s: not a power of two from 1M to 1T, like 256M or 4G", text);
	s->bar_min = bytes;
	return 0;
}

/* One option of our own at argv[*i]: 1, *i moved behind it; 0: not ours; or -EINVAL. */
static int own_option(struct scan *s, int argc, char **argv, int *i, char err[TEXT_ERR])
{
	const char *bar_min = NULL;
	const struct {
		const char *name;
		bool *flag;
		const char **value;
	} own[] = {
		{"--help", &s->help, NULL},
		{"--version", &s->version, NULL},
		{"--print", &s->print, NULL},
		{"--libvirt-xml", &s->libvirt_xml, NULL},
		{"--quiet", &s->quiet, NULL},
		{"--qemu", NULL, &s->qemu},
		{"--netmapd", NULL, &s->netmapd},
		{"--socket", NULL, &s->socket},
		{"--hold", NULL, &s->hold},
		{"--bar-min", NULL, &bar_min},
	};
	const char *word = argv[*i];

	for (size_t k = 0; k < sizeof(own) / sizeof(own[0]); k++) {
		size_t n = strlen(own[k].name);
		const char *value;
		int error;

		if (strncmp(word, own[k].name, n) || (word[n] && word[n] != '='))
			continue;
		if (own[k].flag && word[n])
			return text_fail(-EINVAL, err, "%s takes no value", own[k].name);
		if (own[k].flag) {
			*own[k].flag = true;
			*i += 1;
			return 1;
		}
		value = word[n] ? word + n + 1 : *i + 1 < argc ? argv[*i + 1] : "";
		if (!value[0])
			return text_fail(-EINVAL, err, "%s needs a %s", own[k].name,
				own[k].value == &bar_min ? "size" : "path");
		*own[k].value = value;
		*i += word[n] ? 1 : 2;
		error = take_bar_min(s, bar_min, err);
		return error ? error : 1;
	}
	return 0;
}

int scan_parse(struct scan *s, int argc, char **argv, char err[TEXT_ERR])
{
	int i = 1;

	memset(s, 0, sizeof(*s));
	s->arg = text_realloc(NULL, argc, sizeof(s->arg[0]));
	while (i < argc) {
		struct scan_arg *a = &s->arg[s->count];
		int own = own_option(s, argc, argv, &i, err);

		if (own < 0)
			return own;
		if (own)
			continue;
		memset(a, 0, sizeof(*a));
		s->count++;
		a->word = argv[i++];
		if (a->word[0] != '-')
			continue;
		a->name = a->word + (a->word[1] == '-' ? 2 : 1);
		if (!scan_is_flag(a->name) && i < argc)
			a->value = argv[i++];
	}
	return 0;
}

void scan_free(struct scan *s)
{
	free(s->arg);
	memset(s, 0, sizeof(*s));
}

bool scan_is(const struct scan_arg *a, const char *name)
{
	return a->name && a->value && !strcmp(a->name, name);
}

bool scan_find_id(
	const struct scan *s, const char *name, const char *implied, const char *id, struct opts *o)
{
	for (size_t i = 0; i < s->count; i++) {
		const char *has;

		if (!scan_is(&s->arg[i], name))
			continue;
		opts_parse(o, s->arg[i].value, implied);
		has = opts_get(o, "id");
		if (has && !strcmp(has, id))
			return true;
		opts_free(o);
	}
	return false;
}

bool scan_has_id(const struct scan *s, const char *name, const char *implied, const char *id)
{
	struct opts o;

	if (!scan_find_id(s, name, implied, id, &o))
		return false;
	opts_free(&o);
	return true;
}
