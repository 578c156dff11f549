/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * net/netmap.h - the netmap application interface, version 14.
 *
 * What: the layout of everything an application, the netmap engine and a
 *	ptnet guest driver share: the objects in a memory region (netmap_if,
 *	rings, slots), the control requests with their options, and the CSB.
 * Why:	these layouts are an ABI. Programs and guest drivers that were built
 *	elsewhere rely on every size, offset and number; tests/unit/include/test_abi.c pins
 *	each of them. Nothing may change here; new things go into new options.
 * How:	user space includes <net/netmap_user.h> (which includes this file) or
 *	<libnetmap.h>; the kernel module and the core include this file.
 *	__KERNEL__ selects only where the basic types come from.
 *
 * Thread safety: a ring has one owner at a time on the application's side.
 *	Rings are independent of each other, so several threads may work on
 *	several rings of one port; no two threads may share one ring without a
 *	lock of their own. Control requests on one file are serialised by the
 *	engine.
 *
 * All integers are in the byte order of the machine. All sizes are bytes.
 */
#ifndef _NET_NETMAP_H_
#define _NET_NETMAP_H_

#ifdef __KERNEL__
#include <linux/types.h>
#include <linux/ioctl.h>

#else
#include <stdint.h>
#include <sys/types.h>
#include <sys/time.h>
#include <sys/ioctl.h>
#endif

/*
 * Times in shared memory have 64 bits on all machines: user space's struct timeval, where that has them.
 * The kernel has none; that of 32-bit programs has them with -D_FILE_OFFSET_BITS=64 -D_TIME_BITS=64.
 */
struct netmap_timeval {
	int64_t tv_sec;
	int64_t tv_usec;
};
#if !defined(__KERNEL__) && (__SIZEOF_LONG__ == 8 || defined(__USE_TIME_BITS64) || \
				    (defined(__TIMESIZE) && __TIMESIZE == 64))
#define NETMAP_TIMEVAL struct timeval
#else
#define NETMAP_TIMEVAL struct netmap_timeval
#endif

/* What processes of 32 and 64 bits share is laid out as for 64. */
#define NM_ALIGN_64 __attribute__((__aligned__(8)))

/* Version spoken, and the versions a request may carry. A reply carries NETMAP_API. */
#define NETMAP_API     14
#define NETMAP_MIN_API 14
#define NETMAP_MAX_API 15

/* Distance between parts of a ring that different threads write. */
#define NM_CACHE_ALIGN 128

/* Bytes of an interface name, terminator included, in netmap_if and in the older requests. */
#define NETMAP_IFNAMSIZ 16

#define NM_BDG_NAME "vale" /* names of switches begin with it */

/*
 * The region
 * ==========
 * One mapping holds three pools. A registration answers with the offset of
 * its netmap_if in the region (nr_offset); everything else is found from there:
 *
 *   region +--------------------+
 *          | netmap_if pool     |   netmap_if.ring_ofs[i]: bytes from the
 *          |   netmap_if ---------+   netmap_if itself to ring i
 *          +--------------------+ |
 *          | ring pool          | |
 *          |   netmap_ring <------+
 *          |     slot[num_slots]  --+  buffer k starts at
 *          +--------------------+   |   (char *)ring + ring->buf_ofs
 *          | buffer pool        |   |      + k * ring->nr_buf_size
 *          |   buffer k  <----------+
 *          +--------------------+
 *
 * Buffers 0 and 1 are reserved: no slot of an application refers to them.
 *
 * An application owns the buffers its slots (and the list of extra buffers)
 * refer to while it is registered. It may exchange buffer numbers between slots
 * and the extra list; it says so with NS_BUF_CHANGED.
 */

/*
 * One slot of a ring. While it lies in [head, tail) the application may write
 * all of it. Whoever receives a slot from the other side reads it once.
 */
struct netmap_slot {
	uint32_t buf_idx; /* buffer number */
	uint16_t len;     /* bytes of this fragment */
	uint16_t flags;   /* NS_* */
	uint64_t ptr;     /* offset in the buffer, or the address of an NS_INDIRECT buffer */
} NM_ALIGN_64;

/* Slot flags: what the application tells, unless said otherwise. */
#define NS_BUF_CHANGED 0x0001 /* buf_idx is not what it was at the last sync */
#define NS_REPORT      0x0002 /* tx: report this slot as done as soon as it is */
#define NS_FORWARD     0x0004 /* rx, with NR_FORWARD: pass on to the other stack */
#define NS_NO_LEARN    0x0008 /* tx to a switch: don't learn the source address */
#define NS_INDIRECT    0x0010 /* tx: the payload is at address ptr, not in the buffer */
#define NS_MOREFRAG    0x0020 /* both ways: the packet goes on in the next slot */
#define NS_TXMON       0x0040 /* monitor, rx: this packet was seen on a tx ring */

/*
 * High byte of the flags. rx: number of fragments. tx to a switch, in the first slot of a packet: 0, or
 * the number of the port (as VALE_LIST tells it) that the packet goes to whatever its address; where
 * no port has the number, it is dropped. Port 0 can't be named.
 */
#define NS_PORT_SHIFT 8
#define NS_PORT_MASK  (0xff << NS_PORT_SHIFT)
#define NS_RFRAGS(s)  ((uint8_t)((s)->flags >> NS_PORT_SHIFT))

/* Longest packet, in slots. A longer one is dropped and counted. */
#define NETMAP_MAX_FRAGS 64

/*
 * A ring: head, cur and tail split its slots. All arithmetic is modulo
 * num_slots; one slot always stays unused, so head == tail means empty.
 *
 *             head        cur          tail
 *   -----------+-----------+------------+------------
 *    netmap's  |  the application's     |  netmap's
 *
 *	tx: head   the next slot to send; the application moves it past filled slots
 *	    tail   the first slot that is not free; netmap moves it
 *	rx: head   the first packet received; the application moves it past read slots
 *	    tail   the first slot without a packet; netmap moves it
 *	both: cur  where to wake up: poll() returns when tail has moved past cur
 *
 * Required at every sync:  old head <= head <= cur <= tail  (modulo num_slots).
 * A sync that breaks this fails with EINVAL, head and cur are put back to what
 * netmap has in its private copy, and the refusal is counted.
 *
 * Fields marked R are only for reading by applications.
 */
struct netmap_ring {
	int64_t buf_ofs;      /* R: from this ring to buffer 0 */
	uint32_t num_slots;   /* R */
	uint32_t nr_buf_size; /* R: bytes */
	uint16_t ringid;      /* R: number in its direction */
	uint16_t dir;         /* R: 0 tx, 1 rx */

	uint32_t head;
	uint32_t cur;
	uint32_t tail; /* R */

	uint32_t flags; /* NR_TIMESTAMP, NR_FORWARD */
	NETMAP_TIMEVAL ts
		NM_ALIGN_64; /* R: wall-clock time of the last sync; rx, and tx with NR_TIMESTAMP */
	uint64_t offset_mask; /* R: bits of slot.ptr that are an offset; 0 without OFFSETS */
	uint64_t buf_align;   /* R: alignment of (buffer + offset) on tx; 0 for none */

	/* Reserved; not for applications. */
	uint8_t sem[128] __attribute__((__aligned__(NM_CACHE_ALIGN)));

	struct netmap_slot slot[];
} NM_ALIGN_64;

/* Ring flags, written by the application. */
#define NR_TIMESTAMP 0x0002 /* set ts at every sync; on rx rings it is by default */
#define NR_FORWARD   0x0004 /* rx: honour NS_FORWARD */

/*
 * A registered port as it lies in the region. ring_ofs has, in this order,
 * ni_tx_rings tx rings, ni_host_tx_rings host tx rings, ni_rx_rings rx rings,
 * ni_host_rx_rings host rx rings. An entry is the distance in bytes from this
 * structure; 0 says that this registration does not include the ring. Both host
 * counts are at least 1, also where a port has no host rings.
 *
 * All of it is for reading, but ni_bufs_head: the application keeps the head of
 * its list of extra buffers there (the first four bytes of each buffer are the
 * number of the next, 0 ends the list), and must put them back before it closes.
 */
struct netmap_if {
	char ni_name[NETMAP_IFNAMSIZ];
	uint32_t ni_version; /* NETMAP_API */
	uint32_t ni_flags;   /* NI_* */
	uint32_t ni_tx_rings;
	uint32_t ni_rx_rings;
	uint32_t ni_bufs_head;
	uint32_t ni_host_tx_rings;
	uint32_t ni_host_rx_rings;
	uint32_t ni_spare1[3];
	int64_t ring_ofs[];
} NM_ALIGN_64;

#define NI_PRIV_MEM 0x1 /* the port has a region of its own */

/*
 * Control requests
 * ================
 * ioctl(fd, NIOCCTRL, &header). The header names the request and the port;
 * nr_body and nr_options are addresses of the body and of the first option,
 * or 0. Header, body and options together are at most NETMAP_REQ_MAXSIZE bytes.
 */
#define NETMAP_REQ_MAXSIZE  4096
#define NETMAP_REQ_IFNAMSIZ 64

struct nmreq_header {
	uint16_t nr_version;  /* in: NETMAP_MIN_API..NETMAP_MAX_API, out: NETMAP_API */
	uint16_t nr_reqtype;  /* NETMAP_REQ_* */
	uint32_t nr_reserved; /* 0 */
	char nr_name[NETMAP_REQ_IFNAMSIZ];
	uint64_t nr_options; /* address of a struct nmreq_option, or 0 */
	uint64_t nr_body;    /* address of the structure that belongs to nr_reqtype, or 0 */
} NM_ALIGN_64;

enum {
	NETMAP_REQ_REGISTER = 1,         /* nmreq_register */
	NETMAP_REQ_PORT_INFO_GET,        /* nmreq_port_info_get */
	NETMAP_REQ_VALE_ATTACH,          /* nmreq_vale_attach */
	NETMAP_REQ_VALE_DETACH,          /* nmreq_vale_detach */
	NETMAP_REQ_VALE_LIST,            /* nmreq_vale_list */
	NETMAP_REQ_PORT_HDR_SET,         /* nmreq_port_hdr */
	NETMAP_REQ_PORT_HDR_GET,         /* nmreq_port_hdr */
	NETMAP_REQ_VALE_NEWIF,           /* nmreq_vale_newif */
	NETMAP_REQ_VALE_DELIF,           /* no body */
	NETMAP_REQ_VALE_POLLING_ENABLE,  /* nmreq_vale_polling */
	NETMAP_REQ_VALE_POLLING_DISABLE, /* nmreq_vale_polling */
	NETMAP_REQ_POOLS_INFO_GET,       /* nmreq_pools_info */
	NETMAP_REQ_SYNC_KLOOP_START,     /* nmreq_sync_kloop_start */
	NETMAP_REQ_SYNC_KLOOP_STOP,      /* no body */
	NETMAP_REQ_CSB_ENABLE,           /* no body; needs the option CSB */
};

/*
 * Options form a list. An unknown one fails the request with EOPNOTSUPP, a
 * repeated one with EINVAL. The result of each is written to its nro_status.
 */
struct nmreq_option {
	uint64_t nro_next;    /* address of the next option, 0 ends the list */
	uint32_t nro_reqtype; /* NETMAP_REQ_OPT_* */
	uint32_t nro_status;  /* out: 0 or a positive errno */
	uint64_t nro_size;    /* bytes, for options of variable size; else 0 */
} NM_ALIGN_64;

enum {
	NETMAP_REQ_OPT_EXTMEM = 1,          /* nmreq_opt_extmem, on REGISTER */
	NETMAP_REQ_OPT_SYNC_KLOOP_EVENTFDS, /* nmreq_opt_sync_kloop_eventfds, on KLOOP_START */
	NETMAP_REQ_OPT_CSB,                 /* nmreq_opt_csb, on REGISTER and CSB_ENABLE */
	NETMAP_REQ_OPT_SYNC_KLOOP_MODE,     /* nmreq_opt_sync_kloop_mode, on KLOOP_START */
	NETMAP_REQ_OPT_OFFSETS,             /* nmreq_opt_offsets, on REGISTER */
	NETMAP_REQ_OPT_MAX,
};

/*
 * REGISTER: bind the file to a port and choose its rings. The counts are
 * wishes on the way in (0: no wish) and facts on the way out.
 */
struct nmreq_register {
	uint64_t nr_offset;  /* out: of the netmap_if, in the region */
	uint64_t nr_memsize; /* out: bytes of the region */
	uint32_t nr_tx_slots;
	uint32_t nr_rx_slots;
	uint16_t nr_tx_rings;
	uint16_t nr_rx_rings;
	uint16_t nr_host_tx_rings;
	uint16_t nr_host_rx_rings;
	uint16_t nr_mem_id;     /* in: wanted region or 0; out: the region. 1: NICs and pipes */
	uint16_t nr_ringid;     /* with NR_REG_ONE_NIC and NR_REG_ONE_SW: which */
	uint32_t nr_mode;       /* NR_REG_* */
	uint32_t nr_extra_bufs; /* in: wanted, out: given; listed from ni_bufs_head */
	uint64_t nr_flags __attribute__((__aligned__(8))); /* NR_* below */
} NM_ALIGN_64;

/* nr_mode */
enum {
	NR_REG_DEFAULT = 0,     /* of the older interface: not accepted in a nmreq_register */
	NR_REG_ALL_NIC = 1,     /* all rings of the port */
	NR_REG_SW = 2,          /* all host rings */
	NR_REG_NIC_SW = 3,      /* both */
	NR_REG_ONE_NIC = 4,     /* one pair of rings */
	NR_REG_PIPE_MASTER = 5, /* older spelling of NAME{ringid */
	NR_REG_PIPE_SLAVE = 6,  /* older spelling of NAME}ringid */
	NR_REG_NULL = 7,        /* rings and buffers without traffic */
	NR_REG_ONE_SW = 8,      /* one pair of host rings */
};

/* nr_flags */
#define NR_MONITOR_TX      0x100 /* a copy of what passes the tx rings */
#define NR_MONITOR_RX      0x200 /* a copy of what passes the rx rings */
#define NR_ZCOPY_MON       0x400 /* with the two above: the packets themselves */
#define NR_EXCLUSIVE       0x800 /* no other registration of these rings */
#define NR_RX_RINGS_ONLY   0x2000
#define NR_TX_RINGS_ONLY   0x4000
#define NR_ACCEPT_VNET_HDR 0x8000  /* packets may begin with a virtio-net header */
#define NR_DO_RX_POLL      0x10000 /* poll() syncs rx rings always */
#define NR_NO_TX_POLL      0x20000 /* poll() syncs tx rings only for POLLOUT */

/* PORT_INFO_GET: facts of a port; the file stays unbound. All out. */
struct nmreq_port_info_get {
	uint64_t nr_memsize; /* bytes of the region */
	uint32_t nr_tx_slots;
	uint32_t nr_rx_slots;
	uint16_t nr_tx_rings;
	uint16_t nr_rx_rings;
	uint16_t nr_host_tx_rings;
	uint16_t nr_host_rx_rings;
	uint16_t nr_mem_id;
	uint16_t pad[3];
} NM_ALIGN_64;

/*
 * VALE_ATTACH: put a NIC or a persistent port on a switch, with its host rings
 * when reg.nr_mode is NR_REG_NIC_SW. nr_name is "valeID:NAME".
 */
struct nmreq_vale_attach {
	struct nmreq_register reg;
	uint32_t port_index; /* out */
	uint32_t pad1;
};

/* VALE_DETACH: take it off. */
struct nmreq_vale_detach {
	uint32_t port_index; /* out */
	uint32_t pad1;
};

/*
 * VALE_LIST: with a name in the header, find its switch and port index; with
 * none, the first port at or after (bridge, port) is named in the header.
 */
struct nmreq_vale_list {
	uint16_t nr_bridge_idx;
	uint16_t pad1;
	uint32_t nr_port_idx;
};

/* PORT_HDR_SET and PORT_HDR_GET: bytes of the virtio-net header: 0, 10 or 12. */
struct nmreq_port_hdr {
	uint32_t nr_hdr_len;
	uint32_t pad1;
};

/* VALE_NEWIF: make a persistent port, which outlives the process that made it. */
struct nmreq_vale_newif {
	uint32_t nr_tx_slots;
	uint32_t nr_rx_slots;
	uint16_t nr_tx_rings;
	uint16_t nr_rx_rings;
	uint16_t nr_mem_id;
	uint16_t pad1;
};

/* VALE_POLLING_ENABLE and _DISABLE: threads that poll the rings of an attached NIC. */
struct nmreq_vale_polling {
	uint32_t nr_mode; /* NETMAP_POLLING_MODE_* */
	uint32_t nr_first_cpu_id;
	uint32_t nr_num_polling_cpus;
	uint32_t pad1;
};

#define NETMAP_POLLING_MODE_SINGLE_CPU 1
#define NETMAP_POLLING_MODE_MULTI_CPU  2

/* POOLS_INFO_GET: where the pools of a region are. Offsets and sizes in bytes. */
struct nmreq_pools_info {
	uint64_t nr_memsize; /* bytes of the region */
	uint16_t nr_mem_id;  /* in: the region; out: the same, or that of the named port */
	uint16_t pad1[3];
	uint64_t nr_if_pool_offset;
	uint32_t nr_if_pool_objtotal;
	uint32_t nr_if_pool_objsize;
	uint64_t nr_ring_pool_offset;
	uint32_t nr_ring_pool_objtotal;
	uint32_t nr_ring_pool_objsize;
	uint64_t nr_buf_pool_offset;
	uint32_t nr_buf_pool_objtotal;
	uint32_t nr_buf_pool_objsize;
} NM_ALIGN_64;

/* SYNC_KLOOP_START: serve this file's rings from inside the call until stopped. */
struct nmreq_sync_kloop_start {
	uint32_t sleep_us; /* pause between rounds without event fds, 0..1000000 */
	uint32_t pad1;
};

/*
 * CSB: communication status block
 * ===============================
 * Two arrays, one entry per ring in each, tx rings first. The application
 * ("a": a program, or the driver in a guest) writes atok, the engine ("k")
 * writes ktoa; neither writes the other's, except that the engine fills in both
 * when service starts. In this mode head, cur and tail of the ring itself are the
 * application's own business; the engine doesn't look at them.
 *
 * Publishing. "|" is a barrier between two stores, or between two loads:
 *
 *	application:  store cur   |  store head		   (new slots before cur)
 *	engine:	      load head   |  load cur		   => cur is not older than head
 *	engine:	      store hwcur |  store hwtail	   (new slots before hwcur)
 *	application:  load hwtail |  load hwcur, slots	   => slots below hwtail are there
 *
 * Both pairs need a store barrier before *each* store of the writer: the slots
 * must be visible before the first index, the first index before the second.
 *
 * Sleeping. "||" is a full barrier, because a store must not pass a later load:
 *
 *	engine sleeps:	    store kern_need_kick = 1 || load head, go on if it moved
 *	application kicks:  store head || load kern_need_kick, kick if it is set
 *	application sleeps: store appl_need_kick = 1 || load hwtail, go on if it moved
 *	engine notifies:    store hwtail || load appl_need_kick, interrupt if it is set
 *
 * Of the two sides of a pair, at least one sees the other's store; no wake-up is
 * lost, at the price of a spare one. The engine clears kern_need_kick while it
 * polls; the application clears appl_need_kick when it enters a sync.
 *
 * The engine reads each field of atok once and uses only the copy: head and cur
 * must lie in [old head, hwtail] modulo the ring, sync_flags is masked.
 */
struct nm_csb_atok {
	uint32_t head;
	uint32_t cur;
	uint32_t appl_need_kick; /* not 0: the application wants an interrupt */
	uint32_t sync_flags;     /* flags of the sync, those of a sync by ioctl */
	uint32_t pad[12];
};

struct nm_csb_ktoa {
	uint32_t hwcur;
	uint32_t hwtail;
	uint32_t kern_need_kick; /* not 0: the engine wants a kick */
	uint32_t pad[13];
};

#ifndef __KERNEL__
/* Barriers by what they keep in order: loads before loads, stores before loads, stores before stores. */
static inline void nm_ldld_barrier(void)
{
	__atomic_thread_fence(__ATOMIC_ACQUIRE);
}

static inline void nm_stld_barrier(void)
{
	__atomic_thread_fence(__ATOMIC_SEQ_CST);
}

static inline void nm_stst_barrier(void)
{
	__atomic_thread_fence(__ATOMIC_RELEASE);
}

/* The application's half of "publishing": tells the engine cur and head, in this order. */
static inline void nm_sync_kloop_appl_write(struct nm_csb_atok *atok, uint32_t cur, uint32_t head)
{
	__atomic_store_n(&atok->cur, cur, __ATOMIC_RELEASE);
	__atomic_store_n(&atok->head, head, __ATOMIC_RELEASE);
}

/* And how far the engine is. */
static inline void nm_sync_kloop_appl_read(
	const struct nm_csb_ktoa *ktoa, uint32_t *hwtail, uint32_t *hwcur)
{
	*hwtail = __atomic_load_n(&ktoa->hwtail, __ATOMIC_ACQUIRE);
	*hwcur = __atomic_load_n(&ktoa->hwcur, __ATOMIC_ACQUIRE);
}
#endif

/*
 * Options
 * =======
 */

/* KLOOP_START: per ring, tx rings first, the file descriptors of its events. */
struct nmreq_opt_sync_kloop_eventfds {
	struct nmreq_option nro_opt; /* nro_size: bytes of this structure with its array */
	struct {
		int32_t ioeventfd; /* application to engine; < 0: sleep instead */
		int32_t irqfd;     /* engine to application; < 0: never notify */
	} eventfds[];
} NM_ALIGN_64;

/* KLOOP_START: work on a ring in the context of its notification. */
struct nmreq_opt_sync_kloop_mode {
	struct nmreq_option nro_opt;
	uint32_t mode; /* NM_OPT_SYNC_KLOOP_* */
} NM_ALIGN_64;

#define NM_OPT_SYNC_KLOOP_DIRECT_TX 0x1
#define NM_OPT_SYNC_KLOOP_DIRECT_RX 0x2

/* REGISTER: build the region on the caller's memory. */
struct nmreq_opt_extmem {
	struct nmreq_option nro_opt;
	uint64_t nro_usrptr;              /* address of the memory */
	struct nmreq_pools_info nro_info; /* in: wishes (nr_memsize is required), out: layout */
} NM_ALIGN_64;

/* REGISTER, CSB_ENABLE: addresses of the two arrays, aligned to an entry. */
struct nmreq_opt_csb {
	struct nmreq_option nro_opt;
	uint64_t csb_atok;
	uint64_t csb_ktoa;
} NM_ALIGN_64;

/* REGISTER: packets that don't begin at the beginning of their buffer. */
struct nmreq_opt_offsets {
	struct nmreq_option nro_opt;
	uint64_t nro_max_offset;     /* bytes; out: what was granted, at least what was asked */
	uint64_t nro_initial_offset; /* of all slots, bytes */
	uint32_t nro_offset_bits;    /* low bits of slot.ptr that are the offset; 0: all */
	uint32_t nro_tx_align;       /* (buffer + offset) is a multiple of this; 0: don't care */
	uint64_t nro_min_gap; /* bytes free between the end of rx data and the buffer's end */
} NM_ALIGN_64;

/*
 * The older requests: NIOCGINFO and NIOCREGIF
 * ===========================================
 * Kept for programs that use them. The region size and the offset have 32 bits.
 */
struct nmreq {
	char nr_name[NETMAP_IFNAMSIZ];
	uint32_t nr_version;
	uint32_t nr_offset;
	uint32_t nr_memsize;
	uint32_t nr_tx_slots;
	uint32_t nr_rx_slots;
	uint16_t nr_tx_rings;
	uint16_t nr_rx_rings;
	uint16_t nr_ringid; /* ring number and the bits below */
	uint16_t nr_cmd;    /* NETMAP_BDG_* and others, 0: register */
	uint16_t nr_arg1;   /* pipes to expect, or NETMAP_BDG_HOST */
	uint16_t nr_arg2;   /* region id */
	uint32_t nr_arg3;   /* extra buffers */
	uint32_t nr_flags;  /* NR_REG_* in the low bits, NR_* */
	uint32_t spare2[1];
};

/* nr_ringid */
#define NETMAP_HW_RING    0x4000 /* one pair of rings */
#define NETMAP_SW_RING    0x2000 /* host rings */
#define NETMAP_RING_MASK  0x0fff /* ring number */
#define NETMAP_NO_TX_POLL 0x1000
#define NETMAP_DO_RX_POLL 0x8000

/* nr_cmd */
#define NETMAP_BDG_ATTACH      1
#define NETMAP_BDG_DETACH      2
#define NETMAP_BDG_REGOPS      3 /* in the kernel only */
#define NETMAP_BDG_LIST        4
#define NETMAP_BDG_VNET_HDR    5 /* set; length in nr_arg1 */
#define NETMAP_BDG_NEWIF       6
#define NETMAP_BDG_DELIF       7
#define NETMAP_PT_HOST_CREATE  8 /* no longer served */
#define NETMAP_PT_HOST_DELETE  9 /* no longer served */
#define NETMAP_BDG_POLLING_ON  10
#define NETMAP_BDG_POLLING_OFF 11
#define NETMAP_VNET_HDR_GET    12

/* nr_arg1 of NETMAP_BDG_ATTACH */
#define NETMAP_BDG_HOST 1

/* nr_flags */
#define NR_REG_MASK 0xf

/* Argument of NIOCCONFIG. */
#define NM_IFRDATA_LEN 256
struct nm_ifreq {
	char nifr_name[NETMAP_IFNAMSIZ];
	char data[NM_IFRDATA_LEN];
};

/*
 * ioctl numbers
 * =============
 */
#define NIOCGINFO  _IOWR('i', 145, struct nmreq)
#define NIOCREGIF  _IOWR('i', 146, struct nmreq)
#define NIOCTXSYNC _IO('i', 148) /* sync the tx rings of this file */
#define NIOCRXSYNC _IO('i', 149) /* sync the rx rings of this file */
#define NIOCCONFIG _IOWR('i', 150, struct nm_ifreq)
#define NIOCCTRL   _IOWR('i', 151, struct nmreq_header)

#endif /* _NET_NETMAP_H_ */
