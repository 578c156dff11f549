/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * ptnet_irq.h - interrupts of a ptnet network function: an MSI-X vector per ring, and REQ.
 *
 * The hypervisor gives an eventfd per vector. It is duplicated here, once; the service signals the duplicate
 * (port_service.h) as long as the vector is not masked. An eventfd that is given, or a vector that is
 * unmasked, while the rings are served is signalled at once, for nobody knows what would have come before.
 * So no interrupt is lost, and one may come too many.
 *
 * Thread safety: the thread that runs the loop makes all calls.
 */
#ifndef NETMAPD_PTNET_IRQ_H
#define NETMAPD_PTNET_IRQ_H

#include <stdbool.h>
#include <stdint.h>
#include <net/netmap_virt.h>

#include "port_service.h"
#include "vu_conn.h"

struct ptnet_irq {
	struct port_service *service;
	uint32_t count; /* vectors: one per ring */
	struct ptnet_vector {
		int fd; /* eventfd; ours; -1: none */
		bool masked;
	} vectors[PTNET_MAX_RINGS];
	int request; /* eventfd of REQ; ours; -1: none */
	bool unplug; /* REQ is due: also when its eventfd comes later */
};

/* `service` has `count` rings, at most PTNET_MAX_RINGS. */
void ptnet_irq_init(struct ptnet_irq *irq, struct port_service *service, uint32_t count);

/* As struct vu_ops has them. */
void ptnet_irq_info(const struct ptnet_irq *irq, uint32_t index, struct vu_irq *info);
int ptnet_irq_set(
	struct ptnet_irq *irq, uint32_t index, uint32_t start, uint32_t count, const int *fds);
int ptnet_irq_action(struct ptnet_irq *irq, uint32_t index, uint32_t start, uint32_t count,
	enum vu_irq_action action, const uint8_t *which);

/* The device was reset: no vector is masked. Eventfds are the hypervisor's, and stay. */
void ptnet_irq_reset(struct ptnet_irq *irq);

/* The hypervisor is gone: no eventfds. */
void ptnet_irq_disconnect(struct ptnet_irq *irq);

/* The hypervisor is asked, by REQ, to unplug the device. */
void ptnet_irq_request_unplug(struct ptnet_irq *irq);

#endif
