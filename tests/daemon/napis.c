/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * napis: how the queues of an interface put interrupts off, for tests in guests, which have no napi.py.
 *
 *      napis INTERFACE QUEUES     a line "DEFER_HARD_IRQS GRO_FLUSH_NS" for each; none where the kernel or the driver doesn't say
 */
#include <inttypes.h>
#include <net/if.h>
#include <stdio.h>
#include <stdlib.h>

#include "netdev.h"

int main(int argc, char **argv)
{
	uint32_t queues = argc == 3 ? (uint32_t)strtoul(argv[2], NULL, 10) : 0;

	for (uint32_t i = 0; i < queues; i++) {
		struct netdev_napi napi;

		if (netdev_napi(if_nametoindex(argv[1]), i, queues, &napi) == 0)
			printf("%u %" PRIu64 "\n", napi.defer_hard_irqs, napi.gro_flush_ns);
	}
	return queues == 0;
}
