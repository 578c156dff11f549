/* SPDX-License-Identifier: BSD-2-Clause */
/* netmapctl list: the ports, one per line, for scripts. */
#include "netmapctl.h"

#include <stdlib.h>

int ctl_list(int argc, char **argv, const struct ctl *ctl)
{
	json_t *root, *names, *port;
	int status;
	size_t i;

	if (argc > 1)
		return ctl_fail(CTL_USAGE, "list takes no argument but --json, not '%s'", argv[1]);
	status = ctl_report(ctl, &root);
	if (status)
		return status;
	names = json_array();
	json_array_foreach(json_object_get(root, "ports"), i, port)
	{
		char *name = ctl_member(port, "name");

		if (!ctl->json)
			puts(name);
		json_array_append_new(names, json_string(name));
		free(name);
	}
	json_decref(root);
	if (ctl->json)
		return ctl_put_json(names, JSON_INDENT(1));
	json_decref(names);
	return CTL_OK;
}
