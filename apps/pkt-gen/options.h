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
#include <net/netmap.h>

enum gen_fn { GEN_RX, GEN_TX, GEN_PING, GEN_PONG };

enum {
	GEN_LEN_MIN = 60,        /* bytes of a frame without CRC */
	GEN_LEN_HEADERS_V6 = 62, /* of an IPv6 frame: its headers */
	GEN_LEN_MIN_V6 = 80,     /* of one that is numbered */
	GEN_LEN_MAX = 65535,
	GEN_BURST_MAX = 65536,
	GEN_THREADS_MAX = 64,
	GEN_NAME_MAX = 512,
	OPTIONS_ERR = 256,
};

/* An IPv6 address, or an IPv4 address in its low 32 bits; in host order. */
__extension__ typedef unsigned __int128 gen_ip;

/* Addresses and ports from the first to the last, in host order. */
struct gen_range {
	gen_ip ip[2];
	uint16_t port[2];
	bool v6, given;
	bool random; /* in the range, or anywhere if none was given */
};

struct gen_options {
	char port[GEN_NAME_MAX]; /* with its prefix */
	enum gen_fn fn;
	uint64_t count; /* packets or round trips; 0: no end */
	bool have_count;
	uint32_t len;     /* bytes of a frame, without CRC and virtio-net header */
	uint32_t len_min; /* 0: all have len; else random from len_min to len - 1 */
	uint32_t burst;   /* packets */
	struct gen_range src, dst;
	bool v6;
	uint8_t src_mac[6], dst_mac[6];
	bool have_src_mac;
	uint32_t frags;            /* slots of each packet; 1: one */
	uint32_t frag_size;        /* bytes in each slot but the last; 0: even */
	int hdr_len;               /* virtio-net header to ask for; -1: as the port is */
	uint32_t conf[4];          /* tx slots, rx slots, tx rings, rx rings; 0: default */
	char replay[GEN_NAME_MAX]; /* pcap file; empty: none */
	bool indirect, rubbish;
	bool dump;          /* packets, as hexadecimal numbers */
	bool exit_if_empty; /* rx */
	bool raw_units, average, framing;
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
