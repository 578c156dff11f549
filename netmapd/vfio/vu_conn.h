/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * vu_conn.h - one vfio-user connection, seen from the device.
 *
 * Takes messages off a socket, checks each against a table (size, descriptors,
 * state), checks what it says (flags, indexes, ranges), and only then calls the
 * device through struct vu_ops. Replies go out in order.
 *
 *   state   left by                         allowed
 *   new     a good VERSION                  VERSION
 *   ready   a violation, the client's end   everything but VERSION
 *   dead    vu_conn_free()                  nothing
 *
 * A bad message is answered with VU_FLAG_ERROR and an errno, and changes nothing;
 * one with VU_FLAG_NO_REPLY is dropped silently. What leaves no way to go on (a
 * size that is no size, a message that is no command) ends the connection, and so
 * does a client that does not take its replies. All descriptors that a message
 * carried are closed when its handler has returned; a device duplicates what it
 * wants to keep.
 *
 *      vu_conn_new(fd, &my_ops, my_device, "name", &conn);
 *      ... when poll says that vu_conn_fd(conn) has `revents` ...
 *      if (vu_conn_ready(conn, revents) < 0)
 *              vu_conn_free(conn);
 *      else
 *              ... wait for vu_conn_events(conn) ...
 *
 * vu_conn_ready() never blocks, and its work is bounded in time, so that one client can't
 * starve the others: it handles one message, and more as long as VU_CONN_TURN_US have not
 * passed. What is left over waits for the next turn (vu_conn_more). Of a client that has hung up nothing
 * is handled any more.
 *
 * Thread safety: one thread makes all calls for one connection.
 */
#ifndef NETMAPD_VU_CONN_H
#define NETMAPD_VU_CONN_H

#include <stdbool.h>
#include <stdint.h>

#include "vu_proto.h"

struct vu_conn;

enum {
	VU_CONN_TURN_US = 200,      /* of vu_conn_ready(), behind which no other message begins */
	VU_CONN_QUEUE_MAX = 131072, /* bytes of replies that wait for the client */
};

/* What a region is. Zero size: there is no such region. */
struct vu_region {
	uint64_t size;      /* bytes */
	uint32_t flags;     /* VFIO_REGION_INFO_FLAG_READ, _WRITE, _MMAP */
	int fd;             /* with _MMAP: the file to map; stays the device's */
	uint64_t fd_offset; /* bytes */
	uint64_t fd_size;   /* bytes of the region that the file has: whole pages */
};

/* What an interrupt index is. */
struct vu_irq {
	uint32_t count;
	uint32_t flags; /* VFIO_IRQ_INFO_* */
};

enum vu_irq_action { VU_IRQ_MASK, VU_IRQ_UNMASK, VU_IRQ_TRIGGER };

/*
 * The device. Handlers return 0 or a negative errno, which goes to the client.
 * Arguments are checked as described; the device is a PCI function: the regions
 * are 0..VFIO_PCI_NUM_REGIONS-1, the interrupt indexes 0..VFIO_PCI_NUM_IRQS-1.
 */
struct vu_ops {
	/* index < VFIO_PCI_NUM_REGIONS. *region is zeroed before. */
	void (*region)(void *dev, uint32_t index, struct vu_region *region);

	/* [offset, offset + bytes) lies within the region, 1 <= bytes <= VU_DATA_MAX. */
	int (*region_read)(void *dev, uint32_t index, uint64_t offset, void *data, uint32_t bytes);
	int (*region_write)(
		void *dev, uint32_t index, uint64_t offset, const void *data, uint32_t bytes);
	/* Bits of regions where a write is next to nothing: several may come in a message. */
	uint32_t light;

	/* index < VFIO_PCI_NUM_IRQS. *irq is zeroed before. */
	void (*irq)(void *dev, uint32_t index, struct vu_irq *irq);

	/* Eventfds (checked to be some) to signal for [start, start + count), which lies within the
	 * index and is not empty; fds NULL: none any more. NULL: nothing is ever signalled. */
	int (*irq_set)(void *dev, uint32_t index, uint32_t start, uint32_t count, const int *fds);

	/* `which`: one byte per interrupt, 0 spares it; NULL: all of the range. NULL: -EOPNOTSUPP. */
	int (*irq_action)(void *dev, uint32_t index, uint32_t start, uint32_t count,
		enum vu_irq_action action, const uint8_t *which);

	/* fd < 0: none. Nothing about the range is checked: see guestmem_map(). */
	int (*dma_map)(void *dev, const struct vu_dma_map *map, int fd);
	/* No access to the range may happen after it has returned 0. */
	int (*dma_unmap)(void *dev, uint64_t address, uint64_t size);
	int (*dma_unmap_all)(void *dev);

	int (*reset)(void *dev);

	/* A client has connected: its messages will come from `fd`, until `ended` (vu_server.h). The device may wait for them as
	 * well, and never reads. NULL: it doesn't care. */
	void (*connected)(void *dev, int fd);
};

/*
 * Takes over the stream socket `fd`. `name` is for the log and must outlive the connection.
 * 0 and *out, or a negative errno; fd is then still the caller's.
 */
int vu_conn_new(
	int fd, const struct vu_ops *ops, void *dev, const char *name, struct vu_conn **out);

/* Closes the socket. The device is not called. NULL is allowed. Not from a handler. */
void vu_conn_free(struct vu_conn *conn);

int vu_conn_fd(const struct vu_conn *conn);

/* EPOLLIN, and EPOLLOUT while replies wait. */
uint32_t vu_conn_events(const struct vu_conn *conn);

/* Has vu_conn_ready() left something that it could handle now? Call it again after others, with EPOLLIN; VU_CONN_LATER:
 * not before a while (the client's descriptors are still being closed). */
enum vu_conn_more { VU_CONN_DONE, VU_CONN_NOW, VU_CONN_LATER };
enum vu_conn_more vu_conn_more(const struct vu_conn *conn);

/*
 * Call when the socket is ready for `events`. 0, or a negative errno: the connection is dead
 * and can only be freed. -ECONNRESET: the client closed it (EPOLLHUP); -EPROTO: the client violated the
 * protocol; -ENOBUFS: it does not take its replies; else an error of the socket.
 */
int vu_conn_ready(struct vu_conn *conn, uint32_t events);

struct vu_conn_stats {
	uint64_t messages; /* taken in */
	uint64_t errors;   /* answered with an error, or dropped because no reply was wanted */
};

void vu_conn_stats(const struct vu_conn *conn, struct vu_conn_stats *stats);

#endif
