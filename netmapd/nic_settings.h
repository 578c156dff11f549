/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * nic_settings.h - what the options say about network interfaces (ports/nic.h).
 *
 *      --nic-mode zero-copy --nic-mode veth*=native     the last one that fits an interface counts
 *      --nic-pass arp,nd,10.0.0.1,fe80::1               what stays the host's: kinds of frames, and its own addresses
 *      --nic-busy-poll 50/64                            who serves a ring drives the device: microseconds, packets at a time
 *
 * Thread safety: pure functions; main() fills it in, everybody reads.
 */
#ifndef NETMAPD_NIC_SETTINGS_H
#define NETMAPD_NIC_SETTINGS_H

#include "nic_proto.h"
#include "nm_error.h"

enum { NIC_MODE_RULES_MAX = 32 };

struct nic_settings {
	uint32_t num_modes;
	struct {
		char interfaces[NIC_NAME_MAX]; /* a pattern of the shell */
		uint32_t mode;                 /* enum nic_mode: demanded */
	} modes[NIC_MODE_RULES_MAX];
	uint32_t busy_us, busy_budget; /* 0: the device interrupts; the kernel's choice */
	uint32_t pass;                 /* enum nic_pass */
	uint32_t num_ip4, num_ip6;
	uint8_t ip4[NIC_ADDRESSES_MAX][4];
	uint8_t ip6[NIC_ADDRESSES_MAX][16];
};

/* Each: 0, or -EINVAL with a text that begins with the option's name. */
int nic_settings_mode(struct nic_settings *s, const char *text, struct nm_error *err);
int nic_settings_pass(struct nic_settings *s, const char *text, struct nm_error *err);
int nic_settings_busy(struct nic_settings *s, const char *text, struct nm_error *err);

/* Of an interface: NIC_MODE_ANY, unless something was said. */
uint32_t nic_settings_mode_of(const struct nic_settings *s, const char *ifname);

#endif
