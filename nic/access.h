/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * access.h - the configuration file: which users may have which interfaces, and how much.
 *
 *      # who    interfaces, as patterns of the shell
 *      allow alice eth1 ens8*
 *      allow @netmap eth2                 a group
 *      allow bob eth1 host                with eth1's host rings
 *      interfaces 4                       that a user may have at a time; default 16
 *      memory 2G                          that one interface may pin; default 4G
 *
 * Without a file, or where it says nothing, only root and the user that netmapd-nic runs as may have interfaces. It is read for each
 * connection, so that a change holds from the next one on.
 *
 * Thread safety: one thread.
 */
#ifndef NIC_ACCESS_H
#define NIC_ACCESS_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "nm_error.h"

enum { ACCESS_RULES_MAX = 256, ACCESS_LINE_MAX = 512 };

struct access_rule {
	uint32_t line;
	bool host; /* with their host rings */
	char who[64];
	char interfaces[ACCESS_LINE_MAX]; /* separated by single blanks */
};

struct access_rules {
	uint32_t interfaces; /* of a user */
	uint64_t memory;     /* of an interface, bytes */
	uint32_t count;
	struct access_rule *rule;
};

/* A file that is not there says nothing. 0, or a negative errno with a text that names the line. */
int access_read(struct access_rules *a, const char *path, struct nm_error *err);
void access_free(struct access_rules *a);

/* May the user have the interface; ifname NULL: any at all? */
bool access_may(const struct access_rules *a, uid_t user, const char *ifname);

/* May the user have its host rings as well: what the host sends and receives there? */
bool access_may_host(const struct access_rules *a, uid_t user, const char *ifname);

/* May the user have every interface, whatever it is called? */
bool access_may_all(const struct access_rules *a, uid_t user);

#endif
