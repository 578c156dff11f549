/* SPDX-License-Identifier: BSD-2-Clause */
#include "log.h"
#include "one_line.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

void nic_log(const char *fmt, ...)
{
	char text[512] = "netmapd-nic: ";
	size_t at = strlen(text);
	va_list ap;
	ssize_t n;

	va_start(ap, fmt);
	vsnprintf(text + at, sizeof(text) - at - 1, fmt, ap);
	va_end(ap);
	one_line(text);
	strcat(text, "\n");
	n = write(STDERR_FILENO, text, strlen(text)); /* nobody may be there */
	(void)n;
}
