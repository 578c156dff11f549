/* SPDX-License-Identifier: BSD-2-Clause */
/* Backend "daemon": control requests as messages to netmapd. */
#include "nmd.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "proto_client.h"

_Static_assert((int)NM_ERR_TEXT == (int)NMD_TEXT_MAX, "texts of netmapd are handed on as they are");

/* Each part takes at least the size of an option: more don't fit. */
enum { PARTS_MAX = 2 + NETMAP_REQ_MAXSIZE / sizeof(struct nmreq_option) };

/* A request in the application's memory and in a message. */
struct flat {
	struct {
		void *mem;       /* the application's */
		uint32_t offset; /* in the payload */
		uint32_t size;
	} part[PARTS_MAX];
	unsigned int parts; /* header, body if any, options */
	int has_body;
	uint32_t size; /* of the payload */
};

struct message {
	struct nmd_hdr hdr;
	char payload[NETMAP_REQ_MAXSIZE];
};

struct answer {
	char bytes[NMD_MSG_MAX];
	struct nmd_nmreq_reply r; /* the beginning of bytes; zeros behind a shorter reply */
	const char *payload;      /* NULL: none */
	int fds[NMD_FDS_MAX];
	unsigned int nfds;
};

struct exchange {
	struct flat flat;
	struct message msg;
	struct answer answer;
};

static int add_part(struct flat *f, void *mem, size_t size)
{
	size_t room = (size + 7) & ~(size_t)7;

	if (f->parts == PARTS_MAX || room > NETMAP_REQ_MAXSIZE - f->size)
		return -EMSGSIZE;
	f->part[f->parts].mem = mem;
	f->part[f->parts].offset = f->size;
	f->part[f->parts].size = (uint32_t)size;
	f->parts++;
	f->size += (uint32_t)room;
	return 0;
}

/* Bytes of an option. What netmapd doesn't know it needn't see more of than the beginning. */
static size_t option_size(const struct nmreq_option *opt)
{
	size_t size = nmlib_option_size(opt->nro_reqtype);

	return size ? size : sizeof(*opt);
}

/* Finds the parts. The option CSB is for this library. */
static int find_parts(struct flat *f, struct nmreq_header *hdr, struct nm_error *why)
{
	size_t body = nmlib_body_size(hdr->nr_reqtype);
	struct nmreq_option *opt;
	int ret;

	f->parts = 0;
	f->size = 0;
	f->has_body = 0;
	ret = add_part(f, hdr, sizeof(*hdr));
	if (!ret && hdr->nr_body && body) {
		ret = add_part(f, (void *)(uintptr_t)hdr->nr_body, body);
		f->has_body = 1;
	}
	nmreq_foreach_option(hdr, opt)
	{
		if (ret)
			break;
		if (opt->nro_reqtype != NETMAP_REQ_OPT_CSB)
			ret = add_part(f, opt, option_size(opt));
	}
	if (ret)
		nm_error_set(why, -EMSGSIZE, "too many options, or larger than %d bytes together",
			NETMAP_REQ_MAXSIZE);
	return ret;
}

/* Copies the parts into the payload; addresses become offsets in it. */
static void flatten(const struct flat *f, char *payload)
{
	unsigned int first = 1 + (f->has_body ? 1u : 0), i;
	struct nmreq_header hdr;

	memset(payload, 0, f->size);
	for (i = 0; i < f->parts; i++)
		memcpy(payload + f->part[i].offset, f->part[i].mem, f->part[i].size);
	memcpy(&hdr, payload, sizeof(hdr));
	hdr.nr_body = f->has_body ? f->part[1].offset : 0;
	hdr.nr_options = first < f->parts ? f->part[first].offset : 0;
	memcpy(payload, &hdr, sizeof(hdr));
	for (i = first; i < f->parts; i++) {
		uint64_t next = i + 1 < f->parts ? f->part[i + 1].offset : 0;

		memcpy(payload + f->part[i].offset + offsetof(struct nmreq_option, nro_next), &next,
			sizeof(next));
	}
}

/* An option as it came back; its type, and what is an address, stay what they were. */
static void take_option(struct nmreq_option *opt, const char *from, size_t size)
{
	struct nmreq_opt_extmem *extmem = (struct nmreq_opt_extmem *)opt;
	uint64_t next = opt->nro_next, usrptr = 0;
	uint32_t type = opt->nro_reqtype;
	bool is_extmem = type == NETMAP_REQ_OPT_EXTMEM;

	if (is_extmem)
		usrptr = extmem->nro_usrptr;
	memcpy(opt, from, size);
	opt->nro_next = next;
	opt->nro_reqtype = type;
	if (is_extmem)
		extmem->nro_usrptr = usrptr;
}

/* Copies the payload back; the addresses, and what was asked for, stay what they were. */
static void unflatten(const struct flat *f, const char *payload)
{
	unsigned int first = 1 + (f->has_body ? 1u : 0), i;
	struct nmreq_header *hdr = f->part[0].mem;
	uint64_t body = hdr->nr_body, options = hdr->nr_options;
	uint16_t type = hdr->nr_reqtype;

	memcpy(hdr, payload, sizeof(*hdr));
	hdr->nr_reqtype = type;
	hdr->nr_body = body;
	hdr->nr_options = options;
	if (f->has_body)
		memcpy(f->part[1].mem, payload + f->part[1].offset, f->part[1].size);
	for (i = first; i < f->parts; i++)
		take_option(f->part[i].mem, payload + f->part[i].offset, f->part[i].size);
}

/* Sends and receives. 0 or a negative errno of the transport. */
static int exchange(int fd, const struct message *msg, int send_fd, uint32_t size, struct answer *a)
{
	ssize_t n;

	memset(&a->r, 0, sizeof(a->r));
	a->payload = NULL;
	a->nfds = NMD_FDS_MAX;
	n = nmd_request_fd(fd, msg, send_fd, a->bytes, sizeof(a->bytes), a->fds, &a->nfds);
	if (n < 0) {
		a->nfds = 0;
		return (int)n;
	}
	memcpy(&a->r, a->bytes, (size_t)n < sizeof(a->r) ? (size_t)n : sizeof(a->r));
	if ((size_t)n == sizeof(a->r) + size && a->r.payload == size)
		a->payload = a->bytes + sizeof(a->r);
	else if (a->r.reply.hdr.status == 0)
		return -EPROTO;
	return 0;
}

static int finish_request(struct nmport_d *d, struct nmreq_header *hdr, const struct flat *f,
	struct answer *a, struct nm_error *why)
{
	int ret = a->r.reply.hdr.status;

	if (a->payload)
		unflatten(f, a->payload);
	if (ret < 0) {
		if (a->r.reply.text[0])
			nm_error_set(why, ret, "%s", a->r.reply.text);
		else
			nmlib_explain(hdr, ret, why);
		return ret;
	}
	if (hdr->nr_reqtype != NETMAP_REQ_REGISTER)
		return a->nfds ? -EPROTO : 0;
	ret = nmlib_daemon_keep(d, &a->r.attach, a->fds, a->nfds);
	if (ret == 0)
		a->nfds = 0;
	else
		nm_error_set(why, ret, "can't use what netmapd gave: %s", strerror(-ret));
	return ret;
}

int nmlib_daemon_message(
	struct nmport_d *d, struct nmreq_header *hdr, int send_fd, struct nm_error *why)
{
	struct exchange *x = nmctx_malloc(d->ctx, sizeof(*x));
	int ret;

	if (!x) {
		return nm_error_set(why, -ENOMEM, "no memory for a message");
	}
	x->answer.nfds = 0;
	ret = find_parts(&x->flat, hdr, why);
	if (ret == 0) {
		nmd_hdr_init(&x->msg.hdr, NMD_NMREQ, sizeof(x->msg.hdr) + x->flat.size);
		flatten(&x->flat, x->msg.payload);
		ret = exchange(d->fd, &x->msg, send_fd, x->flat.size, &x->answer);
		if (ret == -EMFILE)
			nm_error_set(why, ret,
				"this program may not open as many files as the port's rings need: up to %d; raise its limit (ulimit -n), or open fewer rings",
				NMD_FDS_MAX);
		else if (ret < 0)
			nm_error_set(why, ret, "netmapd: %s",
				ret == -ECONNRESET ? "it closed the connection" : strerror(-ret));
		else
			ret = finish_request(d, hdr, &x->flat, &x->answer, why);
	}
	for (unsigned int i = 0; i < x->answer.nfds; i++)
		close(x->answer.fds[i]);
	nmctx_free(d->ctx, x);
	return ret;
}
