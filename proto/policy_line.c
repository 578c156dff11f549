/* SPDX-License-Identifier: BSD-2-Clause */
#include "policy_line.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bounds.h"

static const char *const rights[RIGHTS] = {"port", "capture", "device", "region", "status"};

const char *policy_right_name(enum policy_right right)
{
	return rights[right];
}

static int wrong(
	const struct config_place *at, struct nm_error *err, const char *what, const char *word)
{
	return nm_error_set(err, -EINVAL, "%.120s:%u: %s '%.60s'", at->file, at->line, what, word);
}

bool policy_expand(const char *pattern, uint32_t uid, const char *name, char *out, size_t size)
{
	size_t at = 0;

	for (; *pattern && at + 1 < size; pattern++) {
		int n;

		if (pattern[0] != '%') {
			out[at++] = *pattern;
			continue;
		}
		n = pattern[1] == 'u'   ? snprintf(out + at, size - at, "%u", (unsigned)uid)
		    : pattern[1] == 'n' ? snprintf(out + at, size - at, "%s", name)
					: -1;
		if (n < 0)
			return false;
		at += (size_t)n;
		pattern++;
	}
	if (at >= size)
		return false;
	out[at] = '\0';
	return !*pattern;
}

/* ---- one word -------------------------------------------------------------------------------- */

/* As netmapd writes it, which compares texts. */
static bool is_region(const char *word)
{
	char text[16];

	snprintf(text, sizeof(text), "%u", (unsigned)(uint16_t)strtoul(word, NULL, 10));
	return strcmp(text, word) == 0 && *text != '0';
}

static int check_limit(
	const struct config_place *at, bool one_user, const char *word, struct nm_error *err)
{
	struct bound_wanted wanted;
	struct nm_error why;

	if (bound_parse(word, one_user, &wanted, &why) == 0)
		return 0;
	return nm_error_set(err, -EINVAL, "%.120s:%u: %s", at->file, at->line, why.text);
}

int policy_check_word(const struct config_place *at, enum policy_right right, bool one_user,
	const char *word, struct nm_error *err)
{
	if (right == RIGHTS)
		return check_limit(at, one_user, word, err);
	if (right == RIGHT_REGION && !is_region(word))
		return wrong(at, err, "no number of a region, 1 to 65535:", word);
	return 0;
}

/* The user's number and name may be as short as can be; who knows them checks again what comes of it. */
static int check_word(const struct config_place *at, const struct policy_line *line,
	const char *word, struct nm_error *err)
{
	char expanded[POLICY_WORD];

	/* For all it is done when somebody asks. */
	if (line->who == POLICY_ALL && strstr(word, "%n"))
		return wrong(at, err, "%n is for users and groups, %u for all:", word);
	if (!policy_expand(word, 1, "1", expanded, sizeof(expanded)) ||
		strlen(word) >= sizeof(expanded))
		return wrong(at, err, "a % that is neither %u nor %n, or too long:", word);
	return policy_check_word(at, line->right, line->who != POLICY_ALL,
		line->who == POLICY_ALL ? word : expanded, err);
}

/* ---- the line -------------------------------------------------------------------------------- */

static enum policy_right find_right(const char *word)
{
	int i = 0;

	while (i < RIGHTS && strcmp(rights[i], word) != 0)
		i++;
	return (enum policy_right)i;
}

/* more: words follow. */
static int take_right(const struct config_place *at, const char *word, bool more,
	struct policy_line *line, struct nm_error *err)
{
	line->right = find_right(word);
	if (line->right == RIGHTS)
		return wrong(at, err, "port, capture, device, region or status, not", word);
	if ((line->right == RIGHT_STATUS) == !more)
		return 0;
	return wrong(at, err,
		line->right == RIGHT_STATUS ? "nothing follows" : "which ones? behind", word);
}

/* Moves *what behind those whom the line is for. */
static int take_who(const struct config_place *at, char *const words[], unsigned count,
	unsigned *what, struct policy_line *line, struct nm_error *err)
{
	const char *whom = count > 1 ? words[1] : "";
	bool all = strcmp(whom, "all") == 0, user = strcmp(whom, "user") == 0;
	bool group = strcmp(whom, "group") == 0;

	*what = all ? 2 : 3;
	if (count <= *what || (!all && !user && !group))
		return wrong(at, err,
			"user NAME, group NAME or all, and what they may, should follow", words[0]);
	line->who = all ? POLICY_ALL : user ? POLICY_USER : POLICY_GROUP;
	line->name = all ? "" : words[2];
	return 0;
}

int policy_line_parse(const struct config_place *at, char *const words[], unsigned count,
	struct policy_line *line, struct nm_error *err)
{
	bool limit = strcmp(words[0], "limit") == 0;
	unsigned what;
	int error;

	*line = (struct policy_line){.right = RIGHTS};
	if (!limit && strcmp(words[0], "allow") != 0)
		return wrong(at, err, "a line begins with allow or limit, not", words[0]);
	error = take_who(at, words, count, &what, line, err);
	if (!error && !limit) {
		error = take_right(at, words[what], what + 1 < count, line, err);
		what++;
	}
	line->words = words + what;
	for (unsigned i = what; i < count && !error; i++)
		error = check_word(at, line, words[i], err);
	return error;
}
