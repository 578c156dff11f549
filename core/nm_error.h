/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * nm_error.h - why a call failed: the one error type of the core and of all that is built on it.
 *
 * A function that can fail for a reason that its user should read takes a struct nm_error and fills it:
 *
 *      int f(..., struct nm_error *err)          0, or a negative errno, which is in err->code as well
 *      struct x *x_new(..., struct nm_error *err)    the object, or NULL with err->code
 *
 *      if (slots > NM_SLOTS_MAX)
 *              return nm_error_set(err, -EINVAL, "%s: %u slots; at most %d are possible", ...);
 *
 * The text is one line of printable ASCII (nm_error_set() sees to it); it names the port, the value,
 * the limit and what to do. After
 * success the contents are those of the last failure, or what the caller initialised: they say nothing.
 *
 * Thread safety: the struct belongs to the caller.
 */
#ifndef CORE_NM_ERROR_H
#define CORE_NM_ERROR_H

#include "os.h"

enum { NM_ERR_TEXT = 256 };

struct nm_error {
	int code;               /* a negative errno */
	char text[NM_ERR_TEXT]; /* ends with 0; "": there is none */
};

/* Fills *err and returns code, so that it can stand in a return statement. A text that does not fit is
 * cut. The arguments may point into err->text of another error, not of this one. */
int nm_error_set(struct nm_error *err, int code, const char *fmt, ...) os_printf_like(3, 4);

#endif
