/* SPDX-License-Identifier: BSD-2-Clause */
/* Control requests: headers, lists of options, parts of names. */
#include "internal.h"

#include <errno.h>
#include <net/if.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "portspec.h"

static bool interface_exists(void *arg, const char *name)
{
	(void)arg;
	return strlen(name) < IF_NAMESIZE && if_nametoindex(name) != 0;
}

const struct nm_portspec_env nmlib_env = {.exists = interface_exists};

int nmlib_fail(struct nmctx *ctx, int error, const char *what, const char *why)
{
	size_t len = strlen(what);

	/* netmapd's texts often begin with the name of the port already. */
	if (strncmp(why, what, len) == 0 && why[len] == ':')
		nmctx_ferror(ctx, "%s", why);
	else
		nmctx_ferror(ctx, "%s: %s", what, why);
	errno = -error;
	return -1;
}

size_t nmlib_body_size(uint16_t reqtype)
{
	switch (reqtype) {
	case NETMAP_REQ_REGISTER:
		return sizeof(struct nmreq_register);
	case NETMAP_REQ_PORT_INFO_GET:
		return sizeof(struct nmreq_port_info_get);
	case NETMAP_REQ_VALE_ATTACH:
		return sizeof(struct nmreq_vale_attach);
	case NETMAP_REQ_VALE_DETACH:
		return sizeof(struct nmreq_vale_detach);
	case NETMAP_REQ_VALE_LIST:
		return sizeof(struct nmreq_vale_list);
	case NETMAP_REQ_PORT_HDR_SET:
	case NETMAP_REQ_PORT_HDR_GET:
		return sizeof(struct nmreq_port_hdr);
	case NETMAP_REQ_VALE_NEWIF:
		return sizeof(struct nmreq_vale_newif);
	case NETMAP_REQ_VALE_POLLING_ENABLE:
	case NETMAP_REQ_VALE_POLLING_DISABLE:
		return sizeof(struct nmreq_vale_polling);
	case NETMAP_REQ_POOLS_INFO_GET:
		return sizeof(struct nmreq_pools_info);
	case NETMAP_REQ_SYNC_KLOOP_START:
		return sizeof(struct nmreq_sync_kloop_start);
	default:
		return 0;
	}
}

size_t nmlib_option_size(uint32_t reqtype)
{
	switch (reqtype) {
	case NETMAP_REQ_OPT_EXTMEM:
		return sizeof(struct nmreq_opt_extmem);
	case NETMAP_REQ_OPT_CSB:
		return sizeof(struct nmreq_opt_csb);
	case NETMAP_REQ_OPT_SYNC_KLOOP_MODE:
		return sizeof(struct nmreq_opt_sync_kloop_mode);
	case NETMAP_REQ_OPT_OFFSETS:
		return sizeof(struct nmreq_opt_offsets);
	default:
		return 0;
	}
}

bool nmlib_option_known(uint32_t reqtype)
{
	return reqtype > 0 && reqtype < NETMAP_REQ_OPT_MAX;
}

/* Bytes that the option takes out of those of its request, as the core counts them. */
static uint64_t option_counts(const struct nmreq_option *opt)
{
	bool varies = opt->nro_reqtype == NETMAP_REQ_OPT_SYNC_KLOOP_EVENTFDS;
	uint64_t size = nmlib_option_size(opt->nro_reqtype), said = opt->nro_size;

	if (size < sizeof(*opt))
		size = sizeof(*opt);
	if (said > NETMAP_REQ_MAXSIZE)
		said = varies ? NETMAP_REQ_MAXSIZE : 0;        /* never set where it doesn't vary */
	return (said > size ? said : size) + sizeof(uint64_t); /* and where its answer goes */
}

int nmlib_options_check(const struct nmreq_header *hdr, struct nm_error *why)
{
	const struct nmreq_option *seen[NETMAP_REQ_MAXSIZE / sizeof(struct nmreq_option)];
	uint64_t bytes = sizeof(*hdr) + nmlib_body_size(hdr->nr_reqtype);
	struct nmreq_option *opt;
	unsigned int n = 0;

	nmreq_foreach_option(hdr, opt)
	{
		for (unsigned int i = 0; i < n && nmlib_option_known(opt->nro_reqtype); i++) {
			if (seen[i] != opt)
				continue;
			opt->nro_status = EINVAL;
			return nm_error_set(why, -EINVAL,
				"option %s stands twice: the chain of options is a loop",
				nmreq_option_name(opt->nro_reqtype));
		}
		bytes += option_counts(opt);
		if (bytes > NETMAP_REQ_MAXSIZE)
			return nm_error_set(why, -EMSGSIZE,
				"too many options, or larger than %d bytes together",
				NETMAP_REQ_MAXSIZE);
		seen[n++] = opt;
	}
	return 0;
}

void nmreq_header_init(struct nmreq_header *hdr, uint16_t reqtype, void *body)
{
	memset(hdr, 0, sizeof(*hdr));
	hdr->nr_version = NETMAP_API;
	hdr->nr_reqtype = reqtype;
	hdr->nr_body = (uintptr_t)body;
}

/* ---- names ---------------------------------------------------------------------------- */

int nmreq_header_decode(const char **pifname, struct nmreq_header *hdr, struct nmctx *ctx)
{
	struct nm_error why;
	char what[96];
	struct nm_portspec spec;

	memset(&spec, 0, sizeof(spec));
	snprintf(what, sizeof(what), "%.80s", *pifname);
	if (nm_portspec_name(pifname, &nmlib_env, &spec, &why))
		return nmlib_fail(ctx, -EINVAL, what, why.text);
	memcpy(hdr->nr_name, spec.name, sizeof(hdr->nr_name));
	return 0;
}

/* A region id at *p, as "@12". Other options are left alone. */
static int decode_mem_id(const char **p, struct nm_portspec *spec, struct nm_error *why)
{
	char text[16];
	const char *t = text;
	size_t len;

	if ((*p)[0] != '@' || (*p)[1] < '0' || (*p)[1] > '9')
		return 0;
	len = 1 + strcspn(*p + 1, "@");
	if (len >= sizeof(text)) {
		return nm_error_set(why, -EINVAL, "the region id is too long");
	}
	memcpy(text, *p, len);
	text[len] = '\0';
	if (nm_portspec_options(&t, spec, why))
		return -EINVAL;
	*p += len;
	return 0;
}

int nmreq_register_decode(const char **pmode, struct nmreq_register *reg, struct nmctx *ctx)
{
	struct nm_error why;
	char what[96];
	struct nm_portspec spec;
	const char *p = *pmode;

	memset(&spec, 0, sizeof(spec));
	snprintf(what, sizeof(what), "%.80s", p);
	if (nm_portspec_rings(&p, &spec, &why) || decode_mem_id(&p, &spec, &why))
		return nmlib_fail(ctx, -EINVAL, what, why.text);
	*pmode = p;
	reg->nr_mode = spec.reg.nr_mode;
	reg->nr_ringid = spec.reg.nr_ringid;
	reg->nr_flags = spec.reg.nr_flags;
	if (spec.given & NM_SPEC_MEM_ID)
		reg->nr_mem_id = spec.reg.nr_mem_id;
	return 0;
}

int32_t nmreq_get_mem_id(const char **pportname, struct nmctx *ctx)
{
	struct nmreq_port_info_get info = {0};
	struct nmreq_header hdr;
	struct nmport_d *d;
	int32_t id = -1;
	int error;

	nmreq_header_init(&hdr, NETMAP_REQ_PORT_INFO_GET, &info);
	if (nmreq_header_decode(pportname, &hdr, ctx) < 0)
		return -1;
	d = nmlib_new(ctx);
	if (!d)
		return -1;
	if (nmport_request(d, &hdr) == 0)
		id = info.nr_mem_id;
	error = errno;
	nmport_delete(d);
	errno = error;
	return id;
}

/* ---- options -------------------------------------------------------------------------- */

void nmreq_push_option(struct nmreq_header *hdr, struct nmreq_option *opt)
{
	opt->nro_next = hdr->nr_options;
	hdr->nr_options = (uintptr_t)opt;
}

void nmreq_remove_option(struct nmreq_header *hdr, struct nmreq_option *opt)
{
	uint64_t *link = &hdr->nr_options;

	while (*link && *link != (uintptr_t)opt)
		link = &((struct nmreq_option *)(uintptr_t)*link)->nro_next;
	if (*link) {
		*link = opt->nro_next;
		opt->nro_next = 0;
	}
}

struct nmreq_option *nmreq_find_option(struct nmreq_header *hdr, uint32_t reqtype)
{
	unsigned int most = NETMAP_REQ_MAXSIZE / sizeof(struct nmreq_option);
	struct nmreq_option *opt;

	nmreq_foreach_option(hdr, opt)
	{
		if (most-- == 0)
			break; /* a list that loops */
		if (opt->nro_reqtype == reqtype)
			return opt;
	}
	return NULL;
}

void nmreq_free_options(struct nmreq_header *hdr)
{
	struct nmreq_option *opt;

	while (hdr->nr_options) {
		opt = (struct nmreq_option *)(uintptr_t)hdr->nr_options;
		hdr->nr_options = opt->nro_next;
		free(opt);
	}
}

const char *nmreq_option_name(uint32_t reqtype)
{
	switch (reqtype) {
	case NETMAP_REQ_OPT_EXTMEM:
		return "extmem";
	case NETMAP_REQ_OPT_SYNC_KLOOP_EVENTFDS:
		return "sync-kloop-eventfds";
	case NETMAP_REQ_OPT_CSB:
		return "csb";
	case NETMAP_REQ_OPT_SYNC_KLOOP_MODE:
		return "sync-kloop-mode";
	case NETMAP_REQ_OPT_OFFSETS:
		return "offsets";
	default:
		return "unknown";
	}
}
