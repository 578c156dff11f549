/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * abi_layout.h - every size, offset and number of the netmap ABI, as assertions.
 *
 * What: for each structure of net/netmap.h its size, alignment and the place of
 *	each member; for each constant of net/netmap.h and net/netmap_virt.h its value.
 * Why:	applications and guest drivers built elsewhere rely on all of them. A
 *	change here is a break, not a fix.
 * How:	include the two headers and something that has offsetof, then this file;
 *	it compiles or it doesn't. It holds no code and works in the kernel as well.
 *
 * Thread safety: nothing here runs.
 */
#ifndef ABI_LAYOUT_H
#define ABI_LAYOUT_H

/* The structure that BYTES, AT and ARRAY_AT are about is STRUCT. */
#define BYTES(size, align)                                                      \
	_Static_assert(sizeof(STRUCT) == (size) && _Alignof(STRUCT) == (align), \
		"size or alignment of the structure")
#define AT(member, offset, size)                                                    \
	_Static_assert(offsetof(STRUCT, member) == (offset), "offset of " #member); \
	_Static_assert(sizeof(((STRUCT *)0)->member) == (size), "size of " #member)
#define ARRAY_AT(member, offset) \
	_Static_assert(offsetof(STRUCT, member) == (offset), "offset of " #member)
#define IS(name, value) _Static_assert((unsigned long long)(name) == (value), #name)

#define STRUCT struct netmap_slot
BYTES(16, 8);
AT(buf_idx, 0, 4);
AT(len, 4, 2);
AT(flags, 6, 2);
AT(ptr, 8, 8);
#undef STRUCT

#define STRUCT struct netmap_ring
BYTES(256, 128);
AT(buf_ofs, 0, 8);
AT(num_slots, 8, 4);
AT(nr_buf_size, 12, 4);
AT(ringid, 16, 2);
AT(dir, 18, 2);
AT(head, 20, 4);
AT(cur, 24, 4);
AT(tail, 28, 4);
AT(flags, 32, 4);
AT(ts, 40, 16);
AT(offset_mask, 56, 8);
AT(buf_align, 64, 8);
AT(sem, 128, 128);
ARRAY_AT(slot, 256);
#undef STRUCT

#define STRUCT struct netmap_if
BYTES(56, 8);
AT(ni_name, 0, 16);
AT(ni_version, 16, 4);
AT(ni_flags, 20, 4);
AT(ni_tx_rings, 24, 4);
AT(ni_rx_rings, 28, 4);
AT(ni_bufs_head, 32, 4);
AT(ni_host_tx_rings, 36, 4);
AT(ni_host_rx_rings, 40, 4);
AT(ni_spare1, 44, 12);
ARRAY_AT(ring_ofs, 56);
#undef STRUCT

#define STRUCT struct nmreq_option
BYTES(24, 8);
AT(nro_next, 0, 8);
AT(nro_reqtype, 8, 4);
AT(nro_status, 12, 4);
AT(nro_size, 16, 8);
#undef STRUCT

#define STRUCT struct nmreq_header
BYTES(88, 8);
AT(nr_version, 0, 2);
AT(nr_reqtype, 2, 2);
AT(nr_reserved, 4, 4);
AT(nr_name, 8, 64);
AT(nr_options, 72, 8);
AT(nr_body, 80, 8);
#undef STRUCT

#define STRUCT struct nmreq_register
BYTES(56, 8);
AT(nr_offset, 0, 8);
AT(nr_memsize, 8, 8);
AT(nr_tx_slots, 16, 4);
AT(nr_rx_slots, 20, 4);
AT(nr_tx_rings, 24, 2);
AT(nr_rx_rings, 26, 2);
AT(nr_host_tx_rings, 28, 2);
AT(nr_host_rx_rings, 30, 2);
AT(nr_mem_id, 32, 2);
AT(nr_ringid, 34, 2);
AT(nr_mode, 36, 4);
AT(nr_extra_bufs, 40, 4);
AT(nr_flags, 48, 8);
#undef STRUCT

#define STRUCT struct nmreq_port_info_get
BYTES(32, 8);
AT(nr_memsize, 0, 8);
AT(nr_tx_slots, 8, 4);
AT(nr_rx_slots, 12, 4);
AT(nr_tx_rings, 16, 2);
AT(nr_rx_rings, 18, 2);
AT(nr_host_tx_rings, 20, 2);
AT(nr_host_rx_rings, 22, 2);
AT(nr_mem_id, 24, 2);
AT(pad, 26, 6);
#undef STRUCT

#define STRUCT struct nmreq_vale_attach
BYTES(64, 8);
AT(reg, 0, 56);
AT(port_index, 56, 4);
AT(pad1, 60, 4);
#undef STRUCT

#define STRUCT struct nmreq_vale_detach
BYTES(8, 4);
AT(port_index, 0, 4);
AT(pad1, 4, 4);
#undef STRUCT

#define STRUCT struct nmreq_vale_list
BYTES(8, 4);
AT(nr_bridge_idx, 0, 2);
AT(pad1, 2, 2);
AT(nr_port_idx, 4, 4);
#undef STRUCT

#define STRUCT struct nmreq_port_hdr
BYTES(8, 4);
AT(nr_hdr_len, 0, 4);
AT(pad1, 4, 4);
#undef STRUCT

#define STRUCT struct nmreq_vale_newif
BYTES(16, 4);
AT(nr_tx_slots, 0, 4);
AT(nr_rx_slots, 4, 4);
AT(nr_tx_rings, 8, 2);
AT(nr_rx_rings, 10, 2);
AT(nr_mem_id, 12, 2);
AT(pad1, 14, 2);
#undef STRUCT

#define STRUCT struct nmreq_vale_polling
BYTES(16, 4);
AT(nr_mode, 0, 4);
AT(nr_first_cpu_id, 4, 4);
AT(nr_num_polling_cpus, 8, 4);
AT(pad1, 12, 4);
#undef STRUCT

#define STRUCT struct nmreq_pools_info
BYTES(64, 8);
AT(nr_memsize, 0, 8);
AT(nr_mem_id, 8, 2);
AT(pad1, 10, 6);
AT(nr_if_pool_offset, 16, 8);
AT(nr_if_pool_objtotal, 24, 4);
AT(nr_if_pool_objsize, 28, 4);
AT(nr_ring_pool_offset, 32, 8);
AT(nr_ring_pool_objtotal, 40, 4);
AT(nr_ring_pool_objsize, 44, 4);
AT(nr_buf_pool_offset, 48, 8);
AT(nr_buf_pool_objtotal, 56, 4);
AT(nr_buf_pool_objsize, 60, 4);
#undef STRUCT

#define STRUCT struct nmreq_sync_kloop_start
BYTES(8, 4);
AT(sleep_us, 0, 4);
AT(pad1, 4, 4);
#undef STRUCT

#define STRUCT struct nm_csb_atok
BYTES(64, 4);
AT(head, 0, 4);
AT(cur, 4, 4);
AT(appl_need_kick, 8, 4);
AT(sync_flags, 12, 4);
AT(pad, 16, 48);
#undef STRUCT

#define STRUCT struct nm_csb_ktoa
BYTES(64, 4);
AT(hwcur, 0, 4);
AT(hwtail, 4, 4);
AT(kern_need_kick, 8, 4);
AT(pad, 12, 52);
#undef STRUCT

#define STRUCT struct nmreq_opt_sync_kloop_eventfds
BYTES(24, 8);
AT(nro_opt, 0, 24);
ARRAY_AT(eventfds, 24);
#undef STRUCT

#define STRUCT struct nmreq_opt_sync_kloop_mode
BYTES(32, 8);
AT(nro_opt, 0, 24);
AT(mode, 24, 4);
#undef STRUCT

#define STRUCT struct nmreq_opt_extmem
BYTES(96, 8);
AT(nro_opt, 0, 24);
AT(nro_usrptr, 24, 8);
AT(nro_info, 32, 64);
#undef STRUCT

#define STRUCT struct nmreq_opt_csb
BYTES(40, 8);
AT(nro_opt, 0, 24);
AT(csb_atok, 24, 8);
AT(csb_ktoa, 32, 8);
#undef STRUCT

#define STRUCT struct nmreq_opt_offsets
BYTES(56, 8);
AT(nro_opt, 0, 24);
AT(nro_max_offset, 24, 8);
AT(nro_initial_offset, 32, 8);
AT(nro_offset_bits, 40, 4);
AT(nro_tx_align, 44, 4);
AT(nro_min_gap, 48, 8);
#undef STRUCT

#define STRUCT struct nmreq
BYTES(60, 4);
AT(nr_name, 0, 16);
AT(nr_version, 16, 4);
AT(nr_offset, 20, 4);
AT(nr_memsize, 24, 4);
AT(nr_tx_slots, 28, 4);
AT(nr_rx_slots, 32, 4);
AT(nr_tx_rings, 36, 2);
AT(nr_rx_rings, 38, 2);
AT(nr_ringid, 40, 2);
AT(nr_cmd, 42, 2);
AT(nr_arg1, 44, 2);
AT(nr_arg2, 46, 2);
AT(nr_arg3, 48, 4);
AT(nr_flags, 52, 4);
AT(spare2, 56, 4);
#undef STRUCT

#define STRUCT struct nm_ifreq
BYTES(272, 1);
AT(nifr_name, 0, 16);
AT(data, 16, 256);
#undef STRUCT

/* Versions. */
IS(NETMAP_API, 14ULL);
IS(NETMAP_MIN_API, 14ULL);
IS(NETMAP_MAX_API, 15ULL);

/* Slots, rings, ports. */
IS(NS_BUF_CHANGED, 0x1ULL);
IS(NS_REPORT, 0x2ULL);
IS(NS_FORWARD, 0x4ULL);
IS(NS_NO_LEARN, 0x8ULL);
IS(NS_INDIRECT, 0x10ULL);
IS(NS_MOREFRAG, 0x20ULL);
IS(NS_TXMON, 0x40ULL);
IS(NS_PORT_SHIFT, 0x8ULL);
IS(NS_PORT_MASK, 0xff00ULL);
IS(NETMAP_MAX_FRAGS, 64ULL);
IS(NR_TIMESTAMP, 2ULL);
IS(NR_FORWARD, 4ULL);
IS(NI_PRIV_MEM, 1ULL);

/* ioctl numbers. */
IS(NIOCCTRL, 0xc0586997ULL);
IS(NIOCTXSYNC, 0x6994ULL);
IS(NIOCRXSYNC, 0x6995ULL);
IS(NIOCGINFO, 0xc03c6991ULL);
IS(NIOCREGIF, 0xc03c6992ULL);
IS(NIOCCONFIG, 0xc1106996ULL);

/* Requests and options. */
IS(NETMAP_REQ_MAXSIZE, 0x1000ULL);
IS(NETMAP_REQ_IFNAMSIZ, 64ULL);
IS(NETMAP_POLLING_MODE_SINGLE_CPU, 1ULL);
IS(NETMAP_POLLING_MODE_MULTI_CPU, 2ULL);
IS(NM_OPT_SYNC_KLOOP_DIRECT_TX, 1ULL);
IS(NM_OPT_SYNC_KLOOP_DIRECT_RX, 2ULL);
IS(NETMAP_REQ_REGISTER, 1ULL);
IS(NETMAP_REQ_PORT_INFO_GET, 2ULL);
IS(NETMAP_REQ_VALE_ATTACH, 3ULL);
IS(NETMAP_REQ_VALE_DETACH, 4ULL);
IS(NETMAP_REQ_VALE_LIST, 5ULL);
IS(NETMAP_REQ_PORT_HDR_SET, 6ULL);
IS(NETMAP_REQ_PORT_HDR_GET, 7ULL);
IS(NETMAP_REQ_VALE_NEWIF, 8ULL);
IS(NETMAP_REQ_VALE_DELIF, 9ULL);
IS(NETMAP_REQ_VALE_POLLING_ENABLE, 10ULL);
IS(NETMAP_REQ_VALE_POLLING_DISABLE, 11ULL);
IS(NETMAP_REQ_POOLS_INFO_GET, 12ULL);
IS(NETMAP_REQ_SYNC_KLOOP_START, 13ULL);
IS(NETMAP_REQ_SYNC_KLOOP_STOP, 14ULL);
IS(NETMAP_REQ_CSB_ENABLE, 15ULL);
IS(NETMAP_REQ_OPT_EXTMEM, 1ULL);
IS(NETMAP_REQ_OPT_SYNC_KLOOP_EVENTFDS, 2ULL);
IS(NETMAP_REQ_OPT_CSB, 3ULL);
IS(NETMAP_REQ_OPT_SYNC_KLOOP_MODE, 4ULL);
IS(NETMAP_REQ_OPT_OFFSETS, 5ULL);
IS(NETMAP_REQ_OPT_MAX, 6ULL);

/* Older requests. */
IS(NETMAP_HW_RING, 0x4000ULL);
IS(NETMAP_SW_RING, 0x2000ULL);
IS(NETMAP_RING_MASK, 0xfffULL);
IS(NETMAP_NO_TX_POLL, 0x1000ULL);
IS(NETMAP_DO_RX_POLL, 0x8000ULL);
IS(NETMAP_BDG_ATTACH, 1ULL);
IS(NETMAP_BDG_DETACH, 2ULL);
IS(NETMAP_BDG_REGOPS, 3ULL);
IS(NETMAP_BDG_LIST, 4ULL);
IS(NETMAP_BDG_VNET_HDR, 5ULL);
IS(NETMAP_BDG_NEWIF, 6ULL);
IS(NETMAP_BDG_DELIF, 7ULL);
IS(NETMAP_PT_HOST_CREATE, 8ULL);
IS(NETMAP_PT_HOST_DELETE, 9ULL);
IS(NETMAP_BDG_POLLING_ON, 10ULL);
IS(NETMAP_BDG_POLLING_OFF, 11ULL);
IS(NETMAP_VNET_HDR_GET, 12ULL);
IS(NETMAP_BDG_HOST, 1ULL);
IS(NR_REG_MASK, 15ULL);

/* Registration. */
IS(NR_MONITOR_TX, 0x100ULL);
IS(NR_MONITOR_RX, 0x200ULL);
IS(NR_ZCOPY_MON, 0x400ULL);
IS(NR_EXCLUSIVE, 0x800ULL);
IS(NR_RX_RINGS_ONLY, 0x2000ULL);
IS(NR_TX_RINGS_ONLY, 0x4000ULL);
IS(NR_ACCEPT_VNET_HDR, 0x8000ULL);
IS(NR_DO_RX_POLL, 0x10000ULL);
IS(NR_NO_TX_POLL, 0x20000ULL);
IS(NR_REG_DEFAULT, 0ULL);
IS(NR_REG_ALL_NIC, 1ULL);
IS(NR_REG_SW, 2ULL);
IS(NR_REG_NIC_SW, 3ULL);
IS(NR_REG_ONE_NIC, 4ULL);
IS(NR_REG_PIPE_MASTER, 5ULL);
IS(NR_REG_PIPE_SLAVE, 6ULL);
IS(NR_REG_NULL, 7ULL);
IS(NR_REG_ONE_SW, 8ULL);

/* ptnet functions: identity and BARs. */
IS(PTNETMAP_PCI_VENDOR_ID, 0x1b36ULL);
IS(PTNETMAP_PCI_DEVICE_ID, 12ULL);
IS(PTNETMAP_PCI_NETIF_ID, 13ULL);
IS(PTNETMAP_IO_PCI_BAR, 0ULL);
IS(PTNETMAP_MEM_PCI_BAR, 1ULL);
IS(PTNETMAP_MSIX_PCI_BAR, 2ULL);

/* ptnet memory device: registers. */
IS(PTNET_MDEV_IO_MEMSIZE_LO, 0ULL);
IS(PTNET_MDEV_IO_MEMSIZE_HI, 4ULL);
IS(PTNET_MDEV_IO_MEMID, 8ULL);
IS(PTNET_MDEV_IO_IF_POOL_OFS, 64ULL);
IS(PTNET_MDEV_IO_IF_POOL_OBJNUM, 68ULL);
IS(PTNET_MDEV_IO_IF_POOL_OBJSZ, 72ULL);
IS(PTNET_MDEV_IO_RING_POOL_OFS, 76ULL);
IS(PTNET_MDEV_IO_RING_POOL_OBJNUM, 80ULL);
IS(PTNET_MDEV_IO_RING_POOL_OBJSZ, 84ULL);
IS(PTNET_MDEV_IO_BUF_POOL_OFS, 88ULL);
IS(PTNET_MDEV_IO_BUF_POOL_OBJNUM, 92ULL);
IS(PTNET_MDEV_IO_BUF_POOL_OBJSZ, 96ULL);
IS(PTNET_MDEV_IO_END, 100ULL);

/* ptnet network device: registers. */
IS(PTNETMAP_F_VNET_HDR, 1ULL);
IS(PTNET_IO_PTFEAT, 0ULL);
IS(PTNET_IO_PTCTL, 4ULL);
IS(PTNET_IO_MAC_LO, 8ULL);
IS(PTNET_IO_MAC_HI, 12ULL);
IS(PTNET_IO_CSBBAH, 16ULL);
IS(PTNET_IO_CSBBAL, 20ULL);
IS(PTNET_IO_NIFP_OFS, 24ULL);
IS(PTNET_IO_NUM_TX_RINGS, 28ULL);
IS(PTNET_IO_NUM_RX_RINGS, 32ULL);
IS(PTNET_IO_NUM_TX_SLOTS, 36ULL);
IS(PTNET_IO_NUM_RX_SLOTS, 40ULL);
IS(PTNET_IO_VNET_HDR_LEN, 44ULL);
IS(PTNET_IO_HOSTMEMID, 48ULL);
IS(PTNET_IO_CSB_GH_BAH, 52ULL);
IS(PTNET_IO_CSB_GH_BAL, 56ULL);
IS(PTNET_IO_CSB_HG_BAH, 60ULL);
IS(PTNET_IO_CSB_HG_BAL, 64ULL);
IS(PTNET_IO_END, 68ULL);
IS(PTNET_IO_KICK_BASE, 128ULL);
IS(PTNET_IO_MASK, 255ULL);
IS(PTNETMAP_PTCTL_CREATE, 1ULL);
IS(PTNETMAP_PTCTL_DELETE, 2ULL);

/* Ours, and part of the interface between netmapd and netmap.ko. */
IS(PTNETMAP_PCI_SUBSYS_VENDOR_ID, 0x1b36);
IS(PTNETMAP_PCI_SUBSYS_ID, 0x7074);
IS(PTNET_DOORBELL_BAR, 4);
IS(PTNET_DOORBELL_BAR_SIZE, 4096);
IS(PTNETMAP_F_RSS, 0x10000);
IS(PTNET_IO_RSS_INDEX, 68);
IS(PTNET_IO_RSS_DATA, 72);
IS(PTNET_IO_RSS_END, 76);
IS(PTNET_RSS_KEY, 0);
IS(PTNET_RSS_TABLE, 10);
IS(PTNET_RSS_WORDS, 42);
IS(PTNETMAP_PTCTL_RSS_ON, 0x10001);
IS(PTNETMAP_PTCTL_RSS_OFF, 0x10002);
/* The kick registers fill the rest of BAR0. */
IS(PTNET_IO_KICK_BASE + 4 * PTNET_MAX_RINGS, PTNET_IO_BAR_SIZE);

#undef BYTES
#undef AT
#undef ARRAY_AT
#undef IS

#endif /* ABI_LAYOUT_H */
