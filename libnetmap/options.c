/* SPDX-License-Identifier: BSD-2-Clause */
/* Options of a registration that the library makes itself: extmem and offsets. */
#include "internal.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

/* Options of names, by name. */
static struct {
	const char *name;
	bool disabled;
} name_options[] = {
	{"share", false},
	{"conf", false},
	{"extmem", false},
	{"offset", false},
};

enum { NAME_OPTIONS = sizeof(name_options) / sizeof(name_options[0]) };

static int find_name_option(const char *option)
{
	for (int i = 0; i < NAME_OPTIONS; i++)
		if (strcmp(name_options[i].name, option) == 0)
			return i;
	return -1;
}

void nmport_disable_option(const char *option)
{
	int i = find_name_option(option);

	if (i >= 0)
		name_options[i].disabled = true;
	else
		errno = ENOENT;
}

int nmport_enable_option(const char *option)
{
	int i = find_name_option(option);

	if (i < 0) {
		errno = ENOENT;
		return -1;
	}
	name_options[i].disabled = false;
	return 0;
}

int nmlib_option_enabled(const char *option)
{
	int i = find_name_option(option);

	return i >= 0 && !name_options[i].disabled;
}

/* An option of `size` bytes on d's list; NULL with errno, reported. */
static void *push(struct nmport_d *d, uint32_t reqtype, size_t size)
{
	struct nmreq_option *opt;

	if (d->register_done) {
		nmlib_fail(d->ctx, -EBUSY, d->hdr.nr_name,
			"options must be set before the registration");
		return NULL;
	}
	opt = nmctx_malloc(d->ctx, size);
	if (!opt) {
		nmlib_fail(d->ctx, -ENOMEM, d->hdr.nr_name, "no memory for an option");
		return NULL;
	}
	memset(opt, 0, size);
	opt->nro_reqtype = reqtype;
	nmreq_push_option(&d->hdr, opt);
	return opt;
}

int nmport_extmem(struct nmport_d *d, void *base, size_t size)
{
	if (d->extmem)
		return nmlib_fail(d->ctx, -EBUSY, d->hdr.nr_name, "external memory is set already");
	d->extmem = push(d, NETMAP_REQ_OPT_EXTMEM, sizeof(*d->extmem));
	if (!d->extmem)
		return -1;
	d->extmem->nro_usrptr = (uintptr_t)base;
	d->extmem->nro_info.nr_memsize = size;
	return 0;
}

/* Maps all of a file. 0 or a negative errno. */
static int map_file(const char *path, void **base, size_t *size)
{
	struct stat st;
	int fd, ret = 0;

	fd = open(path, O_RDWR | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	if (fstat(fd, &st) < 0)
		ret = -errno;
	else if (st.st_size <= 0)
		ret = -EINVAL;
	if (!ret) {
		*size = (size_t)st.st_size;
		*base = mmap(NULL, *size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
		if (*base == MAP_FAILED)
			ret = -errno;
	}
	close(fd);
	return ret;
}

int nmport_extmem_from_file(struct nmport_d *d, const char *path)
{
	struct nm_error why;
	size_t size = 0;
	void *base = NULL;
	int ret = map_file(path, &base, &size);

	if (ret < 0) {
		nm_error_set(&why, ret, "can't map %.128s: %s", path,
			ret == -EINVAL ? "the file is empty" : strerror(-ret));
		return nmlib_fail(d->ctx, ret, d->hdr.nr_name, why.text);
	}
	if (nmport_extmem(d, base, size) < 0) {
		ret = errno;
		munmap(base, size);
		errno = ret;
		return -1;
	}
	d->priv->extmem_map = base;
	d->priv->extmem_map_size = size;
	return 0;
}

struct nmreq_pools_info *nmport_extmem_getinfo(struct nmport_d *d)
{
	return d->extmem ? &d->extmem->nro_info : NULL;
}

int nmport_offset(
	struct nmport_d *d, uint64_t initial, uint64_t maxoff, uint64_t bits, uint64_t mingap)
{
	struct nmreq_opt_offsets *opt;

	if (d->priv->offsets)
		return nmlib_fail(d->ctx, -EBUSY, d->hdr.nr_name, "offsets are set already");
	if (bits > 64)
		return nmlib_fail(d->ctx, -EINVAL, d->hdr.nr_name, "an offset has at most 64 bits");
	opt = push(d, NETMAP_REQ_OPT_OFFSETS, sizeof(*opt));
	if (!opt)
		return -1;
	opt->nro_initial_offset = initial;
	opt->nro_max_offset = maxoff;
	opt->nro_offset_bits = (uint32_t)bits;
	opt->nro_min_gap = mingap;
	d->priv->offsets = opt;
	return 0;
}

void nmlib_free_options(struct nmport_d *d)
{
	struct nmport_priv *priv = d->priv;

	if (d->extmem) {
		nmreq_remove_option(&d->hdr, &d->extmem->nro_opt);
		nmctx_free(d->ctx, d->extmem);
		d->extmem = NULL;
	}
	if (priv->extmem_map) {
		munmap(priv->extmem_map, priv->extmem_map_size);
		priv->extmem_map = NULL;
	}
	if (priv->offsets) {
		nmreq_remove_option(&d->hdr, &priv->offsets->nro_opt);
		nmctx_free(d->ctx, priv->offsets);
		priv->offsets = NULL;
	}
}
