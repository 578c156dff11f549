/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * net/netmap_virt.h - registers of the ptnet PCI functions.
 *
 * What: a port that is passed through to a virtual machine appears there as two
 *	kinds of PCI function: one *memory device* per memory region, and one
 *	*network device* per port, which points to its memory device by region id.
 * Why:	device (netmapd) and drivers (netmap.ko, and those of other systems,
 *	which can't be changed) must agree on each register.
 * How:	included by the device model and by the guest driver, in user space and
 *	in the kernel. Text and numbers follow the ptnet device specification in
 *	docs/.
 *
 * Thread safety: constants only. The device sees the accesses of one function
 *	in the order in which the guest makes them.
 *
 * All registers are 32 bits wide, little-endian. A value of 64 bits takes two
 * registers; its high half is written first, the write of the low half takes
 * effect.
 */
#ifndef _NET_NETMAP_VIRT_H_
#define _NET_NETMAP_VIRT_H_

/*
 * Identity
 * --------
 * Both device ids are also used by other devices that QEMU emulates (a PCIe
 * root port, an xHCI controller). A driver tells ours by class code and by the
 * subsystem ids, which both functions carry.
 */
#define PTNETMAP_PCI_VENDOR_ID        0x1b36
#define PTNETMAP_PCI_DEVICE_ID        0x000c            /* memory device */
#define PTNETMAP_PCI_NETIF_ID         0x000d            /* network device */
#define PTNETMAP_MEMDEV_NAME          "ptnetmap-memdev" /* of the memory device, for texts */
#define PTNETMAP_PCI_SUBSYS_VENDOR_ID 0x1b36
#define PTNETMAP_PCI_SUBSYS_ID        0x7074 /* "pt" */
/* Class codes: base class in bits 15..8, subclass in bits 7..0. */
#define PTNETMAP_PCI_DEVICE_CLASS 0xff00 /* not in any class */
#define PTNETMAP_PCI_NETIF_CLASS  0x0200 /* Ethernet controller */

/* BARs. The memory device has 0 and 1, the network device 0, 2 and 4. */
#define PTNETMAP_IO_PCI_BAR   0 /* I/O space: the registers */
#define PTNETMAP_MEM_PCI_BAR  1 /* memory, prefetchable, 64-bit, a power of two: the region */
#define PTNETMAP_MSIX_PCI_BAR 2 /* memory: MSI-X table and PBA */

/*
 * Doorbell BAR: our extension. Writes to an I/O BAR are synchronous: the
 * virtual CPU waits until the device answers. Writes to this memory BAR are
 * posted. It holds the KICK registers at the same offsets as BAR0, and nothing
 * else; reads give 0. A driver that doesn't know it uses BAR0.
 */
#define PTNET_DOORBELL_BAR      4
#define PTNET_DOORBELL_BAR_SIZE 4096 /* bytes */

/*
 * Memory device, BAR0
 * -------------------
 * 128 bytes of I/O space, all read only. Registers that are not named read 0.
 */
#define PTNETMAP_MDEV_IO_BAR_SIZE 128

#define PTNET_MDEV_IO_MEMSIZE_LO 0 /* bytes of the region, low half */
#define PTNET_MDEV_IO_MEMSIZE_HI 4 /* high half */
#define PTNET_MDEV_IO_MEMID      8 /* region id; HOSTMEMID of its network devices */

/* For each pool: bytes from the start of the region, number of objects, bytes of an object. */
#define PTNET_MDEV_IO_IF_POOL_OFS      64
#define PTNET_MDEV_IO_IF_POOL_OBJNUM   68
#define PTNET_MDEV_IO_IF_POOL_OBJSZ    72
#define PTNET_MDEV_IO_RING_POOL_OFS    76
#define PTNET_MDEV_IO_RING_POOL_OBJNUM 80
#define PTNET_MDEV_IO_RING_POOL_OBJSZ  84
#define PTNET_MDEV_IO_BUF_POOL_OFS     88
#define PTNET_MDEV_IO_BUF_POOL_OBJNUM  92
#define PTNET_MDEV_IO_BUF_POOL_OBJSZ   96
#define PTNET_MDEV_IO_END              100

/*
 * The guest's part of each pool: our extension. Objects FIRST to FIRST + NUM - 1 are the guest's
 * to use as it likes (rings and buffers of pipes, monitors and host rings, extra buffers);
 * the device never touches one unless the guest shows it a buffer in a slot. NUM 0, as the registers
 * of a device without this extension read: no part. When the driver goes, or its machine is reset,
 * all of it is free again. What one of these registers has read it reads for ever.
 */
#define PTNET_MDEV_IO_GUEST_IF_FIRST   100
#define PTNET_MDEV_IO_GUEST_IF_NUM     104
#define PTNET_MDEV_IO_GUEST_RING_FIRST 108
#define PTNET_MDEV_IO_GUEST_RING_NUM   112
#define PTNET_MDEV_IO_GUEST_BUF_FIRST  116
#define PTNET_MDEV_IO_GUEST_BUF_NUM    120
/* 1: there is a part, and the device exchanges no buffers of the machine's ports in this region. A
 * driver does well to use the part only then: some devices that had another one said 0 here, and
 * brought buffers of the host into slots, for those that were there. */
#define PTNET_MDEV_IO_GUEST_ALONE 124
#define PTNET_MDEV_IO_GUEST_END   128

/*
 * Network device, BAR0
 * --------------------
 * 256 bytes of I/O space. The order of use:
 *
 *  1. probe: PTFEAT (write, read back); the ring counts; the four CSB registers;
 *     MAC; an MSI-X vector per ring; NIFP_OFS; the slot counts; HOSTMEMID;
 *     VNET_HDR_LEN (write, read back).
 *  2. start: in every CSB entry appl_need_kick (0 for tx, 1 for rx) and
 *     kern_need_kick = 1; VNET_HDR_LEN; CREATE. Before CREATE answers, the device
 *     has written head and cur of each ring into the guest-to-host entry, hwcur
 *     and hwtail into the host-to-guest entry; the driver loads its rings from
 *     those four.
 *  3. stop: DELETE; then the four CSB registers 0. A later CREATE goes on where
 *     the rings were.
 */
#define PTNET_IO_BAR_SIZE 256

/* Write the wanted feature bits PTNETMAP_F_*, then read those granted. */
#define PTNET_IO_PTFEAT 0
/* Write a command PTNETMAP_PTCTL_*, then read its result: 0 or a positive errno. */
#define PTNET_IO_PTCTL 4
/* MAC address, read only. HI: first byte in bits 15..8, second in 7..0;
 * LO: third byte in bits 31..24, then the rest. */
#define PTNET_IO_MAC_LO 8
#define PTNET_IO_MAC_HI 12
/* Address of a single CSB, of drivers older than version 14. Not served: reads 0. */
#define PTNET_IO_CSBBAH 16
#define PTNET_IO_CSBBAL 20
/* Bytes from the start of the region to the port's struct netmap_if. Read only. */
#define PTNET_IO_NIFP_OFS 24
/* Geometry, read only; slots are per ring. */
#define PTNET_IO_NUM_TX_RINGS 28
#define PTNET_IO_NUM_RX_RINGS 32
#define PTNET_IO_NUM_TX_SLOTS 36
#define PTNET_IO_NUM_RX_SLOTS 40
/* Write the wanted length of the virtio-net header (0, 10, 12), then read the one in use. */
#define PTNET_IO_VNET_HDR_LEN 44
/* Region id, to find the memory device. Read only. */
#define PTNET_IO_HOSTMEMID 48
/*
 * Guest-physical addresses of the two CSB arrays (struct nm_csb_atok and
 * nm_csb_ktoa of netmap.h, one entry per ring, tx rings first). Each array lies
 * in one page. The write to BAL takes effect; 0 unmaps. Writing one while the
 * rings are served stops the service first.
 */
#define PTNET_IO_CSB_GH_BAH 52 /* guest to host: nm_csb_atok */
#define PTNET_IO_CSB_GH_BAL 56
#define PTNET_IO_CSB_HG_BAH 60 /* host to guest: nm_csb_ktoa */
#define PTNET_IO_CSB_HG_BAL 64
#define PTNET_IO_END        68
/*
 * Receive-side scaling: our extension, where PTNETMAP_F_RSS was granted. INDEX selects one of the words below, DATA is that
 * word: written to be what the next PTNETMAP_PTCTL_RSS_ON takes, read as it was written. In a word the first byte
 * is in bits 7..0. A packet comes to the rx ring that the entry of the table for the low 7 bits of its hash names. The hash is
 * Toeplitz: of source and destination address of IPv4 or IPv6, followed by both ports when the packet is TCP or UDP, no
 * fragment, and has no IPv6 extension header. All else has the hash 0.
 */
#define PTNET_IO_RSS_INDEX 68
#define PTNET_IO_RSS_DATA  72
#define PTNET_IO_RSS_END   76
#define PTNET_RSS_KEY      0 /* words 0 to 9: 40 bytes */
#define PTNET_RSS_TABLE \
	10 /* words 10 to 41: 128 entries of a byte, each below the number of rx rings */
#define PTNET_RSS_WORDS 42
/*
 * KICK of ring i is at PTNET_IO_KICK_BASE + 4 * i, tx rings first, then rx
 * rings; the value written does not matter. MSI-X vectors are in the same order.
 */
#define PTNET_IO_KICK_BASE 128
#define PTNET_IO_MASK      0xff

/* Rings of a port, both directions together: each needs a KICK in BAR0. */
#define PTNET_MAX_RINGS 32

/* Feature bits of PTFEAT. */
#define PTNETMAP_F_VNET_HDR 1 /* packets carry a virtio-net header of VNET_HDR_LEN bytes */
#define PTNETMAP_F_RSS \
	0x10000 /* our extension: the driver may choose by a hash where packets come to */
/* Our extension, with PTNETMAP_F_VNET_HDR: the driver takes packets with gso_type 5 (VIRTIO_NET_HDR_GSO_UDP_L4), and may send them.
 * A driver without it finds such packets cut into datagrams. */
#define PTNETMAP_F_USO 0x20000
/* Our extension, with PTNETMAP_F_VNET_HDR: the driver takes TCP packets to be segmented (gso_type 1, 4) whose IP packet has more than
 * 65535 bytes, and may send them. A length that doesn't fit its field makes it 0 (IPv4: total length, IPv6: payload length), and there is
 * no jumbo option.
 * A driver without it finds such packets cut into segments. */
#define PTNETMAP_F_BIG_TCP 0x40000
/* Those two: what only network stacks know, behind a virtio-net header. */
#define PTNETMAP_F_STACK (PTNETMAP_F_USO | PTNETMAP_F_BIG_TCP)

/* Commands of PTCTL. */
#define PTNETMAP_PTCTL_CREATE 1 /* start to serve the rings; ENXIO without both CSB addresses */
#define PTNETMAP_PTCTL_DELETE 2 /* stop */
/* Our extension, with PTNETMAP_F_RSS (without: EOPNOTSUPP), served or not. ON: as key and table were written; EINVAL, and nothing
 * changes: an entry names no rx ring; ENOMEM. OFF: as at first, the sender's ring decides. A write of PTFEAT and a
 * reset are OFF, too. */
#define PTNETMAP_PTCTL_RSS_ON  0x10001
#define PTNETMAP_PTCTL_RSS_OFF 0x10002

#endif /* _NET_NETMAP_VIRT_H_ */
