/* SPDX-License-Identifier: BSD-2-Clause */
#include "nm_error.h"

int nm_error_set(struct nm_error *err, int code, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	os_vsnprintf(err->text, sizeof(err->text), fmt, ap);
	va_end(ap);
	os_make_printable(err->text); /* it may quote what others have said */
	err->code = code;
	return code;
}
