/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * libvirt.h - what a domain of libvirt says to have passed-through ports.
 *
 * Three pieces of <domain>: guest memory that netmapd can map; <metadata>, from which the hook (netmap-libvirt-hook) knows what to
 * ask netmapd for when the domain starts; <qemu:commandline> with the devices, at the places of hold.h.
 *
 * Thread safety: none needed, the program has one thread.
 */
#ifndef QEMU_PTNET_LIBVIRT_H
#define QEMU_PTNET_LIBVIRT_H

#include "command.h"

#define LIBVIRT_NAMESPACE "urn:ptnetmap:libvirt"

/*
 * Prints them. c->sockets are as netmapd has given them, or would; links in `dir` stand for them. -EINVAL as
 * command_build(); -EIO when the stream fails; both with a text.
 */
int libvirt_print(const struct command *c, const char *dir, FILE *f, char err[TEXT_ERR]);

#endif
