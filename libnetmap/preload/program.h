/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * program.h - can a program be served by a preloaded library, and if not, why?
 *
 * The dynamic loader does the work: a program without it (static), one that it doesn't
 * trust (setuid), or one of another kind of machine is not served. For a script, its
 * interpreter counts.
 *
 * Thread safety: none needed, the command has one thread.
 */
#ifndef NETMAP_RUN_PROGRAM_H
#define NETMAP_RUN_PROGRAM_H

#include <limits.h>
#include <stddef.h>

enum { PROGRAM_WHY = 512 };

/* Finds a program as execvp() does. 0, or a negative errno with a text. */
int program_find(const char *name, char path[PATH_MAX], char why[PROGRAM_WHY]);

/* 0, or a negative errno with a text: -ENOEXEC, -EACCES, -EPERM, … */
int program_check(const char *path, char why[PROGRAM_WHY]);

#endif
