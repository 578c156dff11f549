/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * machine.h - a virtual machine with one port, of a netmapd that runs, for programs: hypervisor and driver are vfio_guest.h's.
 *
 *      if (machine_start(&m, socket, "vale0:a", &err) != 0)
 *              puts(err.text);
 *      ... m.port->rings ...
 *      machine_end(&m);
 *
 * Thread safety: one thread per machine.
 */
#ifndef TESTS_MACHINE_H
#define TESTS_MACHINE_H

#include "nm_error.h"
#include "vfio_guest.h"

struct machine {
	int control; /* the connection that owns it */
	struct vg *vg;
	struct vg_port *port; /* its driver has started */
};

/* 0 or a negative errno with a text: then nothing is left. */
int machine_start(struct machine *m, const char *socket, const char *port, struct nm_error *err);
void machine_end(struct machine *m);

#endif
