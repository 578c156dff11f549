/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * options.h - the command line of pkt-gen, as values.
 *
 * Parsing touches nothing but its arguments, so that it can be tested without a
 * port. Whatever is wrong gives one line that names the option, the value and
 * what would be right.
 *
 * Thread safety: options_parse() uses getopt's globals: one thread.
 */
#ifndef PKTGEN_OPTIONS_H
#define PKTGEN_OPTIONS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum gen_fn { GEN_RX, GEN_TX, GEN_PING, GEN_PONG };

enum {
	GEN_LEN_MIN = 60, /* bytes of a frame without CRC */
	GEN_LEN_MAX = 65535,
	GEN_BURST_MAX = 65536,
	GEN_THREADS_MAX = 64,
	GEN_NAME_MAX = 512,
	OPTIONS_ERR = 256,
};

/* Addresses and ports from the first to the last, in host order. */
struct gen_range {
	uint32_t ip[2];
	uint16_t port[2];
};

struct gen_options {
	char port[GEN_NAME_MAX]; /* with its prefix */
	enum gen_fn fn;
	uint64_t count; /* packets or round trips; 0: no end */
	uint32_t len;   /* bytes of a frame, without CRC and virtio-net header */
	uint32_t burst; /* packets */
	struct gen_range src, dst;
	uint8_t src_mac[6], dst_mac[6];
	bool have_src_mac;
	double wait_link; /* s; < 0: what suits the port */
	double rate;      /* packets per second, of the whole program; 0: no limit */
	uint32_t report_ms;
	int affinity; /* CPU of the first thread; -1: none */
	int cpus;     /* that threads are spread over; 0: all */
	int threads;
	bool check;
	double timeout; /* s without progress; 0: no limit */
	int verbose;
	bool help;
};

/* 0, or -1 with one line (without a newline) in err. */
int options_parse(int argc, char **argv, struct gen_options *o, char err[OPTIONS_ERR]);

/* The text of -h. */
const char *options_usage(void);

#endif
