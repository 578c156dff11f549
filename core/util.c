/* SPDX-License-Identifier: BSD-2-Clause */
/* Small things over core/os.h that every platform has alike. */
#include "os.h"

int os_snprintf(char *buf, size_t bytes, const char *fmt, ...)
{
	va_list ap;
	int n;

	va_start(ap, fmt);
	n = os_vsnprintf(buf, bytes, fmt, ap);
	va_end(ap);
	return n;
}

void os_make_printable(char *text)
{
	for (; *text; text++)
		if (*text < ' ' || *text > '~')
			*text = '?';
}
