/* SPDX-License-Identifier: BSD-2-Clause */
#include "config.h"
#include "policy_line.h"

#include <assert.h>
#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

enum { LINE_BYTES = 4096 };

static const char TOO_MANY_WORDS[] = "a line has at most 63 words, begin another one with";
static_assert(CONFIG_WORDS_MAX == 64, "as the text says");

static_assert(CONFIG_TEXT_MAX > sizeof("place  ") + NMD_NAME_MAX + CONFIG_LIST_MAX, "a line fits");
static_assert(CONFIG_LIST_MAX >= CONFIG_WORKERS_MAX * 5, "a list fits, of numbers up to 1023");

static const struct {
	const char *name;
	uint32_t min, max;
	const char *values; /* in texts */
} settings[CONFIG_SETTINGS] = {
	[CONFIG_WORKERS] = {"workers", 1, CONFIG_WORKERS_MAX, "a number from 1 to 64"},
	[CONFIG_CPUS] = {"cpus", 0, CONFIG_CPUS_MAX - 1, "any, or CPUs, as in 2,3"},
	[CONFIG_POLL_US] = {"poll-us", 0, 1000000, "a number from 0 to 1000000"},
	[CONFIG_SPREAD] = {"spread", 0, 1, "port or ring"},
	[CONFIG_FULL_WAIT_MS] = {"full-wait-ms", 0, CONFIG_FULL_WAIT_MAX_MS,
		"a number from 0 to 10000"},
};

/* ---- words ------------------------------------------------------------------------------------ */

static int wrong(
	const struct config_place *at, struct nm_error *err, const char *what, const char *word)
{
	if (at->line == 0)
		return nm_error_set(err, -EINVAL, "%s '%.60s'", what, word);
	return nm_error_set(err, -EINVAL, "%.120s:%u: %s '%.60s'", at->file, at->line, what, word);
}

static bool take_number(const char *text, uint32_t min, uint32_t max, uint32_t *number)
{
	unsigned long long value;
	char *end;

	errno = 0;
	value = strtoull(text, &end, 10);
	if (*text < '0' || *text > '9' || *end || errno || value < min || value > max)
		return false;
	*number = (uint32_t)value;
	return true;
}

/* "any", or "1,2,3", each number once per place. */
static bool take_numbers(const char *text, uint32_t max, struct config_item *item)
{
	char copy[CONFIG_TEXT_MAX], *word, *rest = copy;

	item->count = 0;
	if (strcmp(text, "any") == 0)
		return true;
	if (snprintf(copy, sizeof(copy), "%s", text) > CONFIG_LIST_MAX)
		return false;
	while ((word = strsep(&rest, ",")))
		if (item->count == CONFIG_WORKERS_MAX ||
			!take_number(word, 0, max, &item->numbers[item->count++]))
			return false;
	return true;
}

static bool take_name(char name[NMD_NAME_MAX], const char *word)
{
	return *word && (size_t)snprintf(name, NMD_NAME_MAX, "%s", word) < NMD_NAME_MAX;
}

/* ---- items: each from its words ----------------------------------------------------------------- */

static int take_set(const struct config_place *at, char *const words[], unsigned count,
	struct config_item *item, struct nm_error *err)
{
	char text[80];
	bool good;

	if (count != 3)
		return wrong(at, err, "a name and one value should follow", words[0]);
	item->setting = 0;
	while (item->setting < CONFIG_SETTINGS &&
		strcmp(words[1], settings[item->setting].name) != 0)
		item->setting++;
	if (item->setting == CONFIG_SETTINGS)
		return wrong(at, err,
			"workers, cpus, poll-us, spread or full-wait-ms can be set, not", words[1]);
	item->count = 1;
	if (item->setting == CONFIG_SPREAD) {
		item->numbers[0] = strcmp(words[2], "ring") == 0;
		good = item->numbers[0] || strcmp(words[2], "port") == 0;
	} else if (item->setting == CONFIG_CPUS) {
		good = take_numbers(words[2], settings[CONFIG_CPUS].max, item);
	} else {
		good = take_number(words[2], settings[item->setting].min,
			settings[item->setting].max, &item->numbers[0]);
	}
	if (good)
		return 0;
	snprintf(text, sizeof(text), "%s is %s, not", settings[item->setting].name,
		settings[item->setting].values);
	return wrong(at, err, text, words[2]);
}

static int take_place(const struct config_place *at, char *const words[], unsigned count,
	struct config_item *item, struct nm_error *err)
{
	if (count != 3)
		return wrong(at, err, "a pattern and workers, as in 0,1, should follow", words[0]);
	if (!take_name(item->name, words[1]))
		return wrong(at, err, "a pattern has at most 63 bytes:", words[1]);
	if (!take_numbers(words[2], CONFIG_WORKERS_MAX - 1, item))
		return wrong(at, err, "workers are any, or numbers from 0 to 63, as in 0,1, not",
			words[2]);
	return 0;
}

static bool take_shape(const char *word, struct config_item *item)
{
	const struct {
		const char *name;
		uint32_t *number, max;
	} shapes[] = {{"tx-rings=", &item->tx_rings, 64}, {"rx-rings=", &item->rx_rings, 64},
		{"tx-slots=", &item->tx_slots, 1 << 16}, {"rx-slots=", &item->rx_slots, 1 << 16},
		{"region=", &item->region, 65535}};

	for (size_t i = 0; i < sizeof(shapes) / sizeof(shapes[0]); i++) {
		size_t length = strlen(shapes[i].name);

		if (strncmp(word, shapes[i].name, length) == 0)
			return take_number(word + length, 1, shapes[i].max, shapes[i].number);
	}
	return false;
}

static int take_port(const struct config_place *at, char *const words[], unsigned count,
	struct config_item *item, struct nm_error *err)
{
	if (count < 2 || !take_name(item->name, words[1]))
		return wrong(at, err, "the name of a port, as tap0, should follow", words[0]);
	if (strchr(words[1], ':'))
		return wrong(at, err,
			"a persistent port has a name of its own, and attach puts it on a switch; not",
			words[1]);
	for (unsigned i = 2; i < count; i++)
		if (!take_shape(words[i], item))
			return wrong(at, err,
				"tx-rings=N, rx-rings=N, tx-slots=N, rx-slots=N or region=N, not",
				words[i]);
	return 0;
}

/* "2": a thread on CPU 2; "2+3": threads on CPUs 2, 3 and 4. */
static bool take_poll(const char *word, struct config_item *item)
{
	char first[16];
	size_t length = strcspn(word, "+");

	item->poll_threads = 1;
	if (length >= sizeof(first))
		return false;
	snprintf(first, sizeof(first), "%.*s", (int)length, word);
	return take_number(first, 0, CONFIG_CPUS_MAX - 1, &item->poll_cpu) &&
	       (!word[length] ||
		       take_number(word + length + 1, 1, CONFIG_WORKERS_MAX, &item->poll_threads));
}

static int take_attach(const struct config_place *at, char *const words[], unsigned count,
	struct config_item *item, struct nm_error *err)
{
	const char *colon = count > 1 ? strchr(words[1], ':') : NULL;

	if (!colon || !colon[1] || strncmp(words[1], "vale", 4) != 0 ||
		!take_name(item->name, words[1]))
		return wrong(at, err, "SWITCH:DEVICE, as vale0:eth1, should follow", words[0]);
	for (unsigned i = 2; i < count; i++) {
		if (strcmp(words[i], "host") == 0)
			item->host = true;
		else if (strncmp(words[i], "poll=", 5) != 0 || !take_poll(words[i] + 5, item))
			return wrong(at, err, "host, poll=CPU or poll=CPU+THREADS, not", words[i]);
	}
	return 0;
}

static int take_full_wait(const struct config_place *at, char *const words[], unsigned count,
	struct config_item *item, struct nm_error *err)
{
	const uint32_t max = settings[CONFIG_FULL_WAIT_MS].max;

	if (count != 3 || strncmp(words[1], "vale", 4) != 0)
		return wrong(at, err,
			"a switch or a port of one, as vale1, and milliseconds should follow",
			words[0]);
	if (!take_name(item->name, words[1]))
		return wrong(at, err, "a name has at most 63 bytes:", words[1]);
	item->count = strcmp(words[2], "any") != 0;
	if (item->count && !take_number(words[2], 0, max, &item->numbers[0]))
		return wrong(at, err, "milliseconds are any, or a number from 0 to 10000, not",
			words[2]);
	return 0;
}

static const struct {
	const char *name;
	int (*take)(const struct config_place *at, char *const words[], unsigned count,
		struct config_item *item, struct nm_error *err);
} kinds[] = {
	[CONFIG_SET] = {"set", take_set},
	[CONFIG_PLACE] = {"place", take_place},
	[CONFIG_PORT] = {"port", take_port},
	[CONFIG_ATTACH] = {"attach", take_attach},
	[CONFIG_FULL_WAIT] = {"full-wait", take_full_wait},
};

enum { KINDS = sizeof(kinds) / sizeof(kinds[0]) };

static int take_item(const struct config_place *at, char *const words[], unsigned count,
	struct config_item *item, struct nm_error *err)
{
	for (int i = 0; i < KINDS; i++) {
		if (strcmp(words[0], kinds[i].name) != 0)
			continue;
		item->kind = i;
		return kinds[i].take(at, words, count, item, err);
	}
	return wrong(at, err,
		"a line begins with set, place, port, attach, full-wait, allow or limit, not",
		words[0]);
}

/* ---- lines, files ------------------------------------------------------------------------------- */

/* The last of `words` is NULL. CONFIG_WORDS_MAX: there are more. */
static unsigned split(char *line, char *words[CONFIG_WORDS_MAX])
{
	unsigned count = 0;
	char *word, *rest = line;

	line[strcspn(line, "#\n")] = '\0';
	while ((word = strsep(&rest, " \t\r"))) {
		if (!*word)
			continue;
		words[count++] = word;
		if (count == CONFIG_WORDS_MAX)
			return count;
	}
	words[count] = NULL;
	return count;
}

int config_read_lines(const char *file, config_policy_fn *take, void *arg, struct nm_error *err)
{
	struct config_place at = {.file = file};
	char line[LINE_BYTES], *words[CONFIG_WORDS_MAX];
	FILE *f = fopen(file, "re");
	int error = 0;

	if (!f)
		return nm_error_set(err, -errno, "%.120s: %s", file, strerror(errno));
	while (!error && fgets(line, sizeof(line), f)) {
		unsigned count;

		at.line++;
		if (!strchr(line, '\n') && !feof(f)) {
			error = wrong(&at, err, "a line is too long:", line);
			break;
		}
		count = split(line, words);
		if (count == CONFIG_WORDS_MAX)
			error = wrong(&at, err, TOO_MANY_WORDS, words[count - 1]);
		else if (count > 0)
			error = take(arg, &at, words, count, err);
	}
	if (!error && ferror(f))
		error = nm_error_set(err, -EIO, "%.120s: %s", file, strerror(errno));
	fclose(f);
	return error;
}

struct reading {
	struct config *config;
	const struct config_policy *policy;
};

int config_add(struct config *config, const struct config_item *item, struct nm_error *err)
{
	struct config_item *copy = malloc(sizeof(*copy));

	if (!copy)
		return nm_error_set(err, -ENOMEM, "out of memory");
	*copy = *item;
	copy->next = NULL;
	if (config->last)
		config->last->next = copy;
	else
		config->items = copy;
	config->last = copy;
	return 0;
}

const struct config_item *config_find(const struct config *config, const struct config_item *item)
{
	for (const struct config_item *i = config->items; i; i = i->next)
		if (i->kind == item->kind &&
			(item->kind == CONFIG_SET ? i->setting == item->setting
						  : strcmp(i->name, item->name) == 0))
			return i;
	return NULL;
}

/*
 * Twice the same thing would be changed each time. In other words it is an error; in the same ones it is said twice, as in a file that
 * netmapctl has saved beside others.
 */
static int add_item(struct config *config, const struct config_item *item, struct nm_error *err)
{
	const struct config_item *same =
		item->kind == CONFIG_LIMIT_ALL ? NULL : config_find(config, item);
	char text[CONFIG_TEXT_MAX], again[CONFIG_TEXT_MAX];

	if (!same)
		return config_add(config, item, err);
	if (strcmp(config_text(same, text), config_text(item, again)) == 0)
		return 0;
	return nm_error_set(err, -EINVAL, "%.120s:%u: %s is in %.80s:%u already", item->at.file,
		item->at.line,
		item->kind == CONFIG_SET ? config_setting_name(item->setting) : item->name,
		same->at.file, same->at.line);
}

/* Of what netmapd reads alone, netmapctl checks what it can, and can change what concerns all users (NMD_LIMIT). */
static int take_policy(struct reading *r, const struct config_place *at, char *const words[],
	unsigned count, struct nm_error *err)
{
	struct config_item item = {.kind = CONFIG_LIMIT_ALL, .at = *at};
	struct policy_line line;
	int error;

	if (r->policy) {
		r->config->policy_lines++;
		return r->policy->take(r->policy->arg, at, words, count, err);
	}
	error = policy_line_parse(at, words, count, &line, err);
	if (error || line.right != RIGHTS || line.who != POLICY_ALL) {
		r->config->policy_lines++;
		return error;
	}
	for (char *const *word = line.words; *word && !error; word++)
		error = take_name(item.name, *word) ? add_item(r->config, &item, err)
						    : wrong(at, err, "too long:", *word);
	return error;
}

static int take_line(void *arg, const struct config_place *at, char *const words[], unsigned count,
	struct nm_error *err)
{
	struct reading *r = arg;
	struct config_item item = {.at = *at};
	int error;

	if (strcmp(words[0], "allow") == 0 || strcmp(words[0], "limit") == 0)
		return take_policy(r, at, words, count, err);
	error = take_item(at, words, count, &item, err);
	return error ? error : add_item(r->config, &item, err);
}

static int read_file(struct reading *r, const char *path, struct nm_error *err)
{
	struct config *config = r->config;

	if (config->num_files == sizeof(config->files) / sizeof(config->files[0]))
		return nm_error_set(
			err, -E2BIG, "%.120s: more than %u files", path, config->num_files);
	config->files[config->num_files] = strdup(path);
	if (!config->files[config->num_files])
		return nm_error_set(err, -ENOMEM, "out of memory");
	return config_read_lines(config->files[config->num_files++], take_line, r, err);
}

/* Beside those of netmapd lies that of netmapd-nic. */
static int is_config(const struct dirent *entry)
{
	size_t length = strlen(entry->d_name);

	return strcmp(entry->d_name, "nic.conf") != 0 && entry->d_name[0] != '.' && length > 5 &&
	       strcmp(entry->d_name + length - 5, ".conf") == 0;
}

static int read_dir(struct reading *r, const char *path, struct nm_error *err)
{
	struct dirent **list;
	int n = scandir(path, &list, is_config, alphasort), error = 0;
	char file[4096];

	if (n < 0)
		return nm_error_set(err, -errno, "%.120s: %s", path, strerror(errno));
	for (int i = 0; i < n; i++) {
		if (!error && (size_t)snprintf(file, sizeof(file), "%s/%s", path,
				      list[i]->d_name) >= sizeof(file))
			error = nm_error_set(err, -ENAMETOOLONG, "%.120s: too long", path);
		if (!error)
			error = read_file(r, file, err);
		free(list[i]);
	}
	free(list);
	return error;
}

int config_read(struct config *config, const char *path, const struct config_policy *policy,
	struct nm_error *err)
{
	struct reading r = {config, policy};
	struct stat st;

	if (stat(path, &st) < 0)
		return nm_error_set(err, -errno, "%.120s: %s", path, strerror(errno));
	return S_ISDIR(st.st_mode) ? read_dir(&r, path, err) : read_file(&r, path, err);
}

void config_free(struct config *config)
{
	struct config_item *next;

	for (struct config_item *item = config->items; item; item = next) {
		next = item->next;
		free(item);
	}
	while (config->num_files > 0)
		free(config->files[--config->num_files]);
	*config = (struct config){0};
}

int config_parse(const char *text, struct config_item *item, struct nm_error *err)
{
	static const struct config_place nowhere;
	char line[CONFIG_TEXT_MAX], *words[CONFIG_WORDS_MAX];
	unsigned count;
	int error;

	*item = (struct config_item){0};
	if ((size_t)snprintf(line, sizeof(line), "%s", text) >= sizeof(line))
		return wrong(&nowhere, err, "a line is too long:", text);
	count = split(line, words);
	if (count == CONFIG_WORDS_MAX)
		return wrong(&nowhere, err, TOO_MANY_WORDS, words[count - 1]);
	error = count ? take_item(&nowhere, words, count, item, err)
		      : wrong(&nowhere, err, "nothing is in", text);
	if (!error && item->kind != CONFIG_SET && item->kind != CONFIG_PLACE &&
		item->kind != CONFIG_FULL_WAIT)
		error = wrong(&nowhere, err, "only set, place and full-wait are changed so, not",
			words[0]);
	return error;
}

/* ---- as text ------------------------------------------------------------------------------------ */

const char *config_setting_name(enum config_setting setting)
{
	return settings[setting].name;
}

const char *config_value(const struct config_item *item, char text[CONFIG_TEXT_MAX])
{
	size_t at = 0;

	if (item->kind == CONFIG_SET && item->setting == CONFIG_SPREAD) {
		snprintf(text, CONFIG_TEXT_MAX, "%s", item->numbers[0] ? "ring" : "port");
		return text;
	}
	snprintf(text, CONFIG_TEXT_MAX, "any");
	for (uint32_t i = 0; i < item->count && at < CONFIG_TEXT_MAX; i++)
		at += (size_t)snprintf(
			text + at, CONFIG_TEXT_MAX - at, "%s%u", i ? "," : "", item->numbers[i]);
	return text;
}

static void add_shape(char text[CONFIG_TEXT_MAX], const char *name, uint32_t number)
{
	size_t at = strlen(text);

	if (number)
		snprintf(text + at, CONFIG_TEXT_MAX - at, " %s=%u", name, number);
}

static void port_text(const struct config_item *item, char text[CONFIG_TEXT_MAX])
{
	snprintf(text, CONFIG_TEXT_MAX, "port %s", item->name);
	add_shape(text, "tx-rings", item->tx_rings);
	add_shape(text, "rx-rings", item->rx_rings);
	add_shape(text, "tx-slots", item->tx_slots);
	add_shape(text, "rx-slots", item->rx_slots);
	add_shape(text, "region", item->region);
}

static void attach_text(const struct config_item *item, char text[CONFIG_TEXT_MAX])
{
	char poll[32] = "", more[16] = "";

	if (item->poll_threads > 1)
		snprintf(more, sizeof(more), "+%u", item->poll_threads);
	if (item->poll_threads)
		snprintf(poll, sizeof(poll), " poll=%u%s", item->poll_cpu, more);
	snprintf(text, CONFIG_TEXT_MAX, "attach %s%s%s", item->name, item->host ? " host" : "",
		poll);
}

const char *config_text(const struct config_item *item, char text[CONFIG_TEXT_MAX])
{
	char value[CONFIG_TEXT_MAX];

	switch (item->kind) {
	case CONFIG_SET:
		snprintf(text, CONFIG_TEXT_MAX, "set %s %.320s", settings[item->setting].name,
			config_value(item, value));
		break;
	case CONFIG_PLACE:
		snprintf(text, CONFIG_TEXT_MAX, "place %s %.320s", item->name,
			config_value(item, value));
		break;
	case CONFIG_FULL_WAIT:
		snprintf(text, CONFIG_TEXT_MAX, "full-wait %s %.320s", item->name,
			config_value(item, value));
		break;
	case CONFIG_PORT:
		port_text(item, text);
		break;
	case CONFIG_ATTACH:
		attach_text(item, text);
		break;
	case CONFIG_LIMIT_ALL:
		snprintf(text, CONFIG_TEXT_MAX, "limit all %s", item->name);
	}
	return text;
}
