/* SPDX-License-Identifier: BSD-2-Clause */
#include "access.h"

#include <ctype.h>
#include <errno.h>
#include <fnmatch.h>
#include <grp.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

enum { INTERFACES = 16, GROUPS_MAX = 256 };

/* ---- reading ---------------------------------------------------------------------------------- */

/* The next word; *rest goes behind it. NULL: there is none. */
static char *word(char **rest)
{
	char *at = *rest + strspn(*rest, " \t");

	if (!*at)
		return NULL;
	*rest = at + strcspn(at, " \t");
	if (**rest)
		*(*rest)++ = '\0';
	return at;
}

static int wrong(struct nm_error *err, const char *path, uint32_t line, const char *why)
{
	return nm_error_set(err, -EINVAL, "%s:%u: %s", path, line, why);
}

static bool is_somebody(const char *who)
{
	if (who[0] == '@')
		return getgrnam(who + 1) != NULL;
	return (isdigit((unsigned char)who[0]) && who[strspn(who, "0123456789")] == '\0') ||
	       getpwnam(who) != NULL;
}

/* The names of interfaces, and perhaps "host" behind them, which alone is a name. */
static void take_names(struct access_rule *rule, char *rest)
{
	char *name, *last = NULL;

	while ((name = word(&rest))) {
		if (last) {
			strcat(rule->interfaces, rule->interfaces[0] ? " " : "");
			strcat(rule->interfaces, last); /* together shorter than the line */
		}
		last = name;
	}
	rule->host = last && rule->interfaces[0] && strcmp(last, "host") == 0;
	if (last && !rule->host) {
		strcat(rule->interfaces, rule->interfaces[0] ? " " : "");
		strcat(rule->interfaces, last);
	}
}

static int add_rule(
	struct access_rules *a, char *rest, const char *path, uint32_t line, struct nm_error *err)
{
	struct access_rule *rule = &a->rule[a->count];
	char *who = word(&rest);

	if (a->count == ACCESS_RULES_MAX)
		return wrong(err, path, line, "too many lines \"allow\", at most 256 are possible");
	if (!who || strlen(who) >= sizeof(rule->who))
		return wrong(err, path, line,
			"allow wants a user, or @group, and interfaces, as in: allow alice eth1");
	if (!is_somebody(who))
		return nm_error_set(err, -EINVAL, "%s:%u: there is no %s %.64s", path, line,
			who[0] == '@' ? "group" : "user", who);
	*rule = (struct access_rule){.line = line};
	strcpy(rule->who, who);
	take_names(rule, rest);
	if (!rule->interfaces[0])
		return wrong(err, path, line,
			"allow wants interfaces behind the user, as in: allow alice eth1");
	a->count++;
	return 0;
}

/* A number, perhaps with K, M, G, T; 0: it is none. */
static uint64_t amount(const char *text)
{
	static const char units[] = "KMGT";
	const char *unit;
	char *end;
	uint64_t n;

	if (!text || !isdigit((unsigned char)text[0]) || strlen(text) > 12)
		return 0;
	n = strtoull(text, &end, 10);
	if (*end == '\0')
		return n;
	unit = strchr(units, *end);
	if (!unit || end[1] != '\0')
		return 0;
	for (const char *u = units; u <= unit && n < UINT64_MAX / 1024; u++)
		n *= 1024;
	return n;
}

static int take_line(
	struct access_rules *a, char *text, const char *path, uint32_t line, struct nm_error *err)
{
	char *rest = text, *key, *value;

	text[strcspn(text, "#\r\n")] = '\0';
	key = word(&rest);
	if (!key)
		return 0;
	if (strcmp(key, "allow") == 0)
		return add_rule(a, rest, path, line, err);
	if (strcmp(key, "interfaces") != 0 && strcmp(key, "memory") != 0)
		return nm_error_set(err, -EINVAL,
			"%s:%u: \"%.40s\" is not allow, interfaces or memory", path, line, key);
	value = word(&rest);
	if (word(&rest))
		return wrong(err, path, line, "too many words");
	if (strcmp(key, "interfaces") == 0) {
		uint64_t n = amount(value);

		if (n < 1 || n > 1024)
			return wrong(err, path, line, "interfaces wants a number from 1 to 1024");
		a->interfaces = (uint32_t)n;
		return 0;
	}
	a->memory = amount(value);
	return a->memory ? 0 : wrong(err, path, line, "memory wants bytes, as in 512M or 4G");
}

int access_read(struct access_rules *a, const char *path, struct nm_error *err)
{
	char text[ACCESS_LINE_MAX];
	uint32_t line = 0;
	int error = 0;
	FILE *f;

	*a = (struct access_rules){.interfaces = INTERFACES, .memory = 4ULL << 30};
	a->rule = calloc(ACCESS_RULES_MAX + 1, sizeof(*a->rule));
	if (!a->rule)
		return nm_error_set(err, -ENOMEM, "out of memory");
	f = fopen(path, "re");
	if (!f && errno != ENOENT)
		error = nm_error_set(err, -errno, "%s: %s", path, strerror(errno));
	while (f && !error && fgets(text, sizeof(text), f)) {
		if (strlen(text) == sizeof(text) - 1)
			error = wrong(err, path, line + 1, "the line is too long");
		else
			error = take_line(a, text, path, ++line, err);
	}
	if (f)
		fclose(f);
	if (error)
		access_free(a);
	return error;
}

void access_free(struct access_rules *a)
{
	free(a->rule);
	*a = (struct access_rules){0};
}

/* ---- asking ----------------------------------------------------------------------------------- */

static bool is_in_group(uid_t user, const char *group)
{
	const struct passwd *pw = getpwuid(user);
	const struct group *gr = getgrnam(group);
	gid_t groups[GROUPS_MAX];
	int count = GROUPS_MAX;

	if (!pw || !gr)
		return false;
	getgrouplist(pw->pw_name, pw->pw_gid, groups, &count);
	for (int i = 0; i < count && i < GROUPS_MAX; i++)
		if (groups[i] == gr->gr_gid)
			return true;
	return false;
}

static bool is_meant(const char *who, uid_t user)
{
	const struct passwd *pw;

	if (who[0] == '@')
		return is_in_group(user, who + 1);
	if (isdigit((unsigned char)who[0]))
		return strtoull(who, NULL, 10) == user;
	pw = getpwnam(who);
	return pw && pw->pw_uid == user;
}

static bool matches(const char *patterns, const char *ifname)
{
	char copy[ACCESS_LINE_MAX], *rest = copy, *pattern;

	if (!ifname)
		return true;
	strcpy(copy, patterns);
	while ((pattern = word(&rest)))
		if (fnmatch(pattern, ifname, 0) == 0)
			return true;
	return false;
}

static bool matches_all(const char *patterns, const char *ifname)
{
	char copy[ACCESS_LINE_MAX], *rest = copy, *pattern;

	strcpy(copy, patterns);
	while ((pattern = word(&rest)))
		if (strcmp(pattern, "*") == 0)
			return true;
	return false;
}

static bool may(const struct access_rules *a, uid_t user, const char *ifname, bool host,
	bool (*fits)(const char *patterns, const char *ifname))
{
	if (user == 0 || user == getuid())
		return true;
	for (uint32_t i = 0; i < a->count; i++)
		if ((a->rule[i].host || !host) && is_meant(a->rule[i].who, user) &&
			fits(a->rule[i].interfaces, ifname))
			return true;
	return false;
}

bool access_may(const struct access_rules *a, uid_t user, const char *ifname)
{
	return may(a, user, ifname, false, matches);
}

bool access_may_host(const struct access_rules *a, uid_t user, const char *ifname)
{
	return may(a, user, ifname, true, matches);
}

bool access_may_all(const struct access_rules *a, uid_t user)
{
	return may(a, user, NULL, false, matches_all);
}
