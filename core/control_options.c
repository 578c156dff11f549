/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The chain of options of a request: read (read_chain), which may be here (judge), what they say
 * (read_content); after the request, statuses and results written back.
 *
 * Of each option only the header is read at first. An option that is unknown, given twice, or not
 * for this request fails the request, but all of them are judged, so that each has its status. What
 * is written back goes to the addresses that were read, never to ones that are found on a second
 * look.
 */
#include "control_internal.h"

enum { ANSWER_BYTES = sizeof(uint64_t) }; /* each option's, for where its answer goes */

/* Bytes of an option of this type. 32-bit programs leave out the padding at the end of the mode: what is
 * read of each is what all have. */
static uint64_t type_bytes(uint32_t type)
{
	switch (type) {
	case NETMAP_REQ_OPT_EXTMEM:
		return sizeof(struct nmreq_opt_extmem);
	case NETMAP_REQ_OPT_CSB:
		return sizeof(struct nmreq_opt_csb);
	case NETMAP_REQ_OPT_SYNC_KLOOP_MODE:
		return offsetof(struct nmreq_opt_sync_kloop_mode, mode) + sizeof(uint32_t);
	case NETMAP_REQ_OPT_OFFSETS:
		return sizeof(struct nmreq_opt_offsets);
	default:
		return sizeof(struct nmreq_option);
	}
}

/* Bytes that an option takes out of the size of the request: what it says of itself, or what its type
 * has if that is more. Where the size doesn't vary programs leave nro_size as it was: one that no request
 * can have is none. */
static uint64_t option_bytes(uint32_t type, uint64_t nro_size)
{
	uint64_t bytes = type_bytes(type);

	if (nro_size > NETMAP_REQ_MAXSIZE && type != NETMAP_REQ_OPT_SYNC_KLOOP_EVENTFDS)
		return bytes;
	return nro_size > bytes ? nro_size : bytes;
}

/* ---- in ------------------------------------------------------------------------------ */

/* The option at this address has been read; NULL: it has not. */
static const struct option *find_read(const struct request *rq, uint64_t addr)
{
	for (uint32_t i = 0; i < rq->num_options; i++)
		if (rq->options[i].addr == addr)
			return &rq->options[i];
	return NULL;
}

static bool is_known(uint32_t type)
{
	return type > 0 && type < NETMAP_REQ_OPT_MAX;
}

static int too_long(struct nm_client *client)
{
	return nm_error_set(&client->err, -EMSGSIZE,
		"a request with its options, and %d bytes more for each, has at most %d bytes; these have more",
		ANSWER_BYTES, NETMAP_REQ_MAXSIZE);
}

/* Bounded: each step costs at least the size of an option. A loop of options that nobody knows is no more
 * than a list that is too long. */
static int read_chain(struct nm_client *client, struct request *rq, size_t used)
{
	uint64_t addr = rq->hdr.nr_options;

	while (addr != 0) {
		const struct option *before = find_read(rq, addr);
		struct nmreq_option opt;
		uint64_t bytes;
		int error;

		if (before && !is_known(before->type))
			return too_long(client);
		if (before)
			return nm_error_set(&client->err, -EINVAL,
				"option %u stands twice: the chain of options is a loop",
				before->type);
		error = rq->ua->read(rq->ua->arg, addr, &opt, sizeof(opt));
		if (error)
			return nm_error_set(&client->err, error, "an option can't be read");
		bytes = option_bytes(opt.nro_reqtype, opt.nro_size);
		if (bytes > NETMAP_REQ_MAXSIZE ||
			used + bytes + ANSWER_BYTES > NETMAP_REQ_MAXSIZE ||
			rq->num_options == NM_OPTIONS_MAX)
			return too_long(client);
		used += bytes + ANSWER_BYTES;
		rq->options[rq->num_options++] = (struct option){
			.addr = addr, .size = opt.nro_size, .type = opt.nro_reqtype};
		addr = opt.nro_next;
	}
	return 0;
}

static int judge(struct nm_client *client, struct request *rq, uint32_t allowed)
{
	int result = 0;

	for (uint32_t i = 0; i < rq->num_options; i++) {
		struct option *opt = &rq->options[i];

		if (!is_known(opt->type) || !(allowed & (1u << opt->type))) {
			opt->status = EOPNOTSUPP;
			if (result == 0)
				result = nm_error_set(&client->err, -EOPNOTSUPP,
					"option %u does not exist, or not for request %u",
					opt->type, rq->hdr.nr_reqtype);
		} else if (rq->given[opt->type]) {
			rq->given[opt->type]->status = opt->status = EINVAL;
			result = nm_error_set(
				&client->err, -EINVAL, "option %u stands twice", opt->type);
		} else {
			rq->given[opt->type] = opt;
		}
	}
	return result;
}

/* The contents, from the header of the option on: `bytes` of them. */
static int read_content(
	struct nm_client *client, struct request *rq, uint32_t type, void *to, size_t bytes)
{
	const struct option *opt = rq->given[type];
	int error;

	if (!opt)
		return 0;
	error = rq->ua->read(rq->ua->arg, opt->addr, to, bytes);
	if (!error)
		return 0;
	return nm_option_failed(rq, type,
		nm_error_set(&client->err, error, "the contents of option %u can't be read", type));
}

static int read_eventfds(struct nm_client *client, struct request *rq)
{
	const size_t head = sizeof(struct nmreq_opt_sync_kloop_eventfds);
	const uint32_t type = NETMAP_REQ_OPT_SYNC_KLOOP_EVENTFDS;
	const struct option *opt = rq->given[type];
	uint64_t bytes;
	int error;

	static_assert(sizeof(rq->kloop.eventfds[0]) == 2 * sizeof(int32_t), "read as they are");
	if (!opt)
		return 0;
	bytes = opt->size > head ? opt->size - head : 0;
	if (bytes == 0 || bytes % sizeof(rq->kloop.eventfds[0]) != 0 ||
		bytes > sizeof(rq->kloop.eventfds))
		return nm_option_failed(rq, type,
			nm_error_set(&client->err, -EINVAL,
				"eventfds: nro_size is %llu; it must be the size of the option with one entry per ring",
				(unsigned long long)opt->size));
	error = rq->ua->read(rq->ua->arg, opt->addr + head, rq->kloop.eventfds, (size_t)bytes);
	if (error)
		return nm_option_failed(
			rq, type, nm_error_set(&client->err, error, "the eventfds can't be read"));
	rq->kloop.rings = (uint32_t)(bytes / sizeof(rq->kloop.eventfds[0]));
	return 0;
}

int nm_options_read(struct nm_client *client, struct request *rq, size_t used, uint32_t allowed)
{
	int error = read_chain(client, rq, used);

	if (error) {
		rq->num_options = 0; /* no chain to be written to */
		return error;
	}
	error = judge(client, rq, allowed);
	if (!error)
		error = read_content(client, rq, NETMAP_REQ_OPT_EXTMEM, &rq->extmem,
			type_bytes(NETMAP_REQ_OPT_EXTMEM));
	if (!error)
		error = read_content(
			client, rq, NETMAP_REQ_OPT_CSB, &rq->csb, type_bytes(NETMAP_REQ_OPT_CSB));
	if (!error)
		error = read_content(client, rq, NETMAP_REQ_OPT_SYNC_KLOOP_MODE, &rq->mode,
			type_bytes(NETMAP_REQ_OPT_SYNC_KLOOP_MODE));
	if (!error)
		error = read_content(client, rq, NETMAP_REQ_OPT_OFFSETS, &rq->offsets,
			type_bytes(NETMAP_REQ_OPT_OFFSETS));
	return error ? error : read_eventfds(client, rq);
}

int nm_option_failed(struct request *rq, uint32_t type, int error)
{
	if (rq->given[type])
		rq->given[type]->status = (uint32_t)-error;
	return error;
}

/* ---- out ----------------------------------------------------------------------------- */

static int write_content(const struct request *rq, uint32_t type, const void *option, size_t bytes)
{
	const size_t head = sizeof(struct nmreq_option);
	const struct option *opt = rq->given[type];

	if (!opt)
		return 0;
	return rq->ua->write(
		rq->ua->arg, opt->addr + head, (const char *)option + head, bytes - head);
}

int nm_options_write(const struct request *rq, bool success)
{
	int error, result = 0;

	for (uint32_t i = 0; i < rq->num_options; i++) {
		const struct option *opt = &rq->options[i];

		error = rq->ua->write(rq->ua->arg,
			opt->addr + offsetof(struct nmreq_option, nro_status), &opt->status,
			sizeof(opt->status));
		result = result ? result : error;
	}
	if (!success || result)
		return result;
	error = write_content(rq, NETMAP_REQ_OPT_EXTMEM, &rq->extmem, sizeof(rq->extmem));
	return error ? error
		     : write_content(rq, NETMAP_REQ_OPT_OFFSETS, &rq->offsets, sizeof(rq->offsets));
}
