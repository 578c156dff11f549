/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * netmapd.h - a netmapd within a fuzz target: all of it but the TAP devices, with one worker
 * thread, small regions, and its sockets in a directory of its own.
 *
 *      netmapd_begin();                          once; it stays
 *      fd = netmapd_connect(netmapd.config.socket_path, SOCK_SEQPACKET);
 *      … send …; netmapd_run();                  until it has nothing to do
 *      close(fd);
 *      netmapd_check_empty();                    after each input: all has gone with its owners
 *
 * Devices are those of fuzz_core.h: nothing of the host's network is touched.
 *
 * Thread safety: the main thread is its control thread.
 */
#ifndef TESTS_FUZZ_NETMAPD_H
#define TESTS_FUZZ_NETMAPD_H

#include "fuzz_core.h"

#include "daemon.h"

extern struct daemon netmapd;

void netmapd_begin(void);
/* A SOCK_SEQPACKET or SOCK_STREAM socket, connected and accepted; -1 with errno. */
int netmapd_connect(const char *path, int type);
/* Runs the loop until nothing is ready, at most some rounds. */
void netmapd_run(void);
/* All connections have been closed: waits until netmapd has seen it, then nothing may be left. */
void netmapd_check_empty(void);

#endif
