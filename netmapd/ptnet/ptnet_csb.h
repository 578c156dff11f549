/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * ptnet_csb.h - the two CSB arrays of a ptnet network function, in guest memory that comes and goes.
 *
 * The driver says where the arrays are (guest-physical addresses), the hypervisor which guest memory there is
 * (DMA map). Both are mapped here exactly as long as the service is in PORT_RUNNING:
 *
 *      CREATE                  mapped, service started
 *      DMA unmap of either     service suspended, unmapped: before the hypervisor is answered
 *      DMA map of both         mapped, perhaps elsewhere, service resumed
 *      DELETE, a new address   service stopped, unmapped
 *
 * Thread safety: the thread that runs the loop makes all calls.
 */
#ifndef NETMAPD_PTNET_CSB_H
#define NETMAPD_PTNET_CSB_H

#include <stdint.h>

#include "guestmem.h"
#include "port_service.h"
#include "vu_conn.h"

enum ptnet_csb_dir { PTNET_CSB_GH, PTNET_CSB_HG, PTNET_CSBS }; /* guest to host, host to guest */

struct ptnet_csb {
	struct port_service *service;
	struct guestmem *mem;
	uint64_t bytes; /* of an array */
	struct ptnet_csb_array {
		uint32_t high;                 /* as written to the _BAH register */
		uint64_t addr;                 /* guest-physical; 0: none */
		struct guestmem_window window; /* open while running */
	} array[PTNET_CSBS];
	uint64_t suspends; /* memory went away while running */
};

/* `name` is for the log and must outlive the CSB. -ENOMEM. */
int ptnet_csb_init(
	struct ptnet_csb *csb, struct port_service *service, uint32_t rings, const char *name);
void ptnet_csb_exit(struct ptnet_csb *csb); /* the service is stopped; all 0 is allowed */

/* The service stops first. */
void ptnet_csb_set_high(struct ptnet_csb *csb, enum ptnet_csb_dir dir, uint32_t value);
void ptnet_csb_set_low(struct ptnet_csb *csb, enum ptnet_csb_dir dir, uint32_t value);

/* 0, or the result of CREATE as ptnet_net.h has it, negative. */
int ptnet_csb_start(struct ptnet_csb *csb);
void ptnet_csb_stop(struct ptnet_csb *csb);

/* The service is stopped, the rings have their first state, the addresses are forgotten. */
void ptnet_csb_reset(struct ptnet_csb *csb);

/* As struct vu_ops has them. */
int ptnet_csb_dma_map(struct ptnet_csb *csb, const struct vu_dma_map *map, int fd);
int ptnet_csb_dma_unmap(struct ptnet_csb *csb, uint64_t address, uint64_t size);
int ptnet_csb_dma_unmap_all(struct ptnet_csb *csb);

#endif
