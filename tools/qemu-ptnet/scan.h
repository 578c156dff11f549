/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * scan.h - the command line of qemu-ptnet, split into its options.
 *
 * qemu-ptnet takes what qemu-system-x86_64 takes, and a few long options of its
 * own. To find an option for certain one has to know which ones before it carry
 * an argument: in `-append -netdev` the second word is none. QEMU's options
 * carry one unless they are in the list of scan.c. What stands here is the order
 * and the words of the user; nothing is judged but qemu-ptnet's own options.
 *
 * Thread safety: none needed, the program has one thread.
 */
#ifndef QEMU_PTNET_SCAN_H
#define QEMU_PTNET_SCAN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "opts.h"
#include "text.h"

/* One option of QEMU with its argument, or a word that is no option (a disk image). */
struct scan_arg {
	const char *word;  /* as given: -m, --m, disk.img */
	const char *name;  /* without its dashes: m; NULL: no option */
	const char *value; /* its argument; NULL: it takes none, or the line ends here */
};

struct scan {
	struct scan_arg *arg;
	size_t count;

	/* qemu-ptnet's own; NULL: not given */
	const char *qemu, *netmapd, *socket, *hold;
	uint64_t bar_min; /* bytes; 0: not given */
	bool print, libvirt_xml, quiet, help, version;
};

/*
 * Splits argv[1] … argv[argc - 1]. The strings of argv are referred to and must
 * outlive the result, which scan_free() releases in any case.
 * -EINVAL with a text: an option of our own without its argument, or with a wrong one.
 */
int scan_parse(struct scan *s, int argc, char **argv, char err[TEXT_ERR]);
void scan_free(struct scan *s);

/* Is the argument the option `name` with a value? */
bool scan_is(const struct scan_arg *a, const char *name);

/*
 * The option `name` whose list of keys (opts.h, `implied` as there) has id=`id`, parsed into *o, which is to be
 * freed then. False: there is none. scan_has_id(): is there one?
 */
bool scan_find_id(const struct scan *s, const char *name, const char *implied, const char *id,
	struct opts *o);
bool scan_has_id(const struct scan *s, const char *name, const char *implied, const char *id);

/* Does `name` (no dashes) stand alone, without an argument? */
bool scan_is_flag(const char *name);

#endif
