/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * request.h - the tests' side of nm_control(): one request at a time in a small memory of its own,
 * at addresses that the core can reach only through struct nm_uaccess.
 *
 *      prepare(NETMAP_REQ_VALE_LIST, "vale0:1");
 *      list->nr_port_idx = 3;
 *      assert_int_equal(ask(), 0);
 *
 * Each program that uses it has one core and one client, made and checked by request_begin() and
 * request_end() around every test.
 *
 * Thread safety: main thread.
 */
#ifndef TESTS_UNIT_REQUEST_H
#define TESTS_UNIT_REQUEST_H

#include "control.h"
#include "util.h"

enum {
	BASE = 0x40000000, /* address of the memory, and of the header */
	BODY = 0x100,      /* offsets in it */
	OPTIONS = 0x200,
	MEMORY = 0x4000,
};

struct memory {
	uint8_t bytes[MEMORY] __attribute__((aligned(64)));
	uint32_t calls, fail_at; /* the fail_at-th access fails; 0: none */
};

/* What the platform was asked, and what it answers: each call fails with its error if that is not
 * 0. */
struct platform {
	int extmem_error, csb_error, start_error, stop_error;
	uint32_t extmems, csbs, starts, stops; /* calls */
	uint64_t extmem_addr, extmem_bytes;
	uint64_t atok, ktoa;
	uint32_t entries;
	struct nm_kloop_request kloop;
};

extern struct memory memory;
extern struct platform platform;
extern const struct nm_uaccess ua;      /* of a platform that serves all */
extern const struct nm_uaccess bare_ua; /* of one that only copies */
extern struct nm_core core;
extern struct nm_client client;

/* The header, and the body as what it is. */
extern struct nmreq_header *const hdr;
extern struct nmreq_register *const reg;
extern struct nmreq_port_info_get *const info;
extern struct nmreq_vale_list *const list;
extern struct nmreq_port_hdr *const port_hdr;
extern struct nmreq_pools_info *const pools;
extern struct nmreq_vale_attach *const attach;
extern struct nmreq_vale_detach *const detach;
extern struct nmreq_vale_newif *const newif;
extern struct nmreq_vale_polling *const polling;
extern struct nmreq_sync_kloop_start *const kloop;

int request_begin(void **state);
int request_end(void **state); /* the core must be empty again */

/* An empty request in memory: header and zeroed body. A REGISTER: of all rings, 16 slots each. */
void prepare(uint16_t type, const char *name);
void prepare_register(const char *name);

/* nm_control(). An error must come with one line of text. */
int ask_as(struct nm_client *who);
int ask(void);

void check_err_says(const char *text); /* client.err.text */

/*
 * Puts an option in front of the chain of the prepared request: at offset `at` of the memory, with
 * `bytes` of room, all 0 but its type. Returns its place.
 */
void *push_option(uint32_t at, uint32_t type);

#endif
