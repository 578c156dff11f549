/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * log.h - what netmapd-nic has to say: a line on stderr, which systemd keeps, or netmapd's own.
 *
 * Thread safety: any process; a line is one write.
 */
#ifndef NIC_LOG_H
#define NIC_LOG_H

void nic_log(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

#endif
