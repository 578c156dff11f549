/* SPDX-License-Identifier: BSD-2-Clause */
/* netmapctl list: the ports, one per line, for scripts. */
#include "netmapctl.h"

#include <stdio.h>
#include <stdlib.h>

int ctl_list(int argc, char **argv, const char *socket)
{
	json_t *root, *port;
	size_t i;

	if (argc > 1)
		return ctl_fail(CTL_USAGE, "list takes no argument, not '%s'", argv[1]);
	root = ctl_report(socket);
	if (!root)
		return CTL_FAILED;
	json_array_foreach(json_object_get(root, "ports"), i, port)
	{
		char *name = ctl_member(port, "name");

		puts(name);
		free(name);
	}
	json_decref(root);
	return CTL_OK;
}
