/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * real_netmapd.h - a netmapd for one test program, in a directory of its own.
 *
 * Its program is $NETMAPD. $NETMAPD_SOCKET points to it afterwards.
 *
 * Thread safety: the main thread.
 */
#ifndef REAL_NETMAPD_H
#define REAL_NETMAPD_H

#include <sys/types.h>

struct real_netmapd {
	pid_t pid;
	char dir[64], socket[96];
};

/* Returns when it answers; ends the program where it can't be started. */
void real_start(struct real_netmapd *r);
/* Ends it; 0 if it ended well. */
int real_stop(struct real_netmapd *r);

#endif
