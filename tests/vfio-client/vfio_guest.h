/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * vfio_guest.h - a virtual machine without a machine: hypervisor and guest in one process.
 *
 * Plays QEMU (connections, guest RAM, interrupts) and a ptnet driver (registers, CSB, rings)
 * natively, so that tests and benchmarks reach the daemon as a guest does, at full speed.
 *
 *      vg_new(16 << 20, &vg);
 *      vg_add_mem(vg, mem_path, NULL);           memory function: BAR1 is mapped
 *      vg_add_port(vg, net_path, &port);         network function: RAM announced, MSI-X given
 *      vg_probe(port, 0);                        driver: registers, rings found
 *      vg_start(port, 0);                        driver: CREATE, rings loaded
 *      struct vg_ring *tx = &port->rings[0];
 *      while (vg_avail(tx) == 0)
 *              vg_sync(tx);
 *      vg_put(tx, packet, bytes);
 *      vg_sync(tx);                              published, kicked if wanted
 *      vg_stop(port); vg_end(port);
 *      vg_free(vg);
 *
 * The driver's steps read and write registers in the order in which existing drivers do.
 * Calls return 0 or a negative errno, of the device or of the connection (see vfio_client.h);
 * -EPROTO: the device says something that can't be true.
 *
 * Guest-physical memory: [0, 640 KiB) and [1 MiB, size) are RAM, [768 KiB, 1 MiB) is read
 * only; CSB arrays lie at 1 MiB and above, two pages per port.
 *
 * Thread safety: different rings may be used by different threads between vg_start() and
 * vg_stop(), but only one thread at a time uses a connection: threads that kick need
 * vg_port.kick_lock (vg_sync takes it). Everything else: one thread.
 */
#ifndef TESTS_VFIO_GUEST_H
#define TESTS_VFIO_GUEST_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

#include "csb.h"
#include "vfio_client.h"
#include <net/netmap.h>
#include <net/netmap_virt.h>

enum { VG_PORTS_MAX = 64, VG_MEMS_MAX = 16 };

struct vg;
struct vg_port;

/* A memory function, as the guest knows it. */
struct vg_mem {
	struct vfc *client;
	char *base;        /* BAR1, as far as it can be mapped */
	uint64_t map_size; /* bytes of that */
	uint64_t size;     /* of the region, bytes */
	uint32_t id;
	uint32_t buf_ofs, buf_count, buf_size; /* of the buffer pool */
};

struct vg_ring {
	struct vg_port *port;
	uint32_t index; /* of the kick, the vector, the CSB entry */
	bool tx;
	struct nm_csb_appl csb;
	struct netmap_ring *ring; /* in the region */
	uint32_t head;            /* where the guest is; published by vg_sync() */
	int irq_fd;               /* eventfd of the vector */
	uint64_t kicks, interrupts;
};

struct vg_port {
	struct vg *vg;
	struct vfc *client;
	struct vg_mem *mem;
	uint64_t gh, hg; /* CSB arrays, guest-physical */
	struct nm_csb_atok *atok;
	struct nm_csb_ktoa *ktoa;
	uint32_t features, hdr_len;
	uint32_t tx_rings, rx_rings, tx_slots, rx_slots;
	uint8_t mac[6];
	bool doorbell;             /* kicks go to BAR4, posted; else to BAR0 */
	pthread_mutex_t kick_lock; /* of the connection, while rings have threads of their own */
	struct vg_ring rings[PTNET_MAX_RINGS]; /* tx rings first */
};

/* `ram_bytes`: a multiple of 1 MiB, at least 2 MiB. */
int vg_new(uint64_t ram_bytes, struct vg **out);
/* Closes what is still connected. NULL is allowed. */
void vg_free(struct vg *vg);
void *vg_ram(struct vg *vg, uint64_t gpa);
int vg_ram_fd(const struct vg *vg);

/*
 * Hypervisor
 */

/* *out may be NULL; it lives until vg_free(). */
int vg_add_mem(struct vg *vg, const char *path, struct vg_mem **out);
/* Connects, looks at the device as QEMU does, announces RAM, gives an eventfd per vector. */
int vg_add_port(struct vg *vg, const char *path, struct vg_port **out);
/* As if QEMU had been killed: the connection closes, whatever the driver was doing. */
void vg_close_port(struct vg_port *port);

/* RAM as the port's device sees it: announced, taken back. */
int vg_map_ram(struct vg_port *port);
int vg_unmap_ram(struct vg_port *port);

/*
 * Driver
 */

int vg_probe(struct vg_port *port, uint32_t features);
int vg_start(struct vg_port *port, uint32_t hdr_len);
int vg_stop(struct vg_port *port);
int vg_end(struct vg_port *port);

/* The result of a PTCTL command: 0 or a negative errno. */
int vg_ptctl(struct vg_port *port, uint32_t command);

/* The four CSB registers, high halves first. */
int vg_write_csb(struct vg_port *port, uint64_t gh, uint64_t hg);

/*
 * Rings
 */

/* Slots that can be used before the next vg_sync(). */
static inline uint32_t vg_avail(const struct vg_ring *r)
{
	return nm_ring_distance(r->head, r->csb.hwtail, r->csb.num_slots);
}

/* The n-th slot from where the guest is, n < vg_avail(). */
static inline struct netmap_slot *vg_slot(const struct vg_ring *r, uint32_t n)
{
	return &r->ring->slot[nm_ring_advance(r->head, n, r->csb.num_slots)];
}

/* The buffer of a slot. */
static inline char *vg_buf(const struct vg_ring *r, const struct netmap_slot *slot)
{
	const struct vg_mem *mem = r->port->mem;

	return mem->base + mem->buf_ofs + (uint64_t)slot->buf_idx * mem->buf_size;
}

static inline void vg_advance(struct vg_ring *r, uint32_t slots)
{
	r->head = nm_ring_advance(r->head, slots, r->csb.num_slots);
}

/*
 * Exchanges the buffers of what rx has received with those of tx, and sends them: as many as there are, and as there is room for.
 * Not published: vg_sync() for both. The same memory region.
 */
void vg_bridge(struct vg_ring *rx, struct vg_ring *tx);

/* Publishes the guest's position, kicks if the host asks for it, looks how far the host is.
 * -EPROTO: the host's indices make no sense. */
int vg_sync(struct vg_ring *r);

/*
 * Waits until there is something to do: asks for an interrupt and waits for it, unless
 * vg_avail() is not 0. 0: it may have come (look); -ETIMEDOUT. Call after vg_sync().
 */
int vg_wait(struct vg_ring *r, int timeout_ms);

/* One packet into the next tx slot. -EAGAIN: there is none; -EMSGSIZE. Not published. */
int vg_put(struct vg_ring *r, const void *data, uint32_t bytes);

/* One packet from the next rx slot: its bytes, or -EAGAIN; -EMSGSIZE: does not fit. */
int vg_take(struct vg_ring *r, void *data, uint32_t room);

#endif
