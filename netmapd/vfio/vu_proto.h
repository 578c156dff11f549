/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * vu_proto.h - messages of the vfio-user protocol as they are on the wire.
 *
 * A client (QEMU) and a server (a device in netmapd) exchange messages over a
 * Unix stream socket; descriptors travel as SCM_RIGHTS with the first byte of
 * the message they belong to. Each message starts with struct vu_hdr. Numbers
 * are in host order. The protocol is documented in QEMU's tree,
 * docs/interop/vfio-user.rst; constants that it shares with the kernel's vfio
 * (region and interrupt flags, indexes) come from <linux/vfio.h>.
 *
 *      client                                     server
 *        VERSION          capabilities      ->
 *                                           <-    VERSION, capabilities
 *        any other command                  ->
 *                                           <-    reply: same id and command,
 *                                                 or the bare header with VU_FLAG_ERROR
 *        command with VU_FLAG_NO_REPLY      ->    (nothing comes back, errors included)
 *
 * Used by the server (vu_conn.c) and by the test client.
 *
 * Thread safety: formats only.
 */
#ifndef NETMAPD_VU_PROTO_H
#define NETMAPD_VU_PROTO_H

#include <assert.h>
#include <stdint.h>
#include <linux/vfio.h>

enum vu_command {
	VU_VERSION = 1,
	VU_DMA_MAP = 2,
	VU_DMA_UNMAP = 3,
	VU_DEVICE_GET_INFO = 4,
	VU_DEVICE_GET_REGION_INFO = 5,
	VU_DEVICE_GET_REGION_IO_FDS = 6,
	VU_DEVICE_GET_IRQ_INFO = 7,
	VU_DEVICE_SET_IRQS = 8,
	VU_REGION_READ = 9,
	VU_REGION_WRITE = 10,
	VU_DMA_READ = 11,  /* server to client: never used here */
	VU_DMA_WRITE = 12, /* server to client: never used here */
	VU_DEVICE_RESET = 13,
	VU_DIRTY_PAGES = 14, /* of older clients */
	VU_REGION_WRITE_MULTI = 15,
	VU_DEVICE_FEATURE = 16,
	VU_MIG_DATA_READ = 17,
	VU_MIG_DATA_WRITE = 18,
	VU_COMMANDS = 19,
};

enum {
	VU_TYPE_MASK = 0xf,
	VU_TYPE_COMMAND = 0x0,
	VU_TYPE_REPLY = 0x1,
	VU_FLAG_NO_REPLY = 0x10,
	VU_FLAG_ERROR = 0x20,
	VU_FLAGS_KNOWN = 0x3f,
};

enum { VU_MAJOR = 0, VU_MINOR = 0 }; /* the version in use */

/* Limits of this server; the client learns all but the last from the VERSION reply. */
enum {
	VU_FDS_MAX = 16,        /* descriptors in one message; QEMU takes no larger number */
	VU_DATA_MAX = 4096,     /* bytes of one region read or write */
	VU_DMA_MAPS_MAX = 4096, /* DMA ranges at a time */
	VU_PAGE_SIZE = 4096,    /* bytes; DMA ranges are whole pages */
	VU_MSG_MAX = 8192,      /* bytes of any message, header included */
};

struct vu_hdr {
	uint16_t id; /* chosen by the sender of the command, echoed in the reply */
	uint16_t command;
	uint32_t size; /* bytes, this header included */
	uint32_t flags;
	uint32_t error; /* positive errno, in replies with VU_FLAG_ERROR */
};

/* VU_VERSION, both ways; JSON text that ends with a 0 byte follows (optional in the command). */
struct vu_version {
	uint16_t major;
	uint16_t minor;
};

/* VU_DMA_MAP; at most one descriptor; no payload in the reply. */
struct vu_dma_map {
	uint32_t argsz;  /* bytes of this struct */
	uint32_t flags;  /* VFIO_DMA_MAP_FLAG_READ, _WRITE */
	uint64_t offset; /* bytes, into the descriptor's file */
	uint64_t address;
	uint64_t size; /* bytes */
};

/* VU_DMA_UNMAP; the reply is the same struct. */
struct vu_dma_unmap {
	uint32_t argsz;
	uint32_t flags; /* 0, or VFIO_DMA_UNMAP_FLAG_ALL with address and size 0 */
	uint64_t address;
	uint64_t size; /* bytes */
};

/* VU_DEVICE_GET_INFO, both ways; in the command all but argsz is 0. */
struct vu_device_info {
	uint32_t argsz;
	uint32_t flags; /* VFIO_DEVICE_FLAGS_* */
	uint32_t num_regions;
	uint32_t num_irqs;
};

/* VU_DEVICE_GET_REGION_INFO, both ways; in the command all but argsz and index is 0.
 * A region that can be mapped comes with a descriptor. */
struct vu_region_info_msg {
	uint32_t argsz;
	uint32_t flags; /* VFIO_REGION_INFO_FLAG_* */
	uint32_t index; /* VFIO_PCI_*_REGION_INDEX */
	uint32_t cap_offset;
	uint64_t size;   /* bytes */
	uint64_t offset; /* bytes, for mmap of the descriptor */
};

/* Follows the reply, with VFIO_REGION_INFO_FLAG_CAPS, when only one area of the region can be mapped.
 * A command whose argsz has no room for it gets the reply alone: argsz and cap_offset say what to
 * ask for, and no descriptor comes along. */
struct vu_region_area {
	struct vfio_info_cap_header header; /* VFIO_REGION_INFO_CAP_SPARSE_MMAP, version 1 */
	uint32_t nr_areas;                  /* 1 */
	uint32_t reserved;
	uint64_t offset; /* bytes, in the region */
	uint64_t size;   /* bytes */
};

/* VU_DEVICE_GET_REGION_IO_FDS, both ways. */
struct vu_region_io_fds {
	uint32_t argsz;
	uint32_t flags;
	uint32_t index;
	uint32_t count; /* sub-regions that follow */
};

/* VU_DEVICE_GET_IRQ_INFO, both ways; in the command all but argsz and index is 0. */
struct vu_irq_info_msg {
	uint32_t argsz;
	uint32_t flags; /* VFIO_IRQ_INFO_* */
	uint32_t index; /* VFIO_PCI_*_IRQ_INDEX */
	uint32_t count;
};

/* VU_DEVICE_SET_IRQS; with VFIO_IRQ_SET_DATA_BOOL `count` bytes follow, with
 * VFIO_IRQ_SET_DATA_EVENTFD `count` descriptors come along, or none; no payload in the reply. */
struct vu_irq_set {
	uint32_t argsz;
	uint32_t flags; /* VFIO_IRQ_SET_*: one of DATA, one of ACTION */
	uint32_t index; /* VFIO_PCI_*_IRQ_INDEX */
	uint32_t start;
	uint32_t count;
};

/* VU_REGION_READ and VU_REGION_WRITE, both ways; `count` bytes follow in a write command and
 * in a read reply. */
struct vu_region_rw {
	uint64_t offset; /* bytes */
	uint32_t region;
	uint32_t count; /* bytes */
};

/* VU_REGION_WRITE_MULTI: a count, then as many writes; the reply is the count. */
struct vu_write_multi {
	uint64_t count;
};

struct vu_write_one {
	struct vu_region_rw rw;
	uint8_t data[8]; /* the first rw.count bytes */
};

/* VU_DEVICE_FEATURE: feature index and VFIO_DEVICE_FEATURE_* bits in flags. */
struct vu_feature {
	uint32_t argsz;
	uint32_t flags;
};

static_assert(sizeof(struct vu_hdr) == 16, "wire format");
static_assert(sizeof(struct vu_version) == 4, "wire format");
static_assert(sizeof(struct vu_dma_map) == 32, "wire format");
static_assert(sizeof(struct vu_dma_unmap) == 24, "wire format");
static_assert(sizeof(struct vu_device_info) == 16, "wire format");
static_assert(sizeof(struct vu_region_info_msg) == 32, "wire format");
static_assert(sizeof(struct vu_region_area) == 32, "wire format");
static_assert(sizeof(struct vu_region_io_fds) == 16, "wire format");
static_assert(sizeof(struct vu_irq_info_msg) == 16, "wire format");
static_assert(sizeof(struct vu_irq_set) == 20, "wire format");
static_assert(sizeof(struct vu_region_rw) == 16, "wire format");
static_assert(sizeof(struct vu_write_one) == 24, "wire format");
static_assert(sizeof(struct vu_feature) == 8, "wire format");

#endif
