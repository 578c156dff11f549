/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * capture.h - netmapctl capture: what passes a port, into pcapng files.
 *
 *      capture.c        options; the loop
 *      capture_tap.c    the monitor: packets out of its rings
 *      capture_out.c    filter, snap length; files, one after the other
 *      pcapng.c         their format
 *
 * Thread safety: one thread. capture_stop may be set by a signal.
 */
#ifndef NETMAPCTL_CAPTURE_H
#define NETMAPCTL_CAPTURE_H

#include "netmapctl.h"
#include "pcapng.h"

struct capture_options {
	const char *port;
	const char *file;        /* NULL or "-": stdout */
	const char *filter;      /* as libpcap has it; NULL: all packets */
	const char *directions;  /* "rt", "r", "t": as behind the / of a monitor's name */
	uint32_t snaplen, slots; /* slots: of a ring of the monitor */
	uint64_t count;          /* of packets; UINT64_MAX: no end */
	double seconds;          /* 0: no end */
	uint64_t file_bytes;     /* then another file is begun; 0: never */
	uint32_t files;          /* so many are kept; 0: all */
	bool quiet;
};

extern volatile int capture_stop;

/* Fills *o in; an exit status, told on stderr. */
int capture_parse(int argc, char **argv, struct capture_options *o);

/* ---- packets out of the port ------------------------------------------------------------- */

struct tap;

/* A monitor of the port. 0, or an exit status, told on stderr. */
int tap_open(const struct ctl *ctl, const struct capture_options *o, struct tap **out);
void tap_close(struct tap *tap);

/* Waits for packets, at most ms milliseconds. 1: there are some, 0: there are none, -1: the port is gone, or netmapd is. */
int tap_wait(struct tap *tap, int ms);

/* The next packet that is there; it stays where it is until the next call. False: there is none. */
bool tap_next(struct tap *tap, struct pcapng_packet *packet);

/* The exit status when the port is gone, or netmapd is; told on stderr. */
int tap_gone(struct tap *tap);

/* How many packets the monitor had no room for, so far. False: it isn't known now; *missed is what was known last. */
bool tap_missed(struct tap *tap, uint64_t *missed);

/* ---- into files ---------------------------------------------------------------------------- */

struct sink;

/*
 * With its filter, without a file. 0, or an exit status, told on stderr: the filter is no expression of libpcap's. The options stay
 * the caller's, and must outlive it.
 */
int sink_new(const struct capture_options *o, struct sink **out);
void sink_free(struct sink *sink); /* of one that has not begun */
/* The first file. 0, or an exit status, told on stderr. */
int sink_begin(struct sink *sink);
/* False: it can't be written; told on stderr. */
bool sink_put(struct sink *sink, const struct pcapng_packet *packet, struct tap *tap);
/* What was put is on its way to the reader. */
bool sink_flush(struct sink *sink);
/* What there was of packets, in the end. */
struct capture_sums {
	uint64_t written, seen; /* seen: or filtered out */
	uint64_t missed;
	bool missed_known; /* else there were at least so many */
};

/* Statistics, and the end of it. An exit status. */
int sink_close(struct sink *sink, struct tap *tap, struct capture_sums *sums);
uint64_t sink_written(const struct sink *sink);

uint64_t capture_now_ns(void);

#endif
