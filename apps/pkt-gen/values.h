/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * values.h - values of options: texts to numbers, addresses and ranges.
 *
 * Each function returns 0, or -1 with one line in v->err that names the option, the value
 * and what would be right.
 *
 * Thread safety: pure functions.
 */
#ifndef PKTGEN_VALUES_H
#define PKTGEN_VALUES_H

#include "options.h"

struct value {
	const char *name; /* of the option, with its dashes */
	const char *text;
	char *err; /* OPTIONS_ERR bytes */
};

/* A number with k, M or G behind it; fractions only when `whole` is false. */
int value_number(const struct value *v, double min, double max, bool whole, double *out);
int value_uint(const struct value *v, uint32_t min, uint32_t max, uint32_t *out);
int value_int(const struct value *v, int min, int max, int *out);
int value_count(const struct value *v, uint64_t *out);
int value_mac(const struct value *v, uint8_t mac[6]);
/* 1 to 4 numbers with commas. */
int value_conf(const struct value *v, uint32_t conf[4]);
/* ADDRESS[:PORT[-ADDRESS:PORT]], IPv6 addresses with a port in brackets. r->v6 says which. */
int value_range(const struct value *v, struct gen_range *r);
int value_bad(const struct value *v, const char *format, ...) __attribute__((format(printf, 2, 3)));

#endif
