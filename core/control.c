/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The way in and out of a control request. What each does is in control_requests.c.
 *
 * header in -> version, type and name checked -> body in -> options in -> handler -> options out ->
 * body out -> header out. The statuses of options go out whether the handler succeeded or not. A
 * registration whose answer can't be delivered is undone: the caller would not know of its rings.
 */
#include "control_internal.h"

static int check_header(
	struct nm_client *client, const struct request *rq, const struct request_type *type)
{
	if (rq->hdr.nr_version < NETMAP_MIN_API || rq->hdr.nr_version > NETMAP_MAX_API)
		return nm_error_set(&client->err, -EINVAL, "API version %u; %d to %d are served",
			rq->hdr.nr_version, NETMAP_MIN_API, NETMAP_MAX_API);
	if (rq->hdr.nr_reserved != 0)
		return nm_error_set(&client->err, -EINVAL, "nr_reserved is %u; it must be 0",
			rq->hdr.nr_reserved);
	if (!type)
		return nm_error_set(&client->err, -EOPNOTSUPP, "request %u is not supported",
			rq->hdr.nr_reqtype);
	if (strnlen(rq->hdr.nr_name, sizeof(rq->hdr.nr_name)) == sizeof(rq->hdr.nr_name))
		return nm_error_set(&client->err, -EINVAL, "a port name has at most %d bytes",
			NETMAP_REQ_IFNAMSIZ - 1);
	return 0;
}

static int read_body(struct nm_client *client, struct request *rq, size_t bytes)
{
	int error;

	if (bytes == 0)
		return 0;
	error = rq->ua->read(rq->ua->arg, rq->hdr.nr_body, &rq->body, bytes);
	return error ? nm_error_set(&client->err, error, "the request's body can't be read") : 0;
}

static int write_body(struct nm_client *client, const struct request *rq, size_t bytes)
{
	int error;

	if (bytes == 0)
		return 0;
	error = rq->ua->write(rq->ua->arg, rq->hdr.nr_body, &rq->body, bytes);
	return error ? nm_error_set(&client->err, error, "the request's body can't be written") : 0;
}

static int run(struct nm_client *client, struct request *rq)
{
	const struct request_type *type = nm_request_type(rq->hdr.nr_reqtype);
	int written, error = check_header(client, rq, type);

	if (error || !type)
		return error;
	error = read_body(client, rq, type->body_size);
	if (error)
		return error;
	error = nm_options_read(client, rq, sizeof(rq->hdr) + type->body_size, type->options);
	if (!error)
		error = type->run(client, rq);
	written = nm_options_write(rq, !error);
	if (error)
		return error;
	if (written)
		return nm_error_set(&client->err, written, "an option can't be written");
	return write_body(client, rq, type->body_size);
}

static int run_and_reply(struct nm_client *client, struct request *rq)
{
	bool was_bound = client->port != NULL;
	int written, error;

	error = rq->ua->read(rq->ua->arg, rq->addr, &rq->hdr, sizeof(rq->hdr));
	if (error)
		return nm_error_set(&client->err, error, "the request's header can't be read");
	error = run(client, rq);
	rq->hdr.nr_version = NETMAP_API;
	written = rq->ua->write(rq->ua->arg, rq->addr, &rq->hdr, sizeof(rq->hdr));
	if (!error && written)
		error = nm_error_set(
			&client->err, written, "the request's header can't be written");
	/* A client that isn't told where its rings are doesn't have them. */
	if (error && !was_bound)
		nm_client_unbind(client);
	return error;
}

int nm_control(struct nm_client *client, const struct nm_uaccess *ua, uint64_t header_addr)
{
	struct request *rq = os_zalloc(sizeof(*rq));
	int error;

	client->err.text[0] = '\0';
	if (!rq)
		return nm_error_set(&client->err, -ENOMEM, "no memory for a request");
	rq->ua = ua;
	rq->addr = header_addr;
	error = run_and_reply(client, rq);
	os_free(rq);
	return error;
}
