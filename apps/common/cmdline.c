/* SPDX-License-Identifier: BSD-2-Clause */
#include "common/cmdline.h"

#include <getopt.h>
#include <stdarg.h>
#include <stdio.h>

int cmdline_bad(char err[OPTIONS_ERR], const char *format, ...)
{
	va_list ap;

	va_start(ap, format);
	vsnprintf(err, OPTIONS_ERR, format, ap);
	va_end(ap);
	return -1;
}

int cmdline_refused(int c, const char *arg, const char *help, char err[OPTIONS_ERR])
{
	if (c == ':')
		return cmdline_bad(err, "missing value behind '-%c' (try %s)", optopt, help);
	if (c == '?' && optopt)
		return cmdline_bad(err, "unknown option '-%c' (try %s)", optopt, help);
	if (c == '?')
		return cmdline_bad(err, "unknown option '%.60s' (try %s)", arg, help);
	return 0;
}
