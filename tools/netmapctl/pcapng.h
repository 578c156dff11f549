/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * pcapng.h - captured packets as a file that Wireshark, tshark and tcpdump read.
 *
 * A file is one section with one Ethernet interface: section header, interface description, a block per packet, and at the end the
 * statistics. Times are nanoseconds since 1970.
 *
 *      pcapng_begin(out, &interface);
 *      pcapng_packet(out, &packet);  ...
 *      pcapng_end(out, &statistics);
 *
 * Errors are those of the stream: ferror(out). The bytes written so far: pcapng_bytes().
 *
 * Thread safety: none; a stream of one thread.
 */
#ifndef NETMAPCTL_PCAPNG_H
#define NETMAPCTL_PCAPNG_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

struct pcapng_interface {
	const char *name, *description, *program;
	const char *filter; /* as the user wrote it; NULL: none */
	uint32_t snaplen;   /* bytes of a packet that are kept at most */
};

struct pcapng_packet {
	uint64_t time_ns;
	const void *data;
	uint32_t length, captured; /* captured <= length: bytes at data */
	bool outbound;             /* sent by the user of the port; else received */
	uint32_t ring;
};

struct pcapng_statistics {
	uint64_t start_ns, end_ns;
	bool dropped_known; /* else the next two are left out */
	uint64_t received;  /* all that passed, dropped ones included */
	uint64_t dropped;   /* no room for them */
	uint64_t accepted;  /* by the filter */
	uint64_t written;
};

/* Each returns the bytes that it has written. */
uint64_t pcapng_begin(FILE *out, const struct pcapng_interface *interface);
uint64_t pcapng_packet(FILE *out, const struct pcapng_packet *packet);
uint64_t pcapng_end(FILE *out, const struct pcapng_statistics *statistics);

#endif
