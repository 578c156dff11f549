/* SPDX-License-Identifier: BSD-2-Clause */
#include "report.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "proto_client.h"

enum { REPORT_MAX = 64 << 20 }; /* bytes; more is not a report */

/* One piece, from `start`, behind the reply's head in `message`: its bytes. */
static int fetch(int fd, uint32_t start, void *message, struct nm_error *err)
{
	const struct nmd_status_reply *reply = message;
	struct nmd_status req = {.start = start};
	ssize_t n;

	nmd_hdr_init(&req.hdr, NMD_STATUS, sizeof(req));
	n = nmd_ask(fd, &req, message, NMD_MSG_MAX, sizeof(*reply), err);
	if (n >= 0 && (reply->length != n || reply->length > REPORT_MAX - start))
		return nm_error_set(err, -EPROTO, "the report of netmapd is malformed");
	return (int)n;
}

int nmd_report_text(int fd, char **out, struct nm_error *err)
{
	_Alignas(struct nmd_status_reply) char message[NMD_MSG_MAX];
	char *text = NULL, *more;
	uint32_t length = 0;
	int n;

	do {
		n = fetch(fd, length, message, err);
		if (n < 0)
			break;
		more = realloc(text, length + (size_t)n + 1);
		if (!more) {
			nm_error_set(err, -ENOMEM, "out of memory");
			n = -ENOMEM;
			break;
		}
		text = more;
		memcpy(text + length, message + sizeof(struct nmd_status_reply), (size_t)n);
		length += (uint32_t)n;
		text[length] = '\0';
	} while (n > 0);
	if (n < 0)
		free(text);
	else
		*out = text;
	return n;
}

int nmd_report(int fd, json_t **root, struct nm_error *err)
{
	json_error_t wrong;
	char *text = NULL;
	int error = nmd_report_text(fd, &text, err);

	if (error)
		return error;
	*root = json_loads(text, 0, &wrong);
	free(text);
	if (!*root)
		return nm_error_set(err, -EPROTO, "the report of netmapd is not JSON: line %d: %s",
			wrong.line, wrong.text);
	if (json_is_object(*root))
		return 0;
	json_decref(*root);
	return nm_error_set(err, -EPROTO, "the report of netmapd is not a JSON object");
}
