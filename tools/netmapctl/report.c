/* SPDX-License-Identifier: BSD-2-Clause */
#include "netmapctl.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "one_line.h"
#include "proto_client.h"
#include "report.h"

int ctl_fail(int status, const char *format, ...)
{
	char text[1024];
	va_list args;

	va_start(args, format);
	vsnprintf(text, sizeof(text), format, args);
	va_end(args);
	one_line(text);
	fprintf(stderr, "netmapctl: %s\n", text);
	return status;
}

int ctl_status_of(int error)
{
	switch (-error) {
	case EINVAL: /* netmapd knows better than netmapctl what can be */
		return CTL_USAGE;
	case ECONNRESET: /* it has ended */
		return CTL_UNREACHABLE;
	case ENOENT:
	case ENXIO:
	case ENODEV:
		return CTL_NOT_FOUND;
	case EPERM:
	case EACCES:
	case EDQUOT:
		return CTL_REFUSED;
	default:
		return CTL_FAILED;
	}
}

void ctl_out_of_memory(void)
{
	exit(ctl_fail(CTL_FAILED, "out of memory"));
}

char *ctl_vformat(const char *format, va_list args)
{
	char *text;

	if (vasprintf(&text, format, args) < 0)
		ctl_out_of_memory();
	return text;
}

char *ctl_format(const char *format, ...)
{
	va_list args;
	char *text;

	va_start(args, format);
	text = ctl_vformat(format, args);
	va_end(args);
	return text;
}

int ctl_connect(const struct ctl *ctl, int *fd)
{
	struct nm_error err;

	*fd = nmd_connect(ctl->socket, NULL, &err);
	if (*fd >= 0)
		return CTL_OK;
	return ctl_fail(err.code == -EDQUOT ? CTL_REFUSED : CTL_UNREACHABLE, "%s", err.text);
}

int ctl_failed(const struct nm_error *err)
{
	return ctl_fail(ctl_status_of(err->code), "%s", err->text);
}

int ctl_report_text(int fd, char **text)
{
	struct nm_error err;

	return nmd_report_text(fd, text, &err) ? ctl_failed(&err) : CTL_OK;
}

int ctl_report_on(int fd, json_t **root)
{
	struct nm_error err;

	return nmd_report(fd, root, &err) ? ctl_failed(&err) : CTL_OK;
}

int ctl_report(const struct ctl *ctl, json_t **root)
{
	int fd, status = ctl_connect(ctl, &fd);

	if (status)
		return status;
	status = ctl_report_on(fd, root);
	close(fd);
	return status;
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
		ctl_out_of_memory();
	/* Names come from other people: nothing that moves the cursor gets through. */
	one_line(text);
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

json_int_t ctl_int(const json_t *object, const char *key)
{
	return json_integer_value(json_object_get(object, key));
}

double ctl_real(const json_t *object, const char *key)
{
	return json_number_value(json_object_get(object, key));
}

const char *ctl_string(const json_t *object, const char *key)
{
	const char *text = json_string_value(json_object_get(object, key));

	return text ? text : "";
}

json_t *ctl_find(const json_t *root, const char *list, const char *key, const char *text)
{
	json_t *element;
	size_t i;

	json_array_foreach(json_object_get(root, list), i, element)
	{
		const char *value = json_string_value(json_object_get(element, key));

		if (value && !strcmp(value, text))
			return element;
	}
	return NULL;
}

json_t *ctl_find_int(const json_t *root, const char *list, const char *key, json_int_t number)
{
	json_t *element;
	size_t i;

	json_array_foreach(json_object_get(root, list), i, element)
	{
		const json_t *value = json_object_get(element, key);

		if (json_is_integer(value) && json_integer_value(value) == number)
			return element;
	}
	return NULL;
}

json_t *ctl_drops(const json_t *port)
{
	json_t *sums = json_object(), *ring, *count;
	const char *cause;
	size_t i;

	json_array_foreach(json_object_get(port, "rings"), i, ring)
	{
		json_object_foreach(json_object_get(ring, "errors"), cause, count)
		{
			json_int_t sum = ctl_int(sums, cause) + json_integer_value(count);

			if (sum)
				json_object_set_new(sums, cause, json_integer(sum));
		}
	}
	return sums;
}

int ctl_put_json(json_t *value, size_t flags)
{
	int error = json_dumpf(value, stdout, flags | JSON_ENCODE_ANY);

	putchar('\n');
	json_decref(value);
	return error ? ctl_fail(CTL_FAILED, "can't write to stdout: %s", strerror(errno)) : CTL_OK;
}

int ctl_done(const struct ctl *ctl, const char *what, ...)
{
	json_t *done = json_object();
	const char *key, *value;
	va_list args;

	json_object_set_new(done, "done", json_string(what));
	va_start(args, what);
	while ((key = va_arg(args, const char *))) {
		value = va_arg(args, const char *);
		json_object_set_new(done, key, json_string(value));
	}
	va_end(args);
	if (ctl->json)
		return ctl_put_json(done, 0);
	json_decref(done);
	return CTL_OK;
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

static char *add_limit_user(char *list, const json_t *limit, const char *uid)
{
	const json_t *own = json_object_get(json_object_get(limit, "user_limits"), uid);
	json_t *who = json_pack("{s:I}", "user", (json_int_t)strtoll(uid, NULL, 10));
	char user[CTL_USER], used[32], most[32], *longer;

	longer = ctl_format("%s%s%s %s%s%s", list, *list ? ", " : "", ctl_user(who, user),
		ctl_bound(limit, "used", ctl_int(json_object_get(limit, "users"), uid), used),
		own ? " of " : "",
		own ? ctl_bound(limit, "limit", json_integer_value(own), most) : "");
	json_decref(who);
	free(list);
	return longer;
}

char *ctl_limit_users(const json_t *limit)
{
	json_t *users = json_object_get(limit, "users"), *value;
	char *list = ctl_format("%s", "");
	const char *uid;

	json_object_foreach(users, uid, value) list = add_limit_user(list, limit, uid);
	json_object_foreach(json_object_get(limit, "user_limits"), uid, value)
	{
		if (!json_object_get(users, uid))
			list = add_limit_user(list, limit, uid);
	}
	return list;
}
