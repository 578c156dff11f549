/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * config.h - configuration files of netmapd (netmapd.conf(5)): read and checked, as a list of items.
 *
 * A line is one item: words between spaces, # begins a comment. netmapd reads such files when it starts, netmapctl when it
 * applies one: so they have one reader, and errors have the file and the line.
 *
 *      set workers 4                       set cpus 2,3       set poll-us 100     set spread ring     set full-wait-ms 50
 *      place vale1:web* 2,3                the rings of these ports go to workers 2 and 3 in turn
 *      port tap0 [tx-rings=2] …            a persistent port
 *      attach vale1:eth1 [host] [poll=2+1] a device on a switch; with its host rings; polled by 1 thread on CPU 2
 *      full-wait vale1:eth1 0              milliseconds that packets wait for a full receiver, of a port or a switch
 *      allow …, limit …                    who may have what: policy.h has their reader
 *
 *      struct config config = {0};
 *      error = config_read(&config, "/etc/netmapd", NULL, &err);
 *      for (const struct config_item *i = config.items; i; i = i->next)
 *              ...
 *      config_free(&config);
 *
 * Thread safety: no state of its own.
 */
#ifndef PROTO_CONFIG_H
#define PROTO_CONFIG_H

#include <stdbool.h>
#include <stdint.h>

#include "nm_error.h"
#include "proto.h"

enum {
	CONFIG_WORKERS_MAX = 64,
	CONFIG_FULL_WAIT_MAX_MS = 10000,
	CONFIG_CPUS_MAX = 1024,        /* as cpu_set_t has */
	CONFIG_WORDS_MAX = 64,         /* of a line */
	CONFIG_LIST_MAX = 320,         /* bytes of a list: so many CPUs as there can be workers */
	CONFIG_TEXT_MAX = NMD_SET_MAX, /* bytes of a line, which has a pattern and a list at most */
};

enum config_kind {
	CONFIG_SET,
	CONFIG_PLACE,
	CONFIG_PORT,
	CONFIG_ATTACH,
	CONFIG_FULL_WAIT,
	CONFIG_LIMIT_ALL
};

enum config_setting {
	CONFIG_WORKERS,
	CONFIG_CPUS,
	CONFIG_POLL_US,
	CONFIG_SPREAD, /* 1: ring */
	CONFIG_FULL_WAIT_MS,
	CONFIG_SETTINGS,
};

struct config_place {
	const char *file;
	unsigned line; /* 0: no file */
};

struct config_item {
	struct config_item *next;
	struct config_place at;
	enum config_kind kind;
	enum config_setting setting; /* CONFIG_SET */
	/* The pattern of a placement, the name of a port or a switch, SWITCH:DEVICE, or a limit (ports=1/2). */
	char name[NMD_NAME_MAX];
	/* The setting's value, its CPUs, the workers of a placement, or the milliseconds of a switch; none: any. */
	uint32_t numbers[CONFIG_WORKERS_MAX], count;
	uint32_t tx_slots, rx_slots, tx_rings, rx_rings,
		region;                  /* of a port; 0: as netmapd likes */
	bool host;                       /* of an attachment */
	uint32_t poll_cpu, poll_threads; /* the same; 0 threads: isn't polled */
};

struct config {
	struct config_item *items, *last;
	char *files[256];
	unsigned num_files;
	unsigned policy_lines;
};

/* Lines that begin with allow or limit: as policy_take(). */
typedef int config_policy_fn(void *arg, const struct config_place *at, char *const words[],
	unsigned count, struct nm_error *err);

/* With whom such lines end up; NULL: they are counted, and those of all users are items. */
struct config_policy {
	config_policy_fn *take;
	void *arg;
};

/*
 * Adds what `path` says: a file, or a directory, whose files *.conf are read in the order of their names. `config` begins as
 * {0}. 0, or a negative errno with a text that begins with FILE:LINE; then config_free() is due all the same.
 */
int config_read(struct config *config, const char *path, const struct config_policy *policy,
	struct nm_error *err);
/* A copy of the item, as the last one. 0, or -ENOMEM with a text. */
int config_add(struct config *config, const struct config_item *item, struct nm_error *err);
/* The one that says something of the same setting, port, …; NULL: none. */
const struct config_item *config_find(const struct config *config, const struct config_item *item);
void config_free(struct config *config);

/* Each line of a file that has words: for other readers of the same form. */
int config_read_lines(const char *file, config_policy_fn *take, void *arg, struct nm_error *err);

/* One line, as netmapctl sends it (NMD_SET): CONFIG_SET, CONFIG_PLACE or CONFIG_FULL_WAIT. -EINVAL with a text. */
int config_parse(const char *text, struct config_item *item, struct nm_error *err);

/* The line that says the same, without a newline. Returns text. */
const char *config_text(const struct config_item *item, char text[CONFIG_TEXT_MAX]);

/* "port", …; a number list as "1,2", or "any". */
const char *config_setting_name(enum config_setting setting);
const char *config_value(const struct config_item *item, char text[CONFIG_TEXT_MAX]);

#endif
