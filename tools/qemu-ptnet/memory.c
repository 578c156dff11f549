/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The guest's RAM must be a file that netmapd can map: shared, and sealed against shrinking. Where
 * the user has given memfd backends of his own they are checked; else one is added, of the size
 * that -m says, under an id that is free.
 */
#include "memory.h"

#include <ctype.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "opts.h"

enum {
	RAM_ALIGN = 8192,    /* QEMU rounds the size of RAM up to this */
	FRACTION_DIGITS = 9, /* of 1.5G that are looked at */
};

/* Bytes of the suffix; 0: there is no such suffix. */
static uint64_t unit_of(const char *suffix)
{
	static const char letters[] = "BKMGTPE";
	const char *l;

	if (!suffix[0])
		return 1ULL << 20;
	l = strchr(letters, toupper((unsigned char)suffix[0]));
	if (!l || suffix[1])
		return 0;
	return 1ULL << (10 * (l - letters));
}

int memory_parse_size(const char *text, uint64_t *bytes)
{
	uint64_t whole = 0, fraction = 0, scale = 1, unit;
	bool has_point = false;
	unsigned __int128 total;

	if (!isdigit((unsigned char)*text))
		return -EINVAL;
	for (; isdigit((unsigned char)*text); text++) {
		whole = whole * 10 + (*text - '0');
		if (whole >> 60)
			return -EINVAL;
	}
	if (*text == '.') {
		has_point = true;
		for (text++; isdigit((unsigned char)*text); text++) {
			if (scale >= 1000000000)
				continue;
			fraction = fraction * 10 + (*text - '0');
			scale *= 10;
		}
	}
	unit = unit_of(text);
	if (!unit || (has_point && !text[0]))
		return -EINVAL;

	total = (unsigned __int128)whole * unit + (unsigned __int128)fraction * unit / scale;
	if (total >> 62)
		return -EINVAL;
	*bytes = ((uint64_t)total + RAM_ALIGN - 1) / RAM_ALIGN * RAM_ALIGN;
	return 0;
}

/* Size of the guest's RAM: the last -m that has one. */
static int ram_size(const struct scan *s, uint64_t *bytes, char err[TEXT_ERR])
{
	*bytes = MEMORY_DEFAULT_BYTES;
	for (size_t i = 0; i < s->count; i++) {
		struct opts o;
		const char *size;
		int ret = 0;

		if (!scan_is(&s->arg[i], "m"))
			continue;
		opts_parse(&o, s->arg[i].value, "size");
		size = opts_get(&o, "size");
		if (size && memory_parse_size(size, bytes) < 0)
			ret = text_fail(-EINVAL, err,
				"-m %.100s: '%.50s' is no size of memory like 512, 512M or 2G",
				s->arg[i].value, size);
		opts_free(&o);
		if (ret < 0)
			return ret;
		if (*bytes == 0)
			*bytes = MEMORY_DEFAULT_BYTES; /* so does QEMU */
	}
	return 0;
}

/* An option whose key names a backend of guest memory. */
struct use {
	const char *name, *implied, *key;
	const char *driver; /* only with this driver=; NULL: always */
};

static const struct use machine_uses[] = {
	{"machine", "type", "memory-backend", NULL},
	{"M", "type", "memory-backend", NULL},
	{"numa", "type", "memdev", NULL},
};

static const struct use dimm_uses[] = {
	{"device", "driver", "memdev", "pc-dimm"},
	{"device", "driver", "memdev", "virtio-mem"},
	{"device", "driver", "memdev", "virtio-mem-pci"},
};

/* Why netmapd can't use the backend, or NULL. share and seal of a memfd are on unless told otherwise. */
static const char *backend_fault(const struct opts *o)
{
	const char *type = opts_get(o, "qom-type");
	const char *share = opts_get(o, "share"), *seal = opts_get(o, "seal");

	if (!type || strcmp(type, "memory-backend-memfd"))
		return "must be a memory-backend-memfd, whose size is sealed (it has hugetlb=on, too)";
	if (share && opts_bool(share) != 1)
		return "must be shared with netmapd: set share=on";
	if (seal && opts_bool(seal) != 1)
		return "must have a sealed size, or netmapd won't use it: set seal=on";
	return NULL;
}

/* Can netmapd use the backend `id`, named by `use`? */
static int check_backend(
	const struct scan *s, const char *id, const struct use *use, char err[TEXT_ERR])
{
	const char *fault;
	struct opts o;

	if (!scan_find_id(s, "object", "qom-type", id, &o))
		return text_fail(-EINVAL, err, "-%s %s=%.100s: there is no -object with this id",
			use->name, use->key, id);
	fault = backend_fault(&o);
	opts_free(&o);
	if (!fault)
		return 0;
	return text_fail(
		-EINVAL, err, "-%s %s=%.100s: this memory %s", use->name, use->key, id, fault);
}

/* Each backend named by options of kind `use` must be shared. Sets *found if there is one. */
static int check_use(const struct scan *s, const struct use *use, bool *found, char err[TEXT_ERR])
{
	for (size_t i = 0; i < s->count; i++) {
		const char *id, *driver;
		struct opts o;
		int ret = 0;

		if (!scan_is(&s->arg[i], use->name))
			continue;
		opts_parse(&o, s->arg[i].value, use->implied);
		id = opts_get(&o, use->key);
		driver = use->driver ? opts_get(&o, "driver") : NULL;
		if (id && (!use->driver || (driver && !strcmp(driver, use->driver)))) {
			*found = true;
			ret = check_backend(s, id, use, err);
		}
		opts_free(&o);
		if (ret < 0)
			return ret;
	}
	return 0;
}

static int check_uses(
	const struct scan *s, const struct use *use, size_t count, bool *found, char err[TEXT_ERR])
{
	int ret = 0;

	for (size_t i = 0; i < count && ret == 0; i++)
		ret = check_use(s, &use[i], found, err);
	return ret;
}

static bool given(const struct scan *s, const char *name)
{
	for (size_t i = 0; i < s->count; i++)
		if (scan_is(&s->arg[i], name))
			return true;
	return false;
}

/* Sizes and places of RAM that can't be followed. */
static int check_unsupported(const struct scan *s, char err[TEXT_ERR])
{
	static const char *const machine[] = {"machine", "M"};

	if (given(s, "mem-path"))
		return text_fail(-EINVAL, err,
			"-mem-path doesn't share the memory: for huge pages use -object "
			"memory-backend-memfd,id=ram,size=N,hugetlb=on -machine memory-backend=ram");
	for (size_t i = 0; i < s->count; i++)
		for (size_t k = 0; k < 2; k++) {
			struct opts o;
			bool has;

			if (!scan_is(&s->arg[i], machine[k]))
				continue;
			opts_parse(&o, s->arg[i].value, "type");
			has = opts_has(&o, "memory.size") || opts_has(&o, "memory");
			opts_free(&o);
			if (has)
				return text_fail(-EINVAL, err,
					"-machine memory.size: give the size of the memory with -m");
		}
	return 0;
}

static char *free_id(const struct scan *s)
{
	for (unsigned int n = 0;; n++) {
		char *id = n ? text_format("ptnet-ram%u", n) : text_dup("ptnet-ram");

		if (!scan_has_id(s, "object", "qom-type", id))
			return id;
		free(id);
	}
}

int memory_plan(struct memory *m, const struct scan *s, char err[TEXT_ERR])
{
	bool own = false, dimm = false;
	int ret;

	memset(m, 0, sizeof(*m));
	ret = check_unsupported(s, err);
	if (ret == 0)
		ret = check_uses(
			s, machine_uses, sizeof(machine_uses) / sizeof(machine_uses[0]), &own, err);
	if (ret == 0)
		ret = check_uses(
			s, dimm_uses, sizeof(dimm_uses) / sizeof(dimm_uses[0]), &dimm, err);
	if (ret == 0)
		ret = ram_size(s, &m->bytes, err);
	if (ret < 0 || own)
		return ret;
	m->add = true;
	m->id = free_id(s);
	return 0;
}

void memory_free(struct memory *m)
{
	free(m->id);
	memset(m, 0, sizeof(*m));
}
