/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * requests.h - control requests out of an input: a header, a body and options in one piece of
 * memory, as programs lay them out, with as much wrong as the input says.
 *
 * Thread safety: the caller's memory alone.
 */
#ifndef TESTS_FUZZ_REQUESTS_H
#define TESTS_FUZZ_REQUESTS_H

#include <net/netmap.h>

#include "fuzz.h"

enum { FUZZ_REQUEST_MAX = NETMAP_REQ_MAXSIZE + 256 };

struct fuzz_request {
	uint8_t bytes[FUZZ_REQUEST_MAX] __attribute__((aligned(8)));
	size_t len;
};

/* Addresses in it are base + place, the header is at base. */
void fuzz_request_make(struct fuzz_in *in, struct fuzz_request *rq, uint64_t base);

/* A port of a few that are named again and again, or any text. */
void fuzz_port_name(struct fuzz_in *in, char *name, size_t size);

#endif
