/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * vfio_client.h - the hypervisor's side of a vfio-user connection.
 *
 * Does with a device what QEMU does, one blocking call per message, and lets a
 * test or a benchmark send what QEMU would never send.
 *
 *      struct vfc *c;
 *      int error = vfc_connect("/run/…/net0", &c);
 *      error = vfc_negotiate(c);
 *      error = vfc_read(c, VFIO_PCI_CONFIG_REGION_INDEX, 0, &id, 4);
 *      vfc_close(c);
 *
 * Calls return 0 or a negative errno: what the device answered, or -ECONNRESET (it
 * closed the connection), -ETIMEDOUT (no reply within VFC_TIMEOUT_MS), -EBADMSG (the
 * reply does not fit the command), or an error of the socket.
 *
 * A test that has the device in its own thread gives it time to work with
 * vfc_set_idle(): the function is called again and again while a reply is due.
 *
 * Thread safety: one thread at a time per connection.
 */
#ifndef TESTS_VFIO_CLIENT_H
#define TESTS_VFIO_CLIENT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "vu_proto.h"

struct vfc;

enum { VFC_TIMEOUT_MS = 10000 };

int vfc_connect(const char *path, struct vfc **out);
/* Takes over a connected stream socket. */
int vfc_from_fd(int fd, struct vfc **out);
void vfc_close(struct vfc *c); /* NULL is allowed */
int vfc_fd(const struct vfc *c);
void vfc_set_idle(struct vfc *c, void (*idle)(void *arg), void *arg);

/*
 * Raw
 */

/* Sends bytes as they are, descriptors with the first of them. */
int vfc_send(struct vfc *c, const void *bytes, size_t len, const int *fds, unsigned int nfds);

/* One message: a header with a fresh id (returned in *id unless NULL), and the payload. */
int vfc_send_message(struct vfc *c, uint16_t command, uint32_t flags, const void *payload,
	size_t len, const int *fds, unsigned int nfds, uint16_t *id);

struct vfc_reply {
	struct vu_hdr hdr;
	size_t len; /* bytes of payload */
	int fd;     /* that came along; -1: none; the receiver's to close */
	uint8_t payload[VU_MSG_MAX];
};

/* Receives the next message, whatever it is. */
int vfc_receive(struct vfc *c, struct vfc_reply *reply);

/* Waits until the device has closed the connection: 0, or -ETIMEDOUT. Replies are skipped. */
int vfc_wait_closed(struct vfc *c);

/*
 * Command and reply: 0 if the device answered without an error, and its reply is a reply to
 * this command. A descriptor in the reply is closed unless `reply` is given.
 */
int vfc_call(struct vfc *c, uint16_t command, const void *payload, size_t len, const int *fds,
	unsigned int nfds, struct vfc_reply *reply);

/*
 * The protocol
 */

/* VERSION as QEMU sends it. */
int vfc_negotiate(struct vfc *c);
/* VERSION with this text (with its final 0 byte), or none if NULL. */
int vfc_negotiate_with(struct vfc *c, uint16_t major, uint16_t minor, const char *json);

int vfc_device_info(struct vfc *c, struct vu_device_info *info);
/* *fd: to map the region, the caller's; -1: none. */
int vfc_region_info(struct vfc *c, uint32_t index, struct vu_region_info_msg *info, int *fd);
/* The same as QEMU asks: again, when there is more to say. *bytes: the area that can be mapped, from
 * the region's beginning; 0: none. */
int vfc_region_area(
	struct vfc *c, uint32_t index, struct vu_region_info_msg *info, uint64_t *bytes, int *fd);
int vfc_irq_info(struct vfc *c, uint32_t index, struct vu_irq_info_msg *info);

int vfc_read(struct vfc *c, uint32_t region, uint64_t offset, void *data, uint32_t bytes);
int vfc_write(struct vfc *c, uint32_t region, uint64_t offset, const void *data, uint32_t bytes);
/* Without a reply. */
int vfc_post(struct vfc *c, uint32_t region, uint64_t offset, const void *data, uint32_t bytes);

/* 32-bit registers of a BAR. */
int vfc_read32(struct vfc *c, uint32_t bar, uint32_t offset, uint32_t *value);
int vfc_write32(struct vfc *c, uint32_t bar, uint32_t offset, uint32_t value);
int vfc_post32(struct vfc *c, uint32_t bar, uint32_t offset, uint32_t value);

/* fd -1: none. */
int vfc_dma_map(
	struct vfc *c, uint64_t address, uint64_t size, uint32_t flags, int fd, uint64_t offset);
int vfc_dma_unmap(struct vfc *c, uint64_t address, uint64_t size);
int vfc_dma_unmap_all(struct vfc *c);

/* Eventfds for `count` interrupts; fds NULL: takes them away. At most VU_FDS_MAX of them. */
int vfc_irq_eventfds(struct vfc *c, uint32_t index, uint32_t start, uint32_t count, const int *fds);
/* Any other SET_IRQS without data or with `count` bytes of it. */
int vfc_irq_set(struct vfc *c, uint32_t index, uint32_t flags, uint32_t start, uint32_t count,
	const uint8_t *data);

int vfc_reset(struct vfc *c);

#endif
