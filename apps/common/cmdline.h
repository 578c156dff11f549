/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * cmdline.h - what is wrong with a command line, as one line of text (without a newline) that names
 * the option, the value and what would be right.
 *
 * Thread safety: cmdline_refused() reads getopt's globals: the thread that parses.
 */
#ifndef APPS_COMMON_CMDLINE_H
#define APPS_COMMON_CMDLINE_H

enum { OPTIONS_ERR = 256 };

/* Writes the text. Returns -1. */
int cmdline_bad(char err[OPTIONS_ERR], const char *format, ...)
	__attribute__((format(printf, 2, 3)));

/* Is `c` an answer of getopt_long() (with ':' in front of its letters) that refuses the word `arg`
 * or its option? Then -1, with a text that points to the option `help`; else 0. */
int cmdline_refused(int c, const char *arg, const char *help, char err[OPTIONS_ERR]);

#endif
