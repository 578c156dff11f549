/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * device.h - what a network device is and does: by ethtool's ioctls, for which no privilege is needed, but to change.
 *
 * Numbers that a driver doesn't tell are 0. netmapctl uses it as well.
 *
 * Thread safety: any thread; no state.
 */
#ifndef NIC_DEVICE_H
#define NIC_DEVICE_H

#include <stdbool.h>

#include "nic_proto.h"
#include "nm_error.h"

/* By the name in f->ifname: fills in the rest. -ENODEV: there is none. */
int device_facts(struct nic_facts *f, struct nm_error *err);

enum { DEVICE_FEATURE_NAME = 32 };

/* An offload, as ethtool -k shows it: "rx-lro". */
struct device_feature {
	bool known;     /* the kernel has such a feature */
	bool active;    /* it is on */
	bool requested; /* the administrator wants it on, as far as the device can */
	bool fixed;     /* can't be changed */
};

/* 0 or a negative errno. */
int device_feature(const char *ifname, const char *name, struct device_feature *out);

/* Asks for it to be on or off; whether it became so says device_feature(). 0 or a negative errno. */
int device_feature_set(const char *ifname, const char *name, bool on);

#endif
