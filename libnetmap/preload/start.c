/* SPDX-License-Identifier: BSD-2-Clause */
/* What netmap-run has told its library by the environment. */
#include <stdlib.h>
#include <string.h>

#include "../fd/file.h"

__attribute__((constructor)) static void start(void)
{
	const char *verbose = getenv("NETMAP_RUN_VERBOSE");

	nmfd_verbose = verbose && *verbose && strcmp(verbose, "0") != 0;
}
