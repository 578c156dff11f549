/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * ptnet.h - the driver of passed-through ports.
 *
 * A port of the host is two PCI functions here (net/netmap_virt.h): the memory
 * function has the region in a BAR, the network function has the registers. This
 * driver makes of them a port of the core (kind "ptnet"), for netmap applications,
 * and a network device of the same name, for the system's stack:
 *
 *      ptnet_mem.c      memory function: the region, adopted by the core
 *      ptnet_map.c      its mapping, and whether that is cached
 *      ptnet_pci.c      network function: probe, remove, shutdown
 *      ptnet_pm.c       the same when the machine sleeps
 *      ptnet_device.c   its registers, CSB and interrupts
 *      ptnet_rings.c    its rings in the region
 *      ptnet_service.c  CREATE and DELETE, and whose rings they are just now
 *      ptnet_port.c     the port: the rings in the hands of an application
 *      ptnet_xdp.c      programs that see packets before the stack does; ptnet_xdp_buff.c: as what
 *      ptnet_bql.c      how much of the stack's lies in a ring
 *      ptnet_coalesce.c when the stack is to be interrupted
 *      ptnet_rss.c      which of its rings the stack receives what from
 *      ptnet_spread.c   which processor sends on which, and has whose interrupts
 *      ptnet_qstats.c   counters of queues, and whose NAPI is theirs, over netlink
 *      ptnet_netdev.c   the network device; ptnet_tx.c and ptnet_rx.c: the rings in
 *                       the hands of the stack; ptnet_ethtool.c: what it counts
 *
 * The rings have one user at a time (enum ptnet_state):
 *
 *      state      host serves   rings are used by      entered from     when
 *      idle       no            nobody                 probe            always
 *                                                      stack            the interface is set down
 *                                                      netmap           last client gone, it is down
 *      stack      yes           ptnet_tx, ptnet_rx     idle             the interface is set up
 *                                                      netmap           last client gone, it is up
 *      netmap     yes           nm_ring_sync           idle, stack      the first client is bound
 *
 * In state netmap the interface may be up, too: it keeps its carrier, and what the
 * stack sends goes into the host rx ring (hostring.h), or is dropped and counted when
 * nobody has registered that. Host rings need memory of the guest's part of the region
 * (net/netmap_virt.h); where there is none the port has no host rings.
 *
 * Packets of the stack carry a virtio-net header if the host can do with one, so that
 * checksums and segmentation are left to it; applications have a header only when they
 * ask for one. So the service is stopped and started when the rings go from one to the
 * other, and packets that have arrived before are dropped. Ring positions live in struct nm_csb_appl and go
 * from one user to the next; packets that arrived while nobody listened (idle) are
 * dropped when the first user comes, as those at a real interface that is down.
 *
 * Everything in the region can be written by applications here and, as everything in
 * the host-to-guest CSB, by the host: it is loaded once and checked.
 *
 * Lifetime: struct ptnet is counted: one reference for the PCI function, one for the
 * port, which may outlive it (an application still has it open). What belongs to the
 * device, io to netdev, is gone when `gone` is set.
 *
 * Thread safety: see each field; order of the locks in kmod.h.
 */
#ifndef LINUX_PTNET_H
#define LINUX_PTNET_H

#include "csb.h"
#include "frame.h"
#include "port.h"
#include "rss.h"

#include <linux/hrtimer.h>
#include <linux/interrupt.h>
#include <linux/kref.h>
#include <linux/list.h>
#include <linux/mutex.h>
#include <linux/netdevice.h>
#include <linux/pci.h>
#include <linux/u64_stats_sync.h>
#include <net/netmap_virt.h>
#include <net/xdp.h>

#define PTNET_DRIVER_NAME "ptnetmap-guest-drivers"

struct nmk_bar;
struct ethtool_rxfh_param;
struct ptnet;

/* A memory function: probed before the network functions of its region. */
struct ptnet_mem {
	struct list_head link;    /* under ptnet_probe_lock */
	struct list_head devices; /* network functions in use: ptnet.mem_link; the same lock */
	struct pci_dev *pdev;
	void __iomem *io;
	void *base;         /* of the region */
	bool vmapped;       /* by page numbers: ptnet_map.c */
	bool uncached;      /* the mapping at base */
	bool mtrr_uncached; /* so the MTRRs, or as far as is known, would have it */
	uint64_t size;
	uint32_t id; /* HOSTMEMID of its network functions */
	struct nm_region *region;
	struct nmk_bar *bar;
	struct nm_run part[NM_POOLS]; /* of the guest; counts 0: nothing */
	struct list_head hw_list;     /* under core->lock */
};

/*
 * The buffers of a passed-through port: as many as it has slots, with an owner number of their own
 * in the map of the region. In the beginning they are those that the host has put into the slots.
 * Applications here exchange them for buffers of pipes, monitors and extra lists; when one of those
 * goes, nm_bufown_reconcile() makes up the account: so they can become buffers of the guest's part,
 * and the host's belong to a pipe, or are free.
 *
 * This lives as long as the memory function, for the network function can go and come; at the end
 * the slots show buffers of the host's again. Under core->lock.
 *
 * Only in a region of which the guest has a part. In others the host may exchange the buffers, and
 * nobody here knows which is whose, or has to: nothing is allocated there, and the host repairs
 * slots when it begins to serve the rings.
 */
struct ptnet_hw_rings {
	struct list_head link;
	uint64_t nifp_offset; /* tells the port */
	uint32_t owner;
	uint32_t num_rings;
	struct {
		struct netmap_slot *slots;
		uint32_t num_slots;
	} ring[]; /* as ptnet.queues */
};

/* Why the driver drops a packet: as anybody (enum nm_drop), or for one of these. */
enum ptnet_drop {
	PTNET_DROP_NETMAP = NM_DROPS, /* tx: an application has the rings, and no host rings */
	PTNET_DROP_DOWN, /* rx: came while the interface was down, and nobody had it open */
	PTNET_DROPS,
	PTNET_XDP_DONE = PTNET_DROPS /* not a drop: a program is done with the packet */
};

struct ptnet_stats {
	struct u64_stats_sync sync;
	u64_stats_t packets, bytes, drops[PTNET_DROPS];
	u64_stats_t kicks;        /* doorbells rung */
	u64_stats_t stops, wakes; /* tx: of the stack's queue, for want of slots */
	u64_stats_t gso_packets;  /* tx: of these, left to the host to cut into segments */
	u64_stats_t gso_bytes;
	u64_stats_t xdp_drops, xdp_tx, xdp_redirects; /* rx: what programs have done */
};

/* Between two polls of a rx ring: ptnet_coalesce.h. */
struct ptnet_pause {
	struct hrtimer timer;
	uint64_t since_ns; /* packets are counted since then */
	uint32_t packets;
	uint32_t usecs; /* chosen by the driver */
	bool some;      /* packets were found since the ring was last empty */
};

/* One ring. The indices are those of csb: see core/csb.h. */
struct ptnet_queue {
	/* Constant after probe. */
	struct ptnet *ptn;
	uint16_t id; /* within its direction */
	uint8_t dir; /* enum nm_dir */
	bool irq_requested;
	int irq;
	uint32_t num_slots;
	uint32_t limit;             /* slots that the stack uses; also changed while it does */
	struct netmap_ring *shared; /* in the region */
	struct netmap_slot *slots;
	void __iomem *kick;
	char irq_name[IFNAMSIZ + 8];

	/* State netmap: whom an interrupt wakes; else NULL. Release, acquire. */
	struct nm_ring *nmring;

	/* Whoever uses the ring: the syncing thread in state netmap; in state stack the holder of
	 * the tx lock, or the NAPI poll. ptnet.lock is held for the change. */
	struct nm_csb_appl csb;
	uint32_t next;     /* stack: as csb.head, but not all of it is published yet */
	uint32_t dropping; /* stack, rx: slots.h */
	struct {
		uint32_t *bytes, done;
	} bql;                    /* stack, tx: ptnet_bql.h */
	struct ptnet_pause pause; /* stack, rx: ptnet_coalesce.h */

	struct napi_struct napi;
	struct nmk_skb_pool *pool; /* rx: for packets of the stack (skb_ring.h) */
	struct {
		struct xdp_rxq_info rxq;
		struct page_pool *pool;
		struct ptnet_queue *tx; /* that has sent in this poll; NULL: none has */
		bool redirected;        /* in this poll */
	} xdp;                          /* rx, while there is a program: ptnet_xdp.h */
	struct ptnet_stats stats; /* writer: the stack's user of the ring, and service start */
	unsigned long interrupts; /* written by the handler only */
} ____cacheline_aligned;

/* Who uses the rings; see above. */
enum ptnet_state { PTNET_IDLE, PTNET_STACK, PTNET_NETMAP };

struct ptnet {
	struct kref kref;

	/* Constant after probe, until `gone`. */
	struct pci_dev *pdev;
	struct ptnet_mem *mem;
	struct list_head mem_link; /* under ptnet_probe_lock */
	void __iomem *io;
	void __iomem *doorbell;   /* NULL: kicks go to io */
	struct nm_csb_atok *atok; /* one page each, one entry per ring, tx rings first */
	struct nm_csb_ktoa *ktoa;
	dma_addr_t atok_dma, ktoa_dma;
	struct net_device *netdev;
	uint32_t num_rings[NM_DIRS], num_slots[NM_DIRS];
	uint32_t buf_size; /* bytes */
	uint64_t nifp_offset;
	struct netmap_if *nifp;     /* there, in the region */
	uint32_t nifp_host_tx;      /* entries for host tx rings in its ring_ofs[] */
	struct ptnet_hw_rings *hw;  /* the buffers of its rings; NULL: the host knows */
	struct ptnet_queue *queues; /* tx rings, then rx rings */
	uint32_t features;          /* PTNETMAP_F_*, as granted */
	uint32_t stack_hdr_len;     /* virtio-net header in state stack, bytes */
	bool always_hdr;            /* the host gives no packet without one */
	uint32_t tx_slots_max;      /* that a packet of the stack may need */
	bool xdp;                   /* a program is coming, there, or going; under RTNL */
	struct bpf_prog *xdp_prog;  /* changed under RTNL */
	struct nm_rss_config rss;   /* as set; written under RTNL and ptn->lock */
	uint32_t rx_usecs;          /* coalescing: as set, written under RTNL */
	bool rx_adaptive;           /* or chosen by the driver */
	uint32_t speed;             /* Mbit/s, and duplex: what the user likes to see; under RTNL */
	uint8_t duplex;

	struct nm_port *port; /* under core->lock; NULL before and after */

	struct mutex lock;      /* for the rest, and for changes of state */
	enum ptnet_state state; /* also read by the transmit path, under its tx lock */
	bool up;                /* the interface: in state stack, maybe in state netmap */
	struct nm_port *host;   /* state netmap: where the stack's packets go; read as `state` */
	bool gone;              /* the device is no longer ours: nothing starts again */
	bool away;   /* it sleeps, or is reset: nothing is told to it, the stack has no rings */
	bool asleep; /* the machine is: syncs do nothing. Also read under a ring's `sync` */
	uint32_t hdr_len; /* virtio-net header in use, bytes */

	/* Of whoever syncs the host rx ring: on their way from there to the host. */
	struct sk_buff_head forwarded;
};

/* Held while functions come and go. */
extern struct mutex ptnet_probe_lock;

static inline uint32_t ptnet_num_queues(const struct ptnet *ptn)
{
	return ptn->num_rings[NM_TX] + ptn->num_rings[NM_RX];
}

static inline struct ptnet_queue *ptnet_queue(const struct ptnet *ptn, enum nm_dir dir, uint32_t i)
{
	return &ptn->queues[dir == NM_TX ? i : ptn->num_rings[NM_TX] + i];
}

/* ---- ptnet_mem.c: all under ptnet_probe_lock ------------------------------------------- */

extern struct pci_driver ptnet_mem_driver;
struct ptnet_mem *ptnet_mem_find(uint32_t id);
/* Is the region still laid out as it was when it was found? */
bool ptnet_mem_same(const struct ptnet_mem *mem);

/* ---- ptnet_map.c ----------------------------------------------------------------------- */

/* Maps mem->size bytes of the BAR at mem->base, and says so when that can't be cached. 0 or -ENOMEM. */
int ptnet_map_region(struct ptnet_mem *mem);
void ptnet_unmap_region(struct ptnet_mem *mem); /* also one that was not mapped */

/* ---- ptnet_pci.c ----------------------------------------------------------------------- */

extern struct pci_driver ptnet_net_driver;
/* Lets go of the device; what applications still have open is dead. ptnet_probe_lock held. */
void ptnet_detach(struct ptnet *ptn);
void ptnet_put(struct ptnet *ptn);
/* A memory function is there: network functions that went with one are probed again, soon, by a
 * thread of the system. ptnet_probe_lock held. */
void ptnet_adopt_orphans(void);

/* ---- ptnet_pm.c ------------------------------------------------------------------------- */

extern const struct dev_pm_ops ptnet_pm_ops;
extern const struct pci_error_handlers ptnet_error_handlers;

/* ---- ptnet_device.c: under ptnet_probe_lock ---------------------------------------------- */

/* Everything that must be there before the interface and the port: 0 or a negative errno.
 * In both cases ptnet_device_release() must follow at the end. */
int ptnet_device_probe(struct ptnet *ptn);
/* The interface is not registered (any more). */
void ptnet_device_release(struct ptnet *ptn);
/* Tells the device, which may have been reset, what ptnet_device_probe() told it. ptn->lock held. */
void ptnet_device_introduce(struct ptnet *ptn);
/* The host must not touch the CSB from here on. core->lock held. */
void ptnet_device_forget_csb(const struct ptnet *ptn);
/* Tells the device what was granted; PTNETMAP_F_STACK only while the stack has the rings: an application that asks for a
 * header has the packets of others as applications know them. Nothing when it is gone. ptn->lock held, or probing. */
void ptnet_write_features(const struct ptnet *ptn, bool stack);
/* Writes the wanted header length to the device and takes the one it grants. ptn->lock held. */
void ptnet_negotiate_hdr_len(struct ptnet *ptn, uint32_t bytes);

/* ---- ptnet_rings.c ----------------------------------------------------------------------- */

/* Probe: follows the netmap_if. -EINVAL: what it says does not lie in the region. */
int ptnet_rings_find(struct ptnet *ptn); /* takes core->lock */
/* The two that follow: core->lock and ptn->lock held, and nobody uses the rings here. Repair: the
 * host doesn't serve them, either. */
/* Writes all that is constant in netmap_if and rings, for an application. */
void ptnet_rings_describe(struct ptnet *ptn, const char *name);
/* Slots without a buffer of the port's own get one. */
void ptnet_rings_repair(struct ptnet *ptn);
/* Do the registers, and the slots as the host has filled them, still say what they said to ptnet_rings_find()? The host doesn't serve.
 * Takes core->lock. */
bool ptnet_rings_same(const struct ptnet *ptn);
/* Number of the port's buffers in the ownership map; 0: it doesn't know them. */
uint32_t ptnet_rings_owner(const struct ptnet *ptn);
/* The rings in the region show buffers of the host's again. Nobody uses the region any more. core->lock
 * held. ptnet_hw_rings_free(): and forgets about them. */
void ptnet_hw_rings_restore(struct ptnet_mem *mem);
void ptnet_hw_rings_free(struct ptnet_mem *mem);

/* ---- ptnet_service.c: all under ptn->lock ---------------------------------------------- */

/* The host serves the rings: 0, -ENODEV when the device is gone, or what the host answered. Packets
 * that are there are dropped. */
int ptnet_service_start(struct ptnet *ptn);
/* It does not any more; nobody may use the rings here. */
void ptnet_service_stop(struct ptnet *ptn);
/* Virtio-net header from now on. The host doesn't serve. -EOPNOTSUPP: it chose otherwise. */
int ptnet_service_hdr_len(struct ptnet *ptn, uint32_t bytes);
/* While the function is away all three only take note: begin_anew() in ptnet_pm.c tells it. */

/* Stops it whoever uses it; nothing starts it again. */
void ptnet_service_end(struct ptnet *ptn);

/* A command PTNETMAP_PTCTL_*: 0, a negative errno of the host's, or -EIO: the device is no more. */
int ptnet_command(struct ptnet *ptn, uint32_t cmd);

/* The rings go to the stack, and away from it. The interface is up. */
void ptnet_stack_on(struct ptnet *ptn);
void ptnet_stack_off(struct ptnet *ptn);

/* Rings the doorbell. The holder of the ring. */
static inline void ptnet_kick(struct ptnet_queue *q)
{
	iowrite32(0, q->kick);
}

/* ---- ptnet_port.c: all under core->lock ------------------------------------------------- */

int ptnet_port_add(struct ptnet *ptn);
/* No sync is under way, and none will begin, when it returns. */
void ptnet_port_remove(struct ptnet *ptn);
/* Syncs of its NIC rings do nothing from here on, and none is under way; and the end of that: the rings
 * are as the host has them, and who waits for one looks. */
void ptnet_port_sleep(struct ptnet *ptn);
void ptnet_port_wake(struct ptnet *ptn);
/* The same as ptnet_port_remove() for all ports that lie in a region (pipes, monitors), and nobody comes in any more: it goes. */
void ptnet_port_end_region(struct nm_region *region);

/* ---- ptnet_rss.c ------------------------------------------------------------------------ */

void ptnet_rss_init(struct ptnet *ptn); /* probe: rings are known */
/* The host chooses the rings of packets as ptn->rss says, and no more. ptn->lock held. On a port whose host can't: nothing. */
int ptnet_rss_on(struct ptnet *ptn);
void ptnet_rss_off(struct ptnet *ptn);
/* Packets come to the first so many rings, unless the user has a table of his own. RTNL. */
int ptnet_rss_set_rings(struct ptnet *ptn, uint32_t rings);
/* For ethtool, under RTNL. */
uint32_t ptnet_rss_key_size(struct net_device *netdev);
uint32_t ptnet_rss_table_size(struct net_device *netdev);
/* RXH_…, of packets of that kind (TCP_V4_FLOW …). */
int ptnet_rss_fields(struct net_device *netdev, uint32_t flow_type, uint32_t *fields);
int ptnet_rss_get(struct net_device *netdev, struct ethtool_rxfh_param *rxfh);
int ptnet_rss_set(
	struct net_device *netdev, struct ethtool_rxfh_param *rxfh, struct netlink_ext_ack *extack);

/* ---- ptnet_spread.c ----------------------------------------------------------------------- */

/* Probe: interrupts are requested. The hints are to be taken back before they are freed. */
void ptnet_spread_interrupts(struct ptnet *ptn);
/* So many tx rings are in use. RTNL; the interface is registered. */
void ptnet_spread_senders(struct ptnet *ptn, uint32_t rings);

/* ---- ptnet_qstats.c ---------------------------------------------------------------------- */

/* A consistent copy of what a ring has counted for the stack. */
struct ptnet_sums {
	uint64_t packets, bytes, drops, no_memory, stops, wakes, gso_packets, gso_bytes;
};
struct ptnet_sums ptnet_queue_sums(const struct ptnet_queue *q);
/* The interface is not registered yet; interrupts are requested. */
void ptnet_qstats_set(struct ptnet *ptn);

/* ---- ptnet_netdev.c, ptnet_tx.c, ptnet_rx.c, ptnet_ethtool.c ---------------------------- */

struct ptnet_netdev_priv {
	struct ptnet *ptn;
};

/* Not registered yet; the rings' NAPIs are its. NULL: no memory. */
struct net_device *ptnet_netdev_alloc(struct ptnet *ptn, const uint8_t mac[6]);
/* MTU and offloads: what buffers, rings and header length allow. -EINVAL: too small for packets. */
int ptnet_netdev_set_limits(struct ptnet *ptn);
bool ptnet_is_ours(const struct net_device *netdev);
/* NULL: it comes or goes. core->lock. */
struct nm_port *ptnet_port_of(const struct net_device *netdev);
int ptnet_notifier_register(void);
void ptnet_notifier_unregister(void);
void ptnet_tx_timeout(struct net_device *netdev, unsigned int index);
/* A packet of so many bytes in pieces, without anything left to be done, from elsewhere, under the lock of the queue; the rings are
 * the stack's. Not counted when it is dropped; RX_FULL: no room now. And what was put there by it is the host's. */
enum nm_drop ptnet_tx_frame(struct ptnet_queue *q, struct netdev_queue *txq,
	const struct nm_frag *pieces, uint32_t bytes);
void ptnet_tx_publish(struct ptnet_queue *q, struct netdev_queue *txq);
netdev_tx_t ptnet_start_xmit(struct sk_buff *skb, struct net_device *netdev);
int ptnet_tx_poll(struct napi_struct *napi, int budget);
int ptnet_rx_poll(struct napi_struct *napi, int budget);
extern const struct ethtool_ops ptnet_ethtool_ops;

static inline struct ptnet *ptnet_of(const struct net_device *netdev)
{
	return ((const struct ptnet_netdev_priv *)netdev_priv(netdev))->ptn;
}

/* Slots of a ring that the stack leaves alone, since it wants a shorter one (ethtool -G). */
static inline uint32_t ptnet_spare_slots(const struct ptnet_queue *q)
{
	return q->num_slots - READ_ONCE(q->limit);
}

/* Virtio-net header that the stack wants: programs see packets without. */
static inline uint32_t ptnet_stack_hdr_len(const struct ptnet *ptn)
{
	return ptn->xdp_prog ? 0 : ptn->stack_hdr_len;
}

/* What one slot of a packet can hold. */
static inline uint32_t ptnet_slot_bytes(const struct ptnet *ptn)
{
	return min_t(uint32_t, ptn->buf_size, U16_MAX);
}

static inline void ptnet_count_drop(struct ptnet_queue *q, uint32_t cause)
{
	u64_stats_update_begin(&q->stats.sync);
	u64_stats_inc(&q->stats.drops[cause]);
	u64_stats_update_end(&q->stats.sync);
}

/* A kick on behalf of the stack. */
static inline void ptnet_stack_kick(struct ptnet_queue *q)
{
	ptnet_kick(q);
	u64_stats_update_begin(&q->stats.sync);
	u64_stats_inc(&q->stats.kicks);
	u64_stats_update_end(&q->stats.sync);
}

static inline void ptnet_count_event(struct ptnet_queue *q, u64_stats_t *counter)
{
	u64_stats_update_begin(&q->stats.sync);
	u64_stats_inc(counter);
	u64_stats_update_end(&q->stats.sync);
}

static inline void ptnet_count_packet(struct ptnet_queue *q, uint32_t bytes)
{
	u64_stats_update_begin(&q->stats.sync);
	u64_stats_inc(&q->stats.packets);
	u64_stats_add(&q->stats.bytes, bytes);
	u64_stats_update_end(&q->stats.sync);
}

#endif
