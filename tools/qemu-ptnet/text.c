/* SPDX-License-Identifier: BSD-2-Clause */
#include "text.h"
#include "one_line.h"

#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int text_fail(int error, char err[TEXT_ERR], const char *format, ...)
{
	va_list args;

	va_start(args, format);
	vsnprintf(err, TEXT_ERR, format, args);
	va_end(args);
	return error;
}

static void out_of_memory(void)
{
	fputs("qemu-ptnet: out of memory\n", stderr);
	exit(1);
}

void *text_realloc(void *old, size_t count, size_t size)
{
	void *p;

	if (size && count > SIZE_MAX / size)
		out_of_memory();
	p = realloc(old, count && size ? count * size : 1);
	if (!p)
		out_of_memory();
	return p;
}

char *text_dup(const char *s)
{
	size_t size = strlen(s) + 1;

	return memcpy(text_realloc(NULL, size, 1), s, size);
}

char *text_format(const char *format, ...)
{
	va_list args;
	char *s;

	va_start(args, format);
	if (vasprintf(&s, format, args) < 0)
		out_of_memory();
	va_end(args);
	return s;
}

void text_say(const char *format, ...)
{
	va_list args;
	char *s;

	va_start(args, format);
	if (vasprintf(&s, format, args) < 0)
		out_of_memory();
	va_end(args);
	one_line(s);
	fprintf(stderr, "qemu-ptnet: %s\n", s);
	free(s);
}

void text_argv_take(struct text_argv *a, char *s)
{
	a->v = text_realloc(a->v, a->count + 2, sizeof(a->v[0]));
	a->v[a->count++] = s;
	a->v[a->count] = NULL;
}

void text_argv_add(struct text_argv *a, const char *s)
{
	text_argv_take(a, text_dup(s));
}

void text_argv_free(struct text_argv *a)
{
	for (size_t i = 0; i < a->count; i++)
		free(a->v[i]);
	free(a->v);
	a->v = NULL;
	a->count = 0;
}

char *text_shell(const char *s)
{
	static const char plain[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
				    "0123456789_-+=./:,@%";
	char *out, *p;

	if (s[0] && s[strspn(s, plain)] == '\0')
		return text_dup(s);
	out = p = text_realloc(NULL, strlen(s) + 1, 4); /* the worst case: each ' becomes '\'' */
	*p++ = '\'';
	for (; *s; s++) {
		if (*s == '\'')
			p = stpcpy(p, "'\\''");
		else
			*p++ = *s;
	}
	strcpy(p, "'");
	return out;
}

char *text_json(const char *s)
{
	char *out, *p;

	/* The worst case is \uXXXX for each byte, and two quotes. */
	out = p = text_realloc(NULL, strlen(s) + 1, 6);
	*p++ = '"';
	for (; *s; s++) {
		if ((unsigned char)*s < ' ') {
			p += sprintf(p, "\\u%04x", (unsigned int)*s);
			continue;
		}
		if (*s == '"' || *s == '\\')
			*p++ = '\\';
		*p++ = *s;
	}
	strcpy(p, "\"");
	return out;
}
