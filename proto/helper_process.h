/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * helper_process.h - a process of a daemon's own, forked before the daemon gives up what this one needs: privilege, system calls.
 *
 *      sock = helper_fork(quiet, run);      before there are threads
 *      send(sock, …), recv(sock, …)         what they say is theirs: messages, by a socket SOCK_SEQPACKET
 *
 * The helper holds nothing of the daemon's but the socket, at HELPER_FD: no socket that seems to be served, no terminal, if it is to be
 * quiet. Signals of a terminal are the daemon's. The kernel keeps no exit of the helper's: nobody waits for it.
 *
 * Thread safety: one thread.
 */
#ifndef PROTO_HELPER_PROCESS_H
#define PROTO_HELPER_PROCESS_H

#include <stdbool.h>

enum { HELPER_FD = 3 };

/*
 * run: in the helper, which ends when it returns; when the daemon has ended there is nothing more to be read from HELPER_FD. quiet: its
 * stdin, stdout and stderr are /dev/null. The daemon's end of the socket, close-on-exec, or a negative errno.
 */
int helper_fork(bool quiet, void (*run)(void));

#endif
