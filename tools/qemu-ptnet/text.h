/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * text.h - strings and argument lists of a program that ends in exec.
 *
 * qemu-ptnet reads one command line and writes another. What both need is here:
 * allocation that doesn't fail (a program that is out of memory before QEMU has
 * started says so and exits), an argument list that grows, quoting for the shell
 * and for JSON, and error texts: a buffer of TEXT_ERR bytes that takes one line.
 *
 * Thread safety: none needed, the program has one thread.
 */
#ifndef QEMU_PTNET_TEXT_H
#define QEMU_PTNET_TEXT_H

#include <stddef.h>

enum { TEXT_ERR = 512 }; /* bytes of an error text, with its final 0 */

/* Writes the text to err and returns `error`, so that a caller can return it. */
int text_fail(int error, char err[TEXT_ERR], const char *format, ...)
	__attribute__((format(printf, 3, 4)));

/* Memory is the caller's to free(). Never NULL: they exit with status 1 instead. */
void *text_realloc(void *old, size_t count, size_t size);
char *text_dup(const char *s);
char *text_format(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* Prints "qemu-ptnet: text" as one line on stderr, control characters replaced. */
void text_say(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* An argument list: owns its strings, and v[count] is always NULL. */
struct text_argv {
	char **v;
	size_t count;
};

void text_argv_add(struct text_argv *a, const char *s); /* a copy of s */
void text_argv_take(struct text_argv *a, char *s);      /* s itself, from malloc */
void text_argv_free(struct text_argv *a);

/* `s` for a POSIX shell, quoted only where needed; "…" for JSON. The caller frees. */
char *text_shell(const char *s);
char *text_json(const char *s);

#endif
