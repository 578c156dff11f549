/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The data path: packets between applications on switches, pipes, monitors and devices, whatever their
 * virtio-net headers, buffers and offsets, with slots and indices that lie, and poisoned neighbours.
 */
#include "world.h"

enum { STEPS = 64 };

void fuzz_begin(void)
{
}

void fuzz_one(struct fuzz_in *in)
{
	world_begin(in);
	for (int i = 0; i < STEPS && fuzz_more(in); i++)
		world_step(in);
	world_end();
}
