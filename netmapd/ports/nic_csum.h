/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * nic_csum.h - checksums that the sender has left to a device which never was there.
 *
 * A packet that comes through veth, virtio-net or TAP from another stack of this host may have an unfinished TCP or UDP checksum:
 * the field holds the sum of the pseudo header only. The kernel knows that from a flag that AF_XDP doesn't show. But the
 * sum itself tells: a field with just this value is computed anew. One finished checksum in 65536 looks the
 * same; computing it anew gives the same value again.
 *
 * Thread safety: pure function on the caller's memory, which others can write.
 */
#ifndef NETMAPD_NIC_CSUM_H
#define NETMAPD_NIC_CSUM_H

#include <stdbool.h>
#include <stdint.h>

/* `len` bytes from the Ethernet header on. True: the checksum was unfinished, and is complete now. */
bool nic_complete_checksum(uint8_t *frame, uint32_t len);

#endif
