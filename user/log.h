/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * log.h - the log of a program in user space: os_log() to stderr, and whoever reads that may stop.
 *
 * A pipe that nobody reads, a terminal after ^S, a slow disk: writing to any of them can take for
 * ever. So after log_start() a thread of its own writes, and os_log() only puts a line into a queue
 * of LOG_QUEUE lines; it never waits for the reader.
 *
 *      os_log() --> limits of the source and of its user --> queue --> thread --> stderr
 *                     |                                        |
 *                     +--- too many: counted, and said --------+ full
 *
 * Somebody who floods the log must not hide what others say. A thread says with log_from() on whose
 * behalf it works; each source has LOG_SOURCE_LINES per second, all sources of a user together
 * LOG_USER_LINES, and the program itself LOG_OWN_LINES. What is left out is counted per source and
 * user and said as "N lines left out" within a second or two.
 *
 * Lines quote what others have chosen, names above all. Before one is written, all that is not
 * printable ASCII becomes '?': line ends, escape sequences, invalid UTF-8.
 *
 *      log_setup("netmapd", OS_LOG_INFO);
 *      log_start();
 *      os_log(OS_LOG_WARN, "%s: …", name, …);
 *      log_stop();                                  what waits is written, unless nobody reads
 *
 * Without log_start() os_log() writes itself, and waits LOG_STALL_MS for the reader at most. So do
 * a failing assert(), and signals that end the program after log_start(): what waits in the queue
 * and the message come out first.
 *
 * Thread safety: log_setup(), log_start() and log_stop() from one thread; the others: any.
 */
#ifndef USER_LOG_H
#define USER_LOG_H

#include <stdbool.h>

#include "os.h"

enum {
	LOG_QUEUE = 256,       /* lines that wait to be written */
	LOG_TEXT_MAX = 512,    /* bytes of a line */
	LOG_SOURCE_LINES = 20, /* per second */
	LOG_USER_LINES = 100,
	LOG_OWN_LINES = 100,
	LOG_STALL_MS = 500, /* without progress, after which a reader is given up at the end */
};

/* The name that stands before each line, and the most talkative level that is written. In a systemd
 * service (JOURNAL_STREAM is set) lines have the priority prefix of the journal. */
void log_setup(const char *name, enum os_log_level limit);

/*
 * If stderr is the journal (JOURNAL_STREAM names its file): lines go to the socket at `path` (LOG_JOURNAL), an entry each, with the
 * fields MESSAGE, PRIORITY, SYSLOG_IDENTIFIER, and, where they are known, PORT, MACHINE, USER (a number) and CAUSE; LEFT_OUT with how
 * many lines were. What the journal doesn't take goes to stderr. Before log_start(). False: they go to stderr.
 */
#define LOG_JOURNAL "/run/systemd/journal/socket"
bool log_to_journal(const char *path);

/* 0 or a negative errno: there is no thread, and os_log() goes on writing itself. Not before fork(). */
int log_start(void);

/* Back to how it was before log_start(). */
void log_stop(void);

/* On whose behalf: a number of the program's choice, not 0, and a user's. */
struct log_source {
	uint64_t id;
	uint32_t user;
};

/* What this thread logs from now on comes from *source, which is copied; NULL: from the program. */
void log_from(const struct log_source *source);

/*
 * What the lines of this thread are about, until log_from() or another log_about(); NULL or "": nothing. A journal gets fields of
 * them: PORT, MACHINE. The text says so in any case.
 */
void log_about(const char *port, const char *machine);

/* Why the next line of this thread is: an errno, of either sign, or a word. Field CAUSE. */
void log_error(int error);
void log_cause(const char *cause);

/* This thread must not log: it serves others, and has no time for that. Checked by os_assert(). */
void log_never_here(void);

/* Lines that were left out since the start. */
uint64_t log_left_out(void);

#endif
