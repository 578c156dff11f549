/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * nic_proto.h - what netmapd (and netmapctl) and netmapd-nic say to each other: Unix socket, SOCK_SEQPACKET.
 *
 * A connection is the use of one interface, and ends with it: however the client ends, netmapd-nic puts everything
 * back. Each message is one struct below, of exactly that size; a number in it is checked by whoever receives it.
 * netmapd-nic speaks to its peer alone, and to its user (SO_PEERCRED).
 *
 *      client                                   netmapd-nic
 *        NIC_ASK                         --->     may this user have it? what is it?
 *                                        <---   NIC_KNOWN
 *        NIC_OPEN + the memory's memfd   --->     offloads off, sockets
 *                                        <---   NIC_DROPPED + a map, to be mapped for reading: struct nic_counters; not with
 *                                               NIC_PASS_SENT
 *                                        <---   NIC_OPENED
 *        NIC_BIND + a file of chunks     --->     posts them, program, bind(); a mode that isn't granted: the next one
 *                                        <---   NIC_BOUND + a socket per queue
 *        (maps the rings)
 *                                               or, before Linux 6.4, which maps no rings of a bound socket:
 *                                        <---   NIC_UNBOUND + a socket per queue
 *        (maps the rings)
 *        NIC_MAPPED                      --->     program, bind()
 *                                        <---   NIC_BOUND
 *                                               or, when the sockets are spoilt by what was tried:
 *                                        <---   NIC_DETACHED
 *        NIC_RELEASED                    --->     waits until the kernel has let go of each queue
 *                                        <---   NIC_OPENED, for fresh sockets
 *                                        <---   NIC_CHANGED, whenever the interface changes
 *        NIC_USE, again and again        --->     which rings are in use: program, twin (nic/twin.h)
 *                                        <---   NIC_USED + a descriptor per host ring, when there are host rings from now on
 *        NIC_CLOSE                       --->     the program is detached
 *                                        <---   NIC_DETACHED
 *        (unmaps the rings, closes)
 *        NIC_RELEASED                    --->     waits until the kernel has let go of each queue
 *                                        <---   NIC_GONE
 *
 *        NIC_CHECK                       --->     tries what the interface can do
 *                                        <---   NIC_REPORT
 *
 * The client gets no socket that is not bound: bind() needs no privilege, so it would be every interface's. Where the kernel
 * leaves no other way (NIC_UNBOUND) only those get one who may have every interface anyway. But a device wants
 * chunks to write to before its socket is bound: so the client names them in NIC_BIND, and netmapd-nic posts them.
 *
 * NIC_FAILED comes instead of any of netmapd-nic's messages; after it the client can only NIC_CLOSE.
 *
 * Thread safety: no code.
 */
#ifndef PROTO_NIC_PROTO_H
#define PROTO_NIC_PROTO_H

#include <stdint.h>

#define NIC_SOCKET_DEFAULT "/run/netmapd-nic/nic.sock"

enum {
	NIC_VERSION = 5,
	NIC_QUEUES_MAX = 64,
	NIC_ADDRESSES_MAX = 8,
	NIC_NAME_MAX = 16, /* IFNAMSIZ */
	NIC_TEXT_MAX = 256,
	NIC_FRAME_EXTRA = 18, /* Ethernet header and a VLAN tag, beyond the MTU */
	NIC_RING_MAX = 32768, /* entries */
	NIC_HEADROOM = 256,   /* bytes in front of a packet in its chunk: the kernel's */
	NIC_POSTED_HEAD = 64,
	NIC_BUSY_MS = 3000,  /* waiting for a queue that the kernel hasn't let go of yet */
	NIC_GONE_MS = 10000, /* the same, after NIC_RELEASED */
};

enum nic_message_type {
	NIC_ASK = 1,
	NIC_OPEN,
	NIC_BIND,
	NIC_CLOSE,
	NIC_RELEASED,
	NIC_CHECK,
	NIC_MAPPED,
	NIC_USE,
	NIC_KNOWN = 64,
	NIC_OPENED,
	NIC_BOUND,
	NIC_CHANGED,
	NIC_DETACHED,
	NIC_GONE,
	NIC_REPORT,
	NIC_FAILED,
	NIC_UNBOUND,
	NIC_DROPPED,
	NIC_USED,
};

/* Who moves packets between the device and the memory, best first. ANY: the best that the kernel grants. */
enum nic_mode {
	NIC_MODE_ANY,
	NIC_MODE_ZEROCOPY, /* the device, by DMA; program in the driver */
	NIC_MODE_NATIVE,   /* the kernel copies; program in the driver */
	NIC_MODE_GENERIC,  /* the kernel copies, from and to its own packets; any driver */
	NIC_MODES,
};

/* What is left to the host's stack, beside the addresses of struct nic_open: it receives and sends that as ever. */
enum nic_pass {
	NIC_PASS_ARP = 1,
	NIC_PASS_ND = 2,   /* IPv6 neighbour discovery (ICMPv6 133 to 137), MLD (130 to 132, 143) */
	NIC_PASS_LLDP = 4, /* ethertype 0x88cc */
	NIC_PASS_SENT = 8, /* everything that it sends, too */
	NIC_PASS_ALL = 15,
};

/* What a NIC is: what the kernel says, never what a client says. */
struct nic_facts {
	char ifname[NIC_NAME_MAX];
	uint32_t ifindex;
	char driver[32];
	uint8_t mac[6];
	uint8_t up, carrier;
	uint32_t mtu; /* bytes behind the Ethernet header */
	uint32_t queues,
		tx_queues; /* that receive, and send, now: a socket can be bound to those that do both */
	uint32_t queues_max;   /* 0: unknown, as the next four may be */
	uint32_t hw_rx, hw_tx; /* descriptors of the device's own rings */
	uint32_t hw_rx_max, hw_tx_max;
	uint32_t
		unfinished; /* bool: packets may come with an unfinished checksum (veth, virtio, TAP) */
};

struct nic_header {
	uint32_t version; /* NIC_VERSION */
	uint32_t type;
};

/* The first message, for an interface that is to be used. */
struct nic_ask {
	struct nic_header hdr;
	char ifname[NIC_NAME_MAX];
	uint32_t user; /* for whom; he needs the right as well as the peer does */
	uint32_t pad;
};

/* With one descriptor: the memory, a memfd sealed against shrinking. */
struct nic_open {
	struct nic_header hdr;
	uint32_t mode;        /* enum nic_mode: demanded, or ANY */
	uint32_t chunk;       /* bytes: 2048 or 4096 */
	uint64_t umem_offset; /* of the memory: a multiple of the page size */
	uint64_t umem_bytes;  /* a multiple of the chunk's */
	uint32_t fill, completion, rx,
		tx; /* entries of the rings: powers of two up to NIC_RING_MAX */
	uint32_t first_queue, num_queues; /* num_queues 0: all from the first one on */
	uint32_t sg;                      /* bool: packets over several chunks; copies only */
	uint32_t no_promisc;              /* bool: leave promiscuous mode alone; else it is on */
	uint32_t busy_poll_us, busy_poll_budget; /* 0: no busy polling */
	uint32_t pass;                           /* enum nic_pass */
	uint32_t num_ip4, num_ip6;               /* addresses that stay the stack's */
	uint32_t hardware;                       /* bool: as in struct nic_use, at first */
	uint8_t ip4[NIC_ADDRESSES_MAX][4];
	uint8_t ip6[NIC_ADDRESSES_MAX][16];
};

/* NIC_CLOSE, NIC_DETACHED, NIC_MAPPED; NIC_UNBOUND, with the sockets; NIC_DROPPED, with a map */
struct nic_plain {
	struct nic_header hdr;
};

/* What became of the host's frames, since NIC_OPEN. */
struct nic_counters {
	uint64_t dropped; /* nobody wanted them */
	uint64_t lost;    /* host rings were not read fast enough; up to a second old */
};

/* After NIC_DETACHED; or, when the netmapd-nic that had the interface has died, to another one after NIC_KNOWN. */
struct nic_released {
	struct nic_header hdr;
	uint32_t first_queue, num_queues;
};

/* NIC_KNOWN, NIC_CHANGED */
struct nic_told {
	struct nic_header hdr;
	struct nic_facts facts;
	uint32_t deferred; /* as in struct nic_bound, now; 0 before that */
};

/*
 * With a memfd: for each queue NIC_POSTED_HEAD bytes that mean nothing, then room for as many
 * numbers of 64 bits as its fill ring has entries, the first posted[i] of which are addresses of chunks.
 */
struct nic_bind {
	struct nic_header hdr;
	uint32_t posted[NIC_QUEUES_MAX];
};

/*
 * Who has what. Without hardware rings what comes from the wire is the host's stack's, and what that sends goes to the wire; with host
 * rings that goes to these, and what they are given the stack receives. One at a time: the answer comes before the next one.
 * Each user who is to have host rings is named once: when he may not have them all goes on as it was.
 */
struct nic_use {
	struct nic_header hdr;
	uint32_t hardware; /* bool: somebody has hardware rings */
	uint32_t
		host_rings; /* somebody has host rings: how many there are, up to NIC_QUEUES_MAX; else 0. It changes by way of 0 */
	uint32_t user; /* for whom host rings are; he needs the right as well as the peer does */
	uint32_t pad;
};

/*
 * With descriptors of a TAP, one per host ring, when there were none before: frames behind a struct virtio_net_hdr (10 bytes, all 0).
 * What is read the stack has sent; what is written it receives, as if from the interface's wire. They are the client's alone: the TAP
 * goes with them.
 */
struct nic_used {
	struct nic_header hdr;
	int32_t error; /* 0, or a negative errno: no host rings for this user; all the rest goes on */
	uint32_t
		twin; /* number of the interface, in netmapd-nic's network namespace; 0: there is none */
	char twin_name[NIC_NAME_MAX];
	char text[NIC_TEXT_MAX]; /* of the error */
};

/* For num_queues sockets, of the queues from first_queue on. */
struct nic_opened {
	struct nic_header hdr;
	struct nic_facts facts;
	uint32_t first_queue, num_queues;
};

/* With the sockets, unless they came with NIC_UNBOUND. */
struct nic_bound {
	struct nic_header hdr;
	struct nic_facts facts;
	uint32_t mode;          /* granted */
	uint32_t prog_id;       /* of the program */
	uint32_t deferred;      /* queues whose interrupts are put off while they are polled */
	char why[NIC_TEXT_MAX]; /* why not a better mode; "": there is none */
};

struct nic_gone {
	struct nic_header hdr;
	int32_t error; /* 0: the kernel touches no byte of the memory any more; -ETIMEDOUT: it may */
	uint32_t pad;
};

struct nic_failed {
	struct nic_header hdr;
	int32_t error; /* a negative errno */
	char text[NIC_TEXT_MAX];
};

struct nic_check {
	struct nic_header hdr;
	char ifname[NIC_NAME_MAX];
};

struct nic_report {
	struct nic_header hdr;
	struct nic_facts facts;
	uint32_t mtu_max_chunk;      /* largest MTU with a packet per chunk of 4096 bytes */
	uint32_t used_by;            /* id of another program on the interface; 0: none */
	uint32_t granted[NIC_MODES]; /* bool */
	uint32_t deferrable; /* bool: interrupts can be put off while a queue is polled busily */
	char said[NIC_MODES][NIC_TEXT_MAX]; /* why not */
	char offloads
		[NIC_TEXT_MAX];   /* those that are switched off while in use, "a, b"; "": none */
	char fixed[NIC_TEXT_MAX]; /* those that should be and can't */
};

union nic_message {
	struct nic_header hdr;
	struct nic_ask ask;
	struct nic_told told;
	struct nic_open open;
	struct nic_bind bind;
	struct nic_plain plain;
	struct nic_released released;
	struct nic_use use;
	struct nic_used used;
	struct nic_opened opened;
	struct nic_bound bound;
	struct nic_gone gone;
	struct nic_failed failed;
	struct nic_check check;
	struct nic_report report;
};

#endif
