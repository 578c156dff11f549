/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * policy.h - who may have what of a netmapd that serves several users.
 *
 * Without a policy (--policy, or lines in --config that allow something or limit a user) netmapd is one user's: who can connect may do all that it can. With one, root and the user that
 * netmapd runs as may do all, and everybody else what the file's rules allow, and what is his by the names:
 *
 *      ports of switches valeu<UID>_…, pipes u<UID>_…          his own; nobody else's, unless a rule shares them
 *
 *      allow WHO port PATTERN…        names that he may open, and see; their switches' addresses
 *      allow WHO capture PATTERN…     other users' ports that he may watch, and see
 *      allow WHO device PATTERN…      devices: attach to a switch of his, detach, poll, make, remove
 *      allow WHO region NUMBER…       memory that all who may name it share
 *      allow WHO status               ports, machines and events of all users
 *      limit WHO LIMIT=N…             instead of netmapd's --max
 *
 * Host rings are the host's own stack: who wants them needs the right to the port's name with a ^ behind it (eth1^) besides, or to
 * capture that, if it is another user's port.
 *
 * WHO is user NAME, group NAME or all. In a pattern * and ? stand for what they do in a shell, %u for the user's number, %n for his
 * name. Groups are those of the time at which the file is read.
 *
 *      policy = policy_new();
 *      error = config_read_lines(file, policy_take, policy, &err);     in any thread, one at a time
 *      policy_activate(file);                                         before others run
 *      policy_use(policy);                                            at the start, and when it was read anew
 *
 * Thread safety: control thread; policy_new(), _take(), _names_users(), _forget_users() and _free() of one that is not in use: one thread at a time.
 */
#ifndef NETMAPD_POLICY_H
#define NETMAPD_POLICY_H

#include <stdbool.h>
#include <stdint.h>

#include "config.h"
#include "nm_error.h"

struct nm_core;
struct policy;

/* Without a rule. NULL: no memory. */
struct policy *policy_new(void);
void policy_free(struct policy *policy); /* NULL is allowed */

/* A line of a file (config.h) becomes a rule of `policy`. A negative errno with a text that names the line. */
int policy_take(void *policy, const struct config_place *at, char *const words[], unsigned count,
	struct nm_error *err);
/* Does a line allow something, or limit a user or a group? Limits of all make no several users. */
bool policy_names_users(const struct policy *policy);
/* What is left is what concerns all: limits. */
void policy_forget_users(struct policy *policy);

/* It is in force instead of the one before, which is freed. */
void policy_use(struct policy *policy);

/* From now on there are several users; where: the rules come from, for texts. */
void policy_activate(const char *where);

/* Is there one? */
bool policy_active(void);

/* Root, or the user whose netmapd this is? */
bool policy_is_owner(uint32_t uid);

/* May this user do all? Those two, and everybody without a policy. */
bool policy_is_admin(uint32_t uid);

/* And see all? */
bool policy_sees_all(uint32_t uid);

/*
 * 0, or -EPERM with a text that names what is missing. `name`: of a port, as in a request; a pipe's is judged by the port that it
 * belongs to.
 */
int policy_port(uint32_t uid, const char *name, struct nm_error *err);
int policy_switch(uint32_t uid, const char *sw_name, struct nm_error *err);

/* May he watch the port of that name, whoever has it? */
bool policy_may_watch(uint32_t uid, const char *name);

int policy_device(uint32_t uid, const char *name, struct nm_error *err);

/* The host rings of a device that comes on a switch. */
int policy_host(uint32_t uid, const char *name, struct nm_error *err);

/*
 * The same of a registration: `flags` (NR_*) and `mode` as in the request, mem_id 0 for none. A monitor of another user's port
 * wants the right to capture; a region is somebody's own, or one that he may name.
 */
int policy_bind(struct nm_core *core, uint32_t uid, const char *name, uint32_t mode, uint64_t flags,
	uint16_t mem_id, struct nm_error *err);

/* May he open the port, or watch it? For what is made before it is known which. */
int policy_open(struct nm_core *core, uint32_t uid, const char *name, struct nm_error *err);

/* Does a mode of registration (NR_REG_*) have host rings? */
bool policy_host_mode(uint32_t mode);

/* The same of a control request (as policy_request()): a registration, or a device on a switch. */
bool policy_host_rings(const void *payload, size_t bytes);

/* policy_bind() of a control request as it came (proto.h, NMD_NMREQ). What is malformed is left to who executes it: 0. */
int policy_request(struct nm_core *core, uint32_t uid, const void *payload, size_t bytes,
	struct nm_error *err);

#endif
