/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * configuration.h - the files of --config and --policy: read at the start, and again on SIGHUP.
 *
 * What they say of objects and settings netmapd asks itself for, as a client of its own (config_apply.h), in a thread: so it
 * can wait for network interfaces and directory services while everybody is served. Rules of users are read there, too,
 * and taken over by the control thread.
 *
 *      options        configuration_read()            errors with FILE:LINE, before anything is there
 *      start          configuration_begin()           the thread applies what was read
 *      SIGHUP         configuration_reload()          reads and applies again; what is there because of the files, and not in
 *                                                     them any more, goes; what can't, the next time
 *      end            configuration_end()             behind ctl_close()
 *
 * A file with an error changes nothing. What can't be had (an interface that is not there) is logged, the rest is done.
 *
 * Thread safety: control thread.
 */
#ifndef NETMAPD_CONFIGURATION_H
#define NETMAPD_CONFIGURATION_H

#include "daemon.h"
#include "nm_error.h"

/*
 * Either may be NULL. A file or a directory; a file with rules of users. The rules are in force, and there are several users, when
 * there is a policy, or config has such lines. A negative errno with a text.
 */
int configuration_read(const char *config, const char *policy, struct nm_error *err);

/* Does nothing where nothing was read. A negative errno with a text: nothing is applied. */
int configuration_begin(struct daemon *d, struct nm_error *err);
/* Is it not being applied now? */
bool configuration_is_done(void);
/* False: there are no files. One that comes while it goes on is done behind it. */
bool configuration_reload(struct daemon *d);
void configuration_end(struct daemon *d);

#endif
