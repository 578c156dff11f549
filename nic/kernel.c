/* SPDX-License-Identifier: BSD-2-Clause */
#include "kernel.h"

#include <stdlib.h>
#include <sys/utsname.h>

bool kernel_is_at_least(unsigned long major, unsigned long minor)
{
	struct utsname name;
	unsigned long number;
	char *end;

	if (uname(&name) < 0)
		return false;
	number = strtoul(name.release, &end, 10);
	if (number != major || *end != '.')
		return number > major;
	return strtoul(end + 1, &end, 10) >= minor;
}
