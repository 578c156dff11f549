/* SPDX-License-Identifier: BSD-2-Clause */
#include "netmapctl.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "proto_client.h"

enum { REPORT_MAX = 64 << 20 }; /* bytes; more is not a report */

int ctl_fail(int status, const char *format, ...)
{
	char text[1024];
	va_list args;

	va_start(args, format);
	vsnprintf(text, sizeof(text), format, args);
	va_end(args);
	for (char *p = text; *p; p++)
		if ((unsigned char)*p < ' ' || *p == 0x7f)
			*p = '?';
	fprintf(stderr, "netmapctl: %s\n", text);
	return status;
}

static __attribute__((noreturn)) void out_of_memory(void)
{
	exit(ctl_fail(CTL_FAILED, "out of memory"));
}

char *ctl_format(const char *format, ...)
{
	va_list args;
	char *text;

	va_start(args, format);
	if (vasprintf(&text, format, args) < 0)
		out_of_memory();
	va_end(args);
	return text;
}

/* One part of the report, from `start`, into `message`. Returns its header or NULL. */
static const struct nmd_status_reply *fetch(int fd, uint32_t start, void *message)
{
	const struct nmd_status_reply *reply = message;
	struct nmd_status req = {.start = start};
	ssize_t n;

	nmd_hdr_init(&req.hdr, NMD_STATUS, sizeof(req));
	n = nmd_request(fd, &req, message, NMD_MSG_MAX, NULL, NULL);
	if (n < 0) {
		ctl_fail(CTL_FAILED, "no report from netmapd: %s", strerror(-n));
		return NULL;
	}
	if (reply->reply.hdr.status < 0) {
		ctl_fail(CTL_FAILED, "netmapd gives no report: %s", reply->reply.text);
		return NULL;
	}
	if ((size_t)n < sizeof(*reply) || reply->length != n - sizeof(*reply) ||
		reply->length > REPORT_MAX - start) {
		ctl_fail(CTL_FAILED, "the report of netmapd is malformed");
		return NULL;
	}
	return reply;
}

char *ctl_report_text(const char *socket)
{
	_Alignas(struct nmd_status_reply) char message[NMD_MSG_MAX];
	const struct nmd_status_reply *part;
	struct nm_error err;
	char *text = NULL;
	uint32_t length = 0;
	int fd = nmd_connect(socket, NULL, &err);

	if (fd < 0) {
		ctl_fail(CTL_FAILED, "%s", err.text);
		return NULL;
	}
	do {
		char *more;

		part = fetch(fd, length, message);
		more = part ? realloc(text, length + part->length + 1) : NULL;
		if (!more) {
			if (part)
				ctl_fail(CTL_FAILED, "out of memory");
			free(text);
			close(fd);
			return NULL;
		}
		text = more;
		memcpy(text + length, part + 1, part->length);
		length += part->length;
		text[length] = '\0';
	} while (part->length);
	close(fd);
	return text;
}

json_t *ctl_report(const char *socket)
{
	char *text = ctl_report_text(socket);
	json_error_t error;
	json_t *root;

	if (!text)
		return NULL;
	root = json_loads(text, 0, &error);
	free(text);
	if (!root)
		ctl_fail(CTL_FAILED, "the report of netmapd is not JSON: line %d: %s", error.line,
			error.text);
	else if (!json_is_object(root))
		ctl_fail(CTL_FAILED, "the report of netmapd is not a JSON object");
	else
		return root;
	json_decref(root);
	return NULL;
}

static void put_value(FILE *f, const json_t *value)
{
	const char *key;
	json_t *member;
	size_t i;

	switch (json_typeof(value)) {
	case JSON_OBJECT: {
		const char *between = "";

		json_object_foreach((json_t *)value, key, member)
		{
			fprintf(f, "%s%s ", between, key);
			put_value(f, member);
			between = ", ";
		}
		break;
	}
	case JSON_ARRAY:
		json_array_foreach((json_t *)value, i, member)
		{
			fputs(i ? "," : "", f);
			put_value(f, member);
		}
		break;
	case JSON_STRING:
		fputs(json_string_value(value), f);
		break;
	case JSON_INTEGER:
		fprintf(f, "%" JSON_INTEGER_FORMAT, json_integer_value(value));
		break;
	case JSON_REAL:
		fprintf(f, "%g", json_real_value(value));
		break;
	case JSON_TRUE:
	case JSON_FALSE:
		fputs(json_is_true(value) ? "yes" : "no", f);
		break;
	case JSON_NULL:
		fputc('-', f);
	}
}

char *ctl_text(const json_t *value)
{
	char *text = NULL;
	size_t size;
	FILE *f = open_memstream(&text, &size);

	if (f) {
		put_value(f, value);
		fclose(f);
	}
	if (!text)
		out_of_memory();
	/* Names come from other people: nothing that moves the cursor gets through. */
	for (char *p = text; *p; p++)
		if ((unsigned char)*p < ' ' || *p == 0x7f)
			*p = '?';
	return text;
}

char *ctl_member(const json_t *object, const char *key)
{
	const json_t *value = json_object_get(object, key);
	json_t *none = NULL;
	char *text;

	if (!value || (json_is_array(value) && json_array_size(value) == 0))
		value = none = json_null();
	text = ctl_text(value);
	json_decref(none);
	return text;
}

json_int_t ctl_ring_sum(const json_t *port, const char *dir, const char *key)
{
	json_int_t sum = 0;
	json_t *ring;
	size_t i;

	json_array_foreach(json_object_get(port, "rings"), i, ring)
	{
		const char *d = json_string_value(json_object_get(ring, "dir"));

		if (d && !strcmp(d, dir))
			sum += json_integer_value(json_object_get(ring, key));
	}
	return sum;
}
