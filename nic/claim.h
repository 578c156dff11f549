/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * claim.h - one netmapd-nic at a time has an interface, and what it changes there is written down.
 *
 * A claim is a locked file in the state directory, named by the network namespace and the number of the interface. In it
 * stands which offloads were switched off, which interrupts put off (deferral.h), and what else doesn't go by itself, as a twin, whose
 * descriptors the client may keep. Who ends well puts them back, and removes the file; when netmapd-nic itself was killed the file stays,
 * unlocked, and the next one that claims the interface, or is started, puts back what is written there.
 *
 *      claim_take()        waits for one that is ending; -EBUSY when another one goes on
 *      offloads_off()      writes down, then switches off
 *      claim_ending()      others wait for this one from now on
 *      claim_restore()
 *      claim_drop()
 *
 * Thread safety: one thread.
 */
#ifndef NIC_CLAIM_H
#define NIC_CLAIM_H

#include <stdbool.h>

#include "nic_proto.h"
#include "nm_error.h"

enum {
	CLAIM_USED_MS = 1500,    /* another one that doesn't end is waited for */
	CLAIM_ENDING_MS = 15000, /* one that is ending */
	CHANGES_MAX = 8 + NIC_QUEUES_MAX,
	CHANGE_MAX = 64, /* bytes */
};

/* A change beside offloads. */
#define CLAIM_FILTER "egress-filter"

struct claim {
	int fd; /* -1: none */
	uint32_t ifindex;
	bool ending;
	char path[256];
	uint32_t count; /* of what was changed: offloads that are off because of us, … */
	char change[CHANGES_MAX][CHANGE_MAX];
};

/* The directory, made when there is none. 0, or a negative errno with a text. */
int claim_dir(const char *dir, struct nm_error *err);

/* 0 or a negative errno with a text. What was left by one that was killed is put back. */
int claim_take(struct claim *c, const char *dir, const struct nic_facts *f, struct nm_error *err);
void claim_ending(struct claim *c);

/* Something is about to be changed: one of the above. */
void claim_note(struct claim *c, const char *change);

/* A twin (twin.h), before its descriptors are anybody's; and when it goes. */
void claim_note_twin(struct claim *c, uint32_t ifindex);
void claim_forget_twin(struct claim *c);

/*
 * All that was changed is put back, the last one first; nothing, when the claim is not held, or the interface is gone. What is out of
 * reach, as of an interface that is down (deferral.h), stays noted.
 */
void claim_restore(struct claim *c);
void claim_drop(struct claim *c); /* a claim with fd -1 is allowed */

/* Puts back what netmapd-nics that were killed have left behind in this network namespace. */
void claim_recover(const char *dir);

/*
 * Switches off what hides or joins packets: stripping of VLAN tags, LRO, hardware GRO; and at the other end of a veth, if that is in
 * this network namespace, what leaves tags to the device. -EOPNOTSUPP with a text when one of them stays on.
 */
int offloads_off(struct claim *c, const struct nic_facts *f, struct nm_error *err);

/* Names of those that would be switched off, and of those that are on and can't be; "NAME of IFNAME" at the other end. */
void offloads_list(const struct nic_facts *f, char off[NIC_TEXT_MAX], char fixed[NIC_TEXT_MAX]);

#endif
