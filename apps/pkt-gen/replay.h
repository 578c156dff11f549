/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * replay.h - the packets of a pcap file, in memory.
 *
 * Ethernet frames of 14 to GEN_LEN_MAX bytes that were captured as a whole; others
 * are passed over and counted.
 *
 * Thread safety: constant once loaded.
 */
#ifndef PKTGEN_REPLAY_H
#define PKTGEN_REPLAY_H

#include <stddef.h>
#include <stdint.h>

enum { REPLAY_ERR = 512 };

struct replay_packet {
	size_t offset; /* in bytes */
	uint32_t len;
};

struct replay {
	uint8_t *bytes;
	struct replay_packet *packets;
	size_t count;
	size_t skipped;
	uint32_t longest; /* bytes of a packet */
};

/* 0, or -1 with one line in err. */
int replay_load(struct replay *r, const char *file, char err[REPLAY_ERR]);
void replay_free(struct replay *r);

#endif
