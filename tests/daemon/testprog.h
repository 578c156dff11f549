/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * testprog.h - what programs of the daemon's tests share.
 *
 *      fail("%s: %s", port, strerror(errno));      "PROGRAM: …" on stderr, and exit status 1
 *      testprog_until_sigterm();                   from now on SIGTERM sets `ended`
 *
 * Thread safety: fail(): any thread.
 */
#ifndef TESTS_DAEMON_TESTPROG_H
#define TESTS_DAEMON_TESTPROG_H

#include <errno.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

static volatile sig_atomic_t __attribute__((unused)) ended;

static void __attribute__((unused)) testprog_end(int signo)
{
	ended = 1;
}

static inline void testprog_until_sigterm(void)
{
	signal(SIGTERM, testprog_end);
}

static inline void __attribute__((noreturn, format(printf, 1, 2))) fail(const char *format, ...)
{
	va_list ap;

	fprintf(stderr, "%s: ", program_invocation_short_name);
	va_start(ap, format);
	vfprintf(stderr, format, ap);
	va_end(ap);
	fputc('\n', stderr);
	exit(1);
}

#endif
