/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * api.h - tests of the netmap API, written once for both homes.
 *
 *	nmapi			all tests
 *	nmapi TEST...		these
 *	nmapi --list		their names
 *
 * libnetmap picks the home: /dev/netmap in a guest, netmapd on the host. A test is a
 * function that says TEST(name); it runs in a process of its own, so that whatever it
 * opened is closed behind it, and for API_SECONDS at most. The output is TAP: a line per
 * test, with what did not hold. $NMAPI_NIC names a network interface that may be taken
 * over, $NMAPI_NIC_PEER its other end; without them tests of NICs are skipped.
 *
 * Thread safety: one thread per test, unless a test says otherwise.
 */
#ifndef TESTS_API_H
#define TESTS_API_H

#include <errno.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <libnetmap.h>

enum { API_SECONDS = 240, WAIT_MS = 15000 };

struct api_test {
	const char *name;
	void (*run)(void);
	struct api_test *next;
};

void api_add(struct api_test *test);

/* Ends the test: it failed, or can't be run here. */
void api_fail(const char *file, int line, const char *format, ...)
	__attribute__((noreturn, format(printf, 3, 4)));
void api_skip(const char *format, ...) __attribute__((noreturn, format(printf, 1, 2)));

/* A process of its own for part of a test: its failures are the test's. Returns 0 in the child,
 * which must end with part_end(). part_join() wants it to have ended well. */
int part_begin(void);
void part_end(void) __attribute__((noreturn));
void part_join(int pid);

#define TEST(name_)                                                         \
	static void test_##name_(void);                                     \
	__attribute__((constructor)) static void add_##name_(void)          \
	{                                                                   \
		static struct api_test test = {#name_, test_##name_, NULL}; \
                                                                            \
		api_add(&test);                                             \
	}                                                                   \
	static void test_##name_(void)

#define CHECK(cond)                                                                       \
	do {                                                                              \
		if (!(cond))                                                              \
			api_fail(__FILE__, __LINE__, "%s (%s)", #cond, api_last_error()); \
	} while (0)

/* Integers of any kind. */
#define CHECK_EQ(got, want)                                                                        \
	do {                                                                                       \
		long long got_ = (long long)(got), want_ = (long long)(want);                      \
                                                                                                   \
		if (got_ != want_)                                                                 \
			api_fail(__FILE__, __LINE__, "%s is %lld, not %s (%lld) (%s)", #got, got_, \
				#want, want_, api_last_error());                                   \
	} while (0)

/* A call that returns 0 or a negative errno is refused, for whatever reason. */
#define CHECK_REFUSED(call)                                                    \
	do {                                                                   \
		if ((call) >= 0)                                               \
			api_fail(__FILE__, __LINE__, "%s is accepted", #call); \
	} while (0)

/* What the library reported last. */
const char *api_last_error(void);

bool in_kernel(void);
/* What a registration gives that has some rings of another one and some not: netmapd serves a ring for
 * programs that have all in common, also when /dev/netmap is netmap-run's ($NMAPI_RUN is set then). */
#define OVERLAP_ERROR (in_kernel() && !getenv("NMAPI_RUN") ? 0 : -EBUSY)
uint64_t now_ms(void);
void sleep_ms(unsigned int ms);

/* ---- requests ------------------------------------------------------------------------- */

/* On a descriptor of its own, or on d. 0 or a negative errno; body may be NULL. */
int request(uint16_t type, const char *name, void *body);
int request_on(struct nmport_d *d, uint16_t type, const char *name, void *body);
/* The same, again while it is -EBUSY: netmapd ends what a program has closed soon afterwards. */
int request_when_free(uint16_t type, const char *name, void *body);
/* The same with a header of the caller's. */
int request_header(struct nmport_d *d, struct nmreq_header *hdr);

/* ---- ports ---------------------------------------------------------------------------- */

/* A descriptor for a name as it goes into nr_name; NR_REG_ALL_NIC. */
struct nmport_d *prepare(const char *name);
/* Registers and maps it. 0 or a negative errno. */
int finish(struct nmport_d *d);
/* Both, with these flags; must succeed. */
struct nmport_d *open_flags(const char *name, uint64_t flags);
struct nmport_d *open_shape(const char *name, uint16_t rings, uint32_t tx_slots, uint32_t rx_slots);
/* A name as users write it; must succeed. */
struct nmport_d *open_spec(const char *spec);
/* A registration that is given up at once; *reg is in and out. 0 or a negative errno. */
int try_register(const char *name, struct nmreq_register *reg);
/* The same with a mode and flags only. */
int try_mode(const char *name, uint32_t mode, uint64_t flags);

struct netmap_ring *tx_ring(struct nmport_d *d, uint32_t i); /* of those of the registration */
struct netmap_ring *rx_ring(struct nmport_d *d, uint32_t i);
uint32_t tx_count(const struct nmport_d *d);
uint32_t rx_count(const struct nmport_d *d);

/* ---- packets -------------------------------------------------------------------------- */

enum { FRAME_LEN = 100 };

/* An Ethernet frame whose bytes follow from `number`; len from 14 on. to: station, 0: all. */
void make_frame(uint8_t *frame, uint32_t len, uint8_t to, uint8_t from, uint32_t number);

/* Puts bytes into the ring, in slots of `part` bytes each (0: as few as possible); false: no
 * room. No sync. */
bool put_parts(struct netmap_ring *ring, const uint8_t *data, uint32_t len, uint32_t part);
/* One frame of FRAME_LEN, and its sync; must fit. */
void send_frame(struct nmport_d *d, uint8_t to, uint8_t from, uint32_t number);
/* Waits until at least n slots are there in one ring. False after WAIT_MS. */
bool wait_slots(struct nmport_d *d, struct netmap_ring *ring, uint32_t n);
/* Takes the next packet, which must come; its length. */
uint32_t take_packet(
	struct nmport_d *d, struct netmap_ring *ring, uint8_t *data, uint32_t max, uint32_t *slots);
/* It must be that frame. */
void take_frame(struct nmport_d *d, uint8_t to, uint8_t from, uint32_t number);
/* No packet is in any of its rings, nor comes within 30 ms. */
void expect_empty(struct nmport_d *d);
/* Waits until the tx ring is empty again; false after WAIT_MS. */
bool wait_sent(struct nmport_d *d, struct netmap_ring *ring);

#endif
