/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * opts.h - one option argument of QEMU, taken apart.
 *
 * Many options of QEMU carry a list: netmap,ifname=vale1:10,id=data10. The first
 * element may stand without its key, which is then implied (type, driver, size,
 * …); another element without '=' is a switch that is on; ",," is a comma within
 * a value. The same can be written as a JSON object. Both become a list of
 * key and value here; members of a JSON object that are objects or arrays
 * themselves are listed with value NULL.
 *
 * Thread safety: none needed, the program has one thread.
 */
#ifndef QEMU_PTNET_OPTS_H
#define QEMU_PTNET_OPTS_H

#include <stdbool.h>
#include <stddef.h>

struct opt {
	char *key;
	char *value; /* NULL: not a scalar (JSON only) */
};

struct opts {
	struct opt *opt;
	size_t count;
};

/*
 * Parses `text`; `implied` is the key of a first element without one. Always
 * leaves a valid list behind, to be freed with opts_free(). -EINVAL: JSON that
 * doesn't parse; the list is empty then.
 */
int opts_parse(struct opts *o, const char *text, const char *implied);
void opts_free(struct opts *o);

/* Adds an element with copies of both; `value` may be NULL. */
void opts_add(struct opts *o, const char *key, const char *value);

/* The value of the key; the last one counts, as in QEMU. NULL: not there. */
const char *opts_get(const struct opts *o, const char *key);
bool opts_has(const struct opts *o, const char *key);

/* Is the key in the list `known`, which ends with NULL? */
bool opts_key_in(const char *key, const char *const known[]);

/* The first key that is not in `known` (ends with NULL), or is there twice; NULL: none. */
const char *opts_unknown(const struct opts *o, const char *const known[]);
const char *opts_repeated(const struct opts *o);

/* QEMU's words for yes and no. 1, 0, or -EINVAL. */
int opts_bool(const char *value);

/* Is `id` a name that QEMU takes: a letter, then letters, digits, '-', '.', '_'? */
bool opts_id_valid(const char *id);

#endif
