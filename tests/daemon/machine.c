/* SPDX-License-Identifier: BSD-2-Clause */
#include "machine.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "proto_client.h"

enum { RAM = 4 << 20 };

/* The machine, and where its functions are. */
static int ask(
	int control, const char *port, struct nmd_vm_add_port_reply *paths, struct nm_error *err)
{
	struct nmd_vm_create create = {.name = ""};
	struct nmd_vm_add_port add = {.ifname = ""};
	struct nmd_vm_create_reply created;
	int error;

	snprintf(create.name, sizeof(create.name), "%s-%d", port, (int)getpid());
	nmd_hdr_init(&create.hdr, NMD_VM_CREATE, sizeof(create));
	error = nmd_call(control, &create, &created, sizeof(created), err);
	if (error < 0)
		return error;
	snprintf(add.ifname, sizeof(add.ifname), "%s", port);
	nmd_hdr_init(&add.hdr, NMD_VM_ADD_PORT, sizeof(add));
	return nmd_call(control, &add, paths, sizeof(*paths), err);
}

static int boot(struct machine *m, const struct nmd_vm_add_port_reply *paths)
{
	int error = vg_new(RAM, &m->vg);

	if (!error)
		error = vg_add_mem(m->vg, paths->mem_path, NULL);
	if (!error)
		error = vg_add_port(m->vg, paths->net_path, &m->port);
	if (!error)
		error = vg_probe(m->port, 0);
	return error ? error : vg_start(m->port, 0);
}

int machine_start(struct machine *m, const char *socket, const char *port, struct nm_error *err)
{
	struct nmd_vm_add_port_reply paths;
	int error;

	*m = (struct machine){.control = nmd_connect(socket, NULL, err)};
	if (m->control < 0)
		return m->control;
	error = ask(m->control, port, &paths, err);
	if (error < 0) {
		close(m->control);
		return error;
	}
	error = boot(m, &paths);
	if (!error)
		return 0;
	machine_end(m);
	return nm_error_set(
		err, error, "%s: the machine does not start: %s", port, strerror(-error));
}

void machine_end(struct machine *m)
{
	vg_free(m->vg);
	close(m->control);
}
