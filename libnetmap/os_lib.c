/* SPDX-License-Identifier: BSD-2-Clause */
/* The part of core/os.h that the core's files in this library need. */
#include <stdio.h>

#include "os.h"

int os_vsnprintf(char *buf, size_t bytes, const char *fmt, va_list ap)
{
	return vsnprintf(buf, bytes, fmt, ap);
}
