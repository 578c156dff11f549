/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * child.h - run a program and keep what it says.
 *
 * Twice qemu-ptnet asks another program before it becomes QEMU: a QEMU what
 * devices it has, and netmapd to start. The child gets /dev/null for what isn't
 * captured and no other descriptor, so nothing of it holds on to the terminal or
 * to a pipe of the user's.
 *
 * Thread safety: none needed, the program has one thread.
 */
#ifndef QEMU_PTNET_CHILD_H
#define QEMU_PTNET_CHILD_H

#include <stddef.h>

enum child_capture { CHILD_STDOUT = 1, CHILD_STDERR = 2 };

enum { CHILD_OUTPUT_MAX = 256 * 1024 }; /* bytes kept; the rest is read and dropped */

struct child {
	char *const *argv; /* argv[0] is a path, or a name that is looked up in PATH */
	enum child_capture capture;
	int detach; /* in a session of its own, so that the terminal's signals pass by */
	const char *setenv, *value; /* one variable for the child; NULL: none */
	unsigned int seconds;       /* killed when it takes longer */
};

/*
 * Runs it until it exits: the end of its output is not waited for, so a child may
 * leave a process behind. *out is the text, to be freed by the caller.
 * Returns the exit status, 128 + N for signal N, 127 when it can't be executed, or
 * a negative errno (-ETIMEDOUT: killed).
 */
int child_run(const struct child *c, char **out);

#endif
