/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The rules: a list. WHO is expanded to numbers of users when the file is read, so that no question later waits for a directory
 * service. A list that was read takes the place of the one before at once.
 */
#include "policy.h"
#include "accounts.h"
#include "directory.h"
#include "names.h"
#include "policy_line.h"
#include "port.h"
#include "region.h"

#include <errno.h>
#include <fnmatch.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct rule {
	struct rule *next;
	uint32_t uid; /* NM_USER_ANY: all */
	enum policy_right right;
	char pattern[POLICY_WORD]; /* %u and %n are replaced, unless it is for all */
};

struct user_limit {
	struct user_limit *next;
	uint32_t uid;
	char text[POLICY_WORD];
};

struct policy {
	struct rule *rules;
	struct user_limit *limits;
	bool names_users; /* a line allows something, or limits a user or a group */
};

static struct policy none, *current = &none;
static bool active;
static char path[256]; /* for texts */

/* ---- reading ---------------------------------------------------------------------------------- */

struct place {
	const char *file;
	unsigned line;
	struct policy *policy;
	struct nm_error *err;
};

static int wrong(const struct place *at, const char *what, const char *word)
{
	return nm_error_set(at->err, -EINVAL, "%s:%u: %s '%.60s'", at->file, at->line, what, word);
}

static int add_rule(
	const struct place *at, uint32_t uid, enum policy_right right, const char *pattern)
{
	struct rule *rule = calloc(1, sizeof(*rule));

	if (!rule)
		return nm_error_set(at->err, -ENOMEM, "out of memory");
	rule->uid = uid;
	rule->right = right;
	if (strlen(pattern) >= sizeof(rule->pattern)) {
		free(rule);
		return wrong(at, "too long:", pattern);
	}
	strcpy(rule->pattern, pattern);
	rule->next = at->policy->rules;
	at->policy->rules = rule;
	return 0;
}

static int add_limit(const struct place *at, uint32_t uid, const char *text)
{
	struct user_limit *limit = calloc(1, sizeof(*limit));

	if (!limit)
		return nm_error_set(at->err, -ENOMEM, "out of memory");
	limit->uid = uid;
	snprintf(limit->text, sizeof(limit->text), "%s", text);
	limit->next = at->policy->limits;
	at->policy->limits = limit;
	return 0;
}

/* One pattern, or limit, for one user. */
static int add_word(const struct place *at, uint32_t uid, const char *name, enum policy_right right,
	const char *word)
{
	const struct config_place line = {at->file, at->line};
	char expanded[POLICY_WORD];
	int error;

	if (!policy_expand(word, uid, name, expanded, sizeof(expanded)))
		return wrong(at, "too long for a user's number or name:", word);
	error = policy_check_word(&line, right, true, expanded, at->err);
	if (error)
		return error;
	return right == RIGHTS ? add_limit(at, uid, expanded) : add_rule(at, uid, right, expanded);
}

static int apply_to_user(
	const struct place *at, uint32_t uid, const char *name, const struct policy_line *line)
{
	char *const *words = line->words;
	int error = 0;

	if (line->right == RIGHT_STATUS)
		return add_rule(at, uid, RIGHT_STATUS, "*");
	for (; *words && !error; words++)
		error = add_word(at, uid, name, line->right, *words);
	return error;
}

/* What is the user's in a pattern is put in when somebody asks. */
static int apply_to_all(const struct place *at, const struct policy_line *line)
{
	char *const *words = line->words;
	int error = 0;

	if (line->right == RIGHT_STATUS)
		return add_rule(at, NM_USER_ANY, RIGHT_STATUS, "*");
	for (; *words && !error; words++)
		error = line->right == RIGHTS ? add_limit(at, NM_USER_ANY, *words)
					      : add_rule(at, NM_USER_ANY, line->right, *words);
	return error;
}

struct granted {
	const struct place *at;
	const struct policy_line *line;
	int error; /* of the line, with its text */
};

static int apply_to_found(void *arg, uint32_t uid, const char *name)
{
	struct granted *granted = arg;

	granted->error = apply_to_user(granted->at, uid, name, granted->line);
	return granted->error;
}

/* By number, also one who has no name. */
static int apply_to_number(const struct place *at, const struct policy_line *line)
{
	char number[16], *end;
	unsigned long uid = strtoul(line->name, &end, 10);

	snprintf(number, sizeof(number), "%u", (unsigned)uid);
	if (*end || strcmp(number, line->name) != 0)
		return wrong(at, "no such user:", line->name);
	return apply_to_user(at, (uint32_t)uid, number, line);
}

static int apply_to(const struct place *at, const struct policy_line *line)
{
	struct granted granted = {at, line, 0};
	bool group = line->who == POLICY_GROUP;
	int error;

	if (line->who == POLICY_ALL)
		return apply_to_all(at, line);
	error = (group ? directory_group : directory_user)(line->name, apply_to_found, &granted);
	if (!error || granted.error)
		return error;
	if (error != -ENOENT)
		return nm_error_set(at->err, error, "%.120s:%u: %s '%.60s' can't be looked up: %s",
			at->file, at->line, group ? "group" : "user", line->name,
			error == -EPIPE ? "netmapd-names is gone; restart netmapd"
					: strerror(-error));
	return group ? wrong(at, "no such group:", line->name) : apply_to_number(at, line);
}

struct policy *policy_new(void)
{
	return calloc(1, sizeof(struct policy));
}

static void free_rules(struct policy *policy)
{
	while (policy->rules) {
		struct rule *rule = policy->rules;

		policy->rules = rule->next;
		free(rule);
	}
}

void policy_free(struct policy *policy)
{
	if (!policy)
		return;
	free_rules(policy);
	while (policy->limits) {
		struct user_limit *limit = policy->limits;

		policy->limits = limit->next;
		free(limit);
	}
	if (policy != &none)
		free(policy);
}

int policy_take(void *policy, const struct config_place *at, char *const words[], unsigned count,
	struct nm_error *err)
{
	const struct place place = {at->file, at->line, policy, err};
	struct policy_line line;
	int error = policy_line_parse(at, words, count, &line, err);

	if (error)
		return error;
	place.policy->names_users |= line.right != RIGHTS || line.who != POLICY_ALL;
	return apply_to(&place, &line);
}

void policy_use(struct policy *policy)
{
	struct nm_error err;

	policy_free(current);
	current = policy;
	accounts_forget_users();
	/* The last line of a kind counts: the list begins with it, and so do the exceptions, when they come in the other order. */
	for (struct user_limit *turned = NULL, *limit = policy->limits; limit || turned;) {
		if (limit) {
			struct user_limit *next = limit->next;

			limit->next = turned;
			turned = limit;
			limit = next;
			continue;
		}
		policy->limits = turned;
		for (; turned; turned = turned->next)
			if (accounts_set_user(turned->uid, turned->text, &err) != 0)
				os_log(OS_LOG_ERR, "%s", err.text);
	}
}

void policy_activate(const char *where)
{
	active = true;
	snprintf(path, sizeof(path), "%s", where);
}

bool policy_names_users(const struct policy *policy)
{
	return policy->names_users;
}

void policy_forget_users(struct policy *policy)
{
	struct user_limit **link = &policy->limits, *limit;

	while ((limit = *link)) {
		if (limit->uid == NM_USER_ANY) {
			link = &limit->next;
			continue;
		}
		*link = limit->next;
		free(limit);
	}
	free_rules(policy);
	policy->names_users = false;
}

/* ---- questions ----------------------------------------------------------------------------------- */

bool policy_active(void)
{
	return active;
}

bool policy_is_owner(uint32_t uid)
{
	return uid == 0 || uid == (uint32_t)geteuid();
}

bool policy_is_admin(uint32_t uid)
{
	return !active || policy_is_owner(uid);
}

static bool matches(const struct rule *rule, uint32_t uid, const char *text)
{
	char pattern[2 * NETMAP_REQ_IFNAMSIZ + 16];

	if (rule->uid != NM_USER_ANY)
		return rule->uid == uid && fnmatch(rule->pattern, text, 0) == 0;
	/* %n is known for those who are named; a directory is not asked here. */
	return policy_expand(rule->pattern, uid, "", pattern, sizeof(pattern)) &&
	       fnmatch(pattern, text, 0) == 0;
}

static bool may(uint32_t uid, enum policy_right right, const char *text)
{
	for (const struct rule *rule = current->rules; rule; rule = rule->next)
		if (rule->right == right && matches(rule, uid, text))
			return true;
	return false;
}

static int refuse(uint32_t uid, enum policy_right right, const char *what, struct nm_error *err)
{
	return nm_error_set(err, -EPERM,
		"%.63s: no rule of %.80s allows it to user %u; 'allow user %u %s %.63s' would",
		what, path, (unsigned)uid, (unsigned)uid, policy_right_name(right), what);
}

bool policy_sees_all(uint32_t uid)
{
	return policy_is_admin(uid) || may(uid, RIGHT_STATUS, "");
}

/* valeu1000_…:… and u1000_… are user 1000's. */
static bool is_own(uint32_t uid, const struct nm_name *name)
{
	char own[32];

	snprintf(own, sizeof(own), "%su%u_", name->kind == NM_NAME_VALE ? "vale" : "",
		(unsigned)uid);
	return strncmp(name->base, own, strlen(own)) == 0;
}

static bool is_allowed_port(uint32_t uid, const struct nm_name *name)
{
	return is_own(uid, name) || may(uid, RIGHT_PORT, name->base);
}

int policy_port(uint32_t uid, const char *text, struct nm_error *err)
{
	struct nm_error ignored;
	struct nm_name name;

	if (policy_is_admin(uid))
		return 0;
	/* What can't be a name can't be a port either. */
	if (nm_name_parse(text, &name, &ignored) != 0)
		return 0;
	return is_allowed_port(uid, &name) ? 0 : refuse(uid, RIGHT_PORT, name.base, err);
}

bool policy_may_watch(uint32_t uid, const char *text)
{
	struct nm_error ignored;
	struct nm_name name;

	if (policy_is_admin(uid))
		return true;
	return nm_name_parse(text, &name, &ignored) == 0 && may(uid, RIGHT_CAPTURE, name.base);
}

/* Has he the right to any port there? A pattern's part before the colon is of switches. */
int policy_switch(uint32_t uid, const char *sw_name, struct nm_error *err)
{
	char own[32];

	snprintf(own, sizeof(own), "valeu%u_", (unsigned)uid);
	if (policy_is_admin(uid) || strncmp(sw_name, own, strlen(own)) == 0)
		return 0;
	for (const struct rule *rule = current->rules; rule; rule = rule->next) {
		struct rule of_switch = *rule;

		of_switch.pattern[strcspn(of_switch.pattern, ":")] = '\0';
		if (rule->right == RIGHT_PORT && matches(&of_switch, uid, sw_name))
			return 0;
	}
	return refuse(uid, RIGHT_PORT, sw_name, err);
}

int policy_device(uint32_t uid, const char *name, struct nm_error *err)
{
	if (policy_is_admin(uid) || may(uid, RIGHT_DEVICE, name))
		return 0;
	return refuse(uid, RIGHT_DEVICE, name, err);
}

/* They are the stack of the whole host: a right of their own. */
static int check_host(
	uint32_t uid, enum policy_right right, const struct nm_name *name, struct nm_error *err)
{
	char host[NETMAP_REQ_IFNAMSIZ + 1];

	if (name->kind == NM_NAME_VALE || (right == RIGHT_PORT && is_own(uid, name)))
		return 0;
	snprintf(host, sizeof(host), "%s^", name->base);
	return may(uid, right, host) ? 0 : refuse(uid, right, host, err);
}

int policy_host(uint32_t uid, const char *text, struct nm_error *err)
{
	struct nm_error ignored;
	struct nm_name name;

	if (policy_is_admin(uid) || nm_name_parse(text, &name, &ignored) != 0)
		return 0;
	return check_host(uid, RIGHT_PORT, &name, err);
}

/* Whose it is; NM_USER_ANY: nobody's, or there is none. Whether it is there doesn't matter. */
static uint32_t owner_of(struct nm_core *core, const char *name)
{
	const struct nm_port *port;
	uint32_t owner;

	nm_core_lock(core);
	port = nm_port_find_locked(core, name);
	owner = port ? accounts_payer(port->payer) : NM_USER_ANY;
	nm_core_unlock(core);
	return owner;
}

static int check_region(struct nm_core *core, uint32_t uid, uint16_t id, struct nm_error *err)
{
	const struct nm_region *region;
	char number[8];
	bool own;

	if (id == 0)
		return 0;
	snprintf(number, sizeof(number), "%u", id);
	nm_core_lock(core);
	region = nm_region_find(core, id);
	own = region && !region->shared && region->user == uid;
	nm_core_unlock(core);
	return own || may(uid, RIGHT_REGION, number) ? 0 : refuse(uid, RIGHT_REGION, number, err);
}

int policy_bind(struct nm_core *core, uint32_t uid, const char *text, uint32_t mode, uint64_t flags,
	uint16_t mem_id, struct nm_error *err)
{
	bool monitor = flags & (NR_MONITOR_TX | NR_MONITOR_RX | NR_ZCOPY_MON);
	struct nm_error ignored;
	struct nm_name name;
	enum policy_right right;
	uint32_t owner;
	int error;

	if (policy_is_admin(uid))
		return 0;
	error = check_region(core, uid, mem_id, err);
	if (error || mode == NR_REG_NULL || nm_name_parse(text, &name, &ignored) != 0)
		return error;
	owner = monitor ? owner_of(core, text) : uid;
	right = owner != uid && owner != NM_USER_ANY ? RIGHT_CAPTURE : RIGHT_PORT;
	if (right == RIGHT_CAPTURE ? !may(uid, right, name.base) : !is_allowed_port(uid, &name))
		return refuse(uid, right, name.base, err);
	return policy_host_mode(mode) ? check_host(uid, right, &name, err) : 0;
}
