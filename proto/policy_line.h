/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * policy_line.h - a line of a configuration file that says who may have what, or how much of it: "allow WHO …", "limit WHO …".
 *
 * netmapd makes a rule of it for each user that it means (netmapd/policy.h, where the lines are described); netmapctl reads the same
 * files and knows no users. So what is right or wrong for all users alike is found here, by both.
 *
 * Thread safety: no state.
 */
#ifndef PROTO_POLICY_LINE_H
#define PROTO_POLICY_LINE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "config.h"

enum policy_right {
	RIGHT_PORT,
	RIGHT_CAPTURE,
	RIGHT_DEVICE,
	RIGHT_REGION,
	RIGHT_STATUS,
	RIGHTS, /* none: it is a limit */
};

enum policy_who { POLICY_ALL, POLICY_USER, POLICY_GROUP };

enum { POLICY_WORD = 2 * NMD_NAME_MAX }; /* bytes of a pattern or a limit, its end included */

struct policy_line {
	enum policy_right right;
	enum policy_who who;
	const char *name; /* of the user or the group */
	char *const *
		words; /* patterns, numbers of regions or limits, then NULL; none for RIGHT_STATUS */
};

/* "port", … */
const char *policy_right_name(enum policy_right right);

/* All but whether the user or the group is there. `line` points into `words`. 0, or -EINVAL with a text that names the line. */
int policy_line_parse(const struct config_place *at, char *const words[], unsigned count,
	struct policy_line *line, struct nm_error *err);

/* A region's number or a limit (RIGHTS), of which %u and %n are replaced; all else is right. 0, or -EINVAL with a text that names the line. */
int policy_check_word(const struct config_place *at, enum policy_right right, bool one_user,
	const char *word, struct nm_error *err);

/* %u and %n of a pattern, for one user. False: it gets too long, or there is another %. */
bool policy_expand(const char *pattern, uint32_t uid, const char *name, char *out, size_t size);

#endif
