/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * rename.h - another name for a port of a switch, on that switch.
 *
 * Only such ports have a name that nobody but netmapd knows: a persistent port's is that of a network device, those of pipes,
 * monitors and attachments are made of others'.
 *
 * Thread safety: control thread.
 */
#ifndef NETMAPD_RENAME_H
#define NETMAPD_RENAME_H

#include "daemon.h"
#include "proto.h"

/* A port that `user` has made; NM_USER_ANY: any. Names as in struct nmd_rename: they needn't end with 0. 0, or a negative errno with its text: see there. */
int rename_port(struct daemon *d, uint32_t user, const char from[NMD_NAME_MAX],
	const char to[NMD_NAME_MAX], struct nm_error *err);

#endif
