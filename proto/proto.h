/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * proto.h - what netmapd and its clients say to each other on the control socket.
 *
 * The socket is AF_UNIX, SOCK_SEQPACKET: one message is one packet, at most
 * NMD_MSG_MAX bytes. The client sends a request and waits for exactly one reply
 * of the same type; there is nothing unsolicited. Numbers are in host order,
 * for both ends are on one machine. Every message starts with struct nmd_hdr;
 * a reply also carries a text, empty when status is 0.
 *
 *      client                                netmapd
 *        NMD_HELLO                ->
 *                                 <-   nmd_hello: version, pid
 *        NMD_NMREQ  REGISTER      ->
 *                                 <-   same request, filled in; nmd_attach; descriptors
 *        ... rings are served through the CSB, no messages ...
 *        close()                  ->   port released
 *
 * What a connection owns ends with the connection: a registered port, or a
 * virtual machine with its ports and its vfio-user sockets. qemu-ptnet keeps
 * its connection open across exec, so the ports live as long as QEMU.
 *
 * A connection is in one of three states:
 *   fresh   NMD_NMREQ (any), NMD_VM_CREATE
 *   bound   NMD_NMREQ (all but REGISTER)                     (after REGISTER)
 *   vm      NMD_VM_ADD_PORT                                  (after NMD_VM_CREATE)
 * and in each of them NMD_HELLO, NMD_STATUS, NMD_VALE_MACS, NMD_VALE_FLUSH, NMD_EVENTS, NMD_RENAME, NMD_LIMIT, NMD_SET and NMD_FULL_WAIT are
 * possible.
 * Anything else is answered with -EBUSY or -EINVAL and changes nothing.
 *
 * Persistent ports (VALE_NEWIF) and devices on switches (VALE_ATTACH) belong to nobody: they stay
 * until VALE_DELIF and VALE_DETACH, or netmapd's end.
 *
 * Where the socket is (nmd_connect() of proto_client.h looks in this order):
 *   $NETMAPD_SOCKET, if set, and nothing else; else
 *   $XDG_RUNTIME_DIR/netmapd/socket, if the variable is set and the user is not root; else
 *   /run/netmapd/socket.
 *
 * Thread safety: formats only.
 */
#ifndef PROTO_PROTO_H
#define PROTO_PROTO_H

#include <stdint.h>

enum {
	NMD_MAGIC = 0x746e7470, /* "ptnt" */
	NMD_VERSION = 1,
	NMD_MSG_MAX = 16384, /* bytes of one message, either way */
	NMD_TEXT_MAX = 256,  /* bytes of an error text, with its final 0 */
	NMD_NAME_MAX = 64,   /* bytes of a port name, with its final 0 */
	NMD_SET_MAX = 400,   /* bytes of a line of NMD_SET */
	NMD_SPEC_MAX = 256,  /* bytes of a port as users write it, suffixes and options included */
	NMD_PATH_MAX = 108,  /* bytes of a socket path (sockaddr_un) */
	NMD_RINGS_MAX = 256, /* of one registration: 64 and as many host rings, each way */
	NMD_KICKS_MAX = 128, /* of one registration; one message carries at most 253 descriptors */
	NMD_FDS_MAX = 4 + NMD_KICKS_MAX, /* descriptors of one reply */
	NMD_EXIT_ALREADY = 3, /* exit status of a netmapd that finds another one at its socket */
};

/* Bytes of a memory function's BAR1. One of 4 GiB has no room below 4 GiB: see ptnet_mem.h. */
#define NMD_BAR_SMALLEST (1ULL << 20)
#define NMD_BAR_DEFAULT  (1ULL << 32)
#define NMD_BAR_LARGEST  (1ULL << 40)

#define NMD_SYSTEM_SOCKET "/run/netmapd/socket"
#define NMD_USER_SOCKET   "netmapd/socket" /* below $XDG_RUNTIME_DIR */

enum nmd_type {
	NMD_HELLO = 1,
	NMD_NMREQ = 2,
	NMD_VM_CREATE = 3,
	NMD_VM_ADD_PORT = 4,
	NMD_STATUS = 5,
	NMD_VALE_MACS = 6,
	NMD_VALE_FLUSH = 7,
	NMD_EVENTS = 8,
	NMD_RENAME = 9,
	NMD_LIMIT = 10,
	NMD_SET = 11,
	NMD_FULL_WAIT = 12,
};

/* First in each request. */
struct nmd_hdr {
	uint32_t magic;   /* NMD_MAGIC */
	uint16_t version; /* NMD_VERSION */
	uint16_t type;    /* enum nmd_type */
	uint32_t size;    /* bytes of the message, this header included */
	int32_t status;   /* 0 in requests; in replies 0 or a negative errno */
};

/*
 * First in each reply. With status < 0 what lies behind it says nothing: it is as long as in a
 * reply without an error and 0, or it is not there, when the message as a whole was refused
 * (unknown, or of another version). NMD_NMREQ is different: the updated request follows all the
 * same (option statuses), unless the message was refused.
 */
struct nmd_reply {
	struct nmd_hdr hdr;
	char text[NMD_TEXT_MAX]; /* why status is not 0; else empty */
};

/* NMD_HELLO: the request is the bare header. */
struct nmd_hello {
	struct nmd_reply reply;
	uint32_t pid; /* of netmapd */
	uint32_t spare;
	char program[32]; /* "netmapd 0.1.0" */
};

/*
 * NMD_NMREQ: a control request of the netmap API, flattened. Behind the header
 * comes the payload: struct nmreq_header, the body, the options, in any order,
 * each on an 8-byte boundary. What are pointers in the ioctl (nr_body,
 * nr_options, nro_next) are byte offsets from the start of the payload here;
 * 0 is none. nr_body, if the request has one, must lie behind the nmreq_header. The payload is at most
 * NETMAP_REQ_MAXSIZE bytes.
 *
 * A REGISTER with option EXTMEM comes with one descriptor, the memory that its region is made on: a
 * memfd, open for reading and writing and sealed against shrinking (F_SEAL_SHRINK), whose first
 * nro_info.nr_memsize bytes, a multiple of 4096, become the region. nro_usrptr says nothing here.
 * Descriptors that come with anything else are closed.
 *
 * The reply is struct nmd_nmreq_reply, then the payload as updated. If the
 * request was REGISTER and status is 0, then `attach` is valid and nfds
 * descriptors come along:
 *   [0]           the region: memfd, sealed; map attach.region_size bytes read-write
 *   [1]           the CSB: memfd, sealed; map attach.csb_size bytes read-write: struct
 *                 nm_csb_atok[n], then, at attach.ktoa_offset, struct nm_csb_ktoa[n],
 *                 with n = attach.rings
 *   [2]           eventfd, signalled when a tx ring that asked for it (appl_need_kick)
 *                 has new room
 *   [3]           the same for rx rings: new packets
 *   [4] ...       eventfds, kicks: one per ring up to NMD_KICKS_MAX rings; with more rings
 *                 there are NMD_KICKS_MAX of them, and rings share: ring i of the CSB is
 *                 kicked through descriptor 4 + i % (nfds - 4)
 * There are n rings in the CSB, tx rings first, then rx rings; only those that were
 * registered (nr_mode, nr_flags). Ring i of the CSB is tx ring attach.first_tx + i for
 * i < attach.tx_rings, and rx ring attach.first_rx + (i - attach.tx_rings) behind them;
 * numbers as in the netmap_if, where host rings follow the hardware rings.
 *
 * Both CSB arrays are filled in before the reply: head, cur, hwcur, hwtail.
 * head, cur and tail in the rings of the region are the application's own.
 *
 * Several applications may register the same rings, if none is exclusive. They get the same CSB and
 * eventfds, and attach.sharer tells them apart. Behind the n entries of each array lies a struct
 * nmd_shared, for the syncs of tx rings, and of rx rings; all 0 at first:
 *
 *      joint 0   there is one application yet. It stores its number in `alone` for the time of a sync, and
 *                looks at `joint` once more: no barrier, one that comes second makes it (membarrier(2))
 *      joint 1   netmapd has let another one in. Who syncs takes `owner` by compare and exchange; where the
 *                rings are is what the CSB says, and appl_need_kick stays set. The second one waits until
 *                `alone` is 0 before its first sync
 *
 * When an application goes, netmapd takes its number out of both.
 */
struct nmd_shared {
	uint32_t joint;
	uint32_t alone, owner; /* sharers; 0: nobody */
	uint32_t spare;
};

struct nmd_attach {
	uint64_t region_size; /* bytes */
	uint64_t csb_size;    /* bytes */
	uint64_t ktoa_offset; /* bytes from the start of the CSB */
	uint32_t rings;       /* tx_rings + rx_rings */
	uint32_t tx_rings, rx_rings;
	uint32_t first_tx, first_rx;
	uint32_t sharer; /* 1: the first; 0: nobody else can come (NR_EXCLUSIVE) */
};

struct nmd_nmreq_reply {
	struct nmd_reply reply;
	struct nmd_attach attach; /* all 0 unless REGISTER succeeded */
	uint32_t nfds;
	uint32_t payload; /* bytes that follow */
};

/* NMD_VM_CREATE: this connection becomes the owner of a virtual machine with a
 * memory region of its own. */
struct nmd_vm_create {
	struct nmd_hdr hdr;
	char name[NMD_NAME_MAX]; /* for logs and status; may be empty */
	/* Bytes that BAR1 of its memory functions has at least: a power of two, NMD_BAR_SMALLEST to
	 * NMD_BAR_LARGEST; 0: NMD_BAR_DEFAULT. */
	uint64_t bar_min;
};

struct nmd_vm_create_reply {
	struct nmd_reply reply;
	uint32_t vm; /* number of the machine, for logs and status */
	uint32_t spare;
};

/*
 * NMD_VM_ADD_PORT: registers a port for the machine and makes its two vfio-user
 * sockets ready for QEMU to connect to. `mem_path` is the socket of the memory
 * function of the region that the port uses; ports that share a region get the
 * same path, and the caller adds one memory device per distinct path.
 */
struct nmd_vm_add_port {
	struct nmd_hdr hdr;
	/* As in the howto: vale1:10, vale1:10{1, vale1:10/r@conf:slots=64. */
	char ifname[NMD_SPEC_MAX];
	uint8_t mac[6]; /* all 0: netmapd chooses one */
	uint8_t spare[2];
};

struct nmd_vm_add_port_reply {
	struct nmd_reply reply;
	char net_path[NMD_PATH_MAX];
	char mem_path[NMD_PATH_MAX];
	uint8_t mac[6]; /* the address in use */
	uint8_t spare[2];
};

/*
 * NMD_STATUS: the request is the bare header plus a start position; the reply
 * carries a part of a text (JSON, UTF-8) that describes ports, switches,
 * virtual machines and every drop counter. Ask again with `start` advanced by
 * `length` until length is 0. The text is made afresh when start is 0, and kept
 * until its last byte has been sent: what is before that is -EINVAL then.
 */
struct nmd_status {
	struct nmd_hdr hdr;
	uint32_t start; /* bytes */
	uint32_t spare;
};

struct nmd_status_reply {
	struct nmd_reply reply;
	uint32_t total;  /* bytes of the whole text */
	uint32_t length; /* bytes in this message, behind this struct */
};

/*
 * NMD_VALE_MACS: the addresses that a switch knows. `pos` is 0 at first, then what the last reply
 * said. The reply carries `count` entries behind it; 0 is the end. Addresses that are learned
 * or forgotten meanwhile may be there or not. -ENOENT: no such switch.
 */
struct nmd_vale_macs {
	struct nmd_hdr hdr;
	uint64_t pos;
	char sw_name[NMD_NAME_MAX]; /* "vale1" */
};

struct nmd_mac {
	uint8_t mac[6];
	uint8_t spare[2];
	uint32_t port;           /* its number on the switch */
	uint32_t age_s;          /* seconds since it was last seen as a source */
	char name[NMD_NAME_MAX]; /* of the port; empty: it has just left */
};

struct nmd_vale_macs_reply {
	struct nmd_reply reply;
	uint64_t pos;
	uint32_t count;
	uint32_t spare;
};

/* NMD_VALE_FLUSH: a switch forgets all addresses. The reply is struct nmd_reply. -ENOENT. */
struct nmd_vale_flush {
	struct nmd_hdr hdr;
	char sw_name[NMD_NAME_MAX];
};

/*
 * NMD_EVENTS: what has happened since event number `after`. The reply carries `count` events behind it, and in `after` what to
 * ask with next. With `wait`, netmapd replies only when there is an event, however long that takes; another message before
 * that is answered with what there is, which may be none, and then handled. `after` UINT64_MAX: the reply says which event was
 * the last one, and has none; it doesn't wait. Events are numbered; numbers that are left out were those of other users, or
 * `lost` of them are no longer there.
 */
struct nmd_events {
	struct nmd_hdr hdr;
	uint64_t after;
	uint32_t wait; /* not 0: until there is one */
	uint32_t spare;
};

enum nmd_event_what {
	NMD_EVENT_PORT_NEW = 1, /* detail: its kind */
	NMD_EVENT_PORT_GONE,    /* the same */
	NMD_EVENT_PORT_NAMED,   /* it has a new name; detail: the one that it had */
	NMD_EVENT_MACHINE_NEW,  /* detail: its number */
	NMD_EVENT_MACHINE_GONE, /* the same */
	NMD_EVENT_LINK_UP,      /* of a port: an application or a guest's driver uses the rings */
	NMD_EVENT_LINK_DOWN,
	NMD_EVENT_LIMIT, /* name: the limit; detail: as it is now */
	NMD_EVENT_SETTING, /* name: of the setting, or the pattern of a placement; detail: as it is now */
	NMD_EVENTS_NUM,
};

#define NMD_USER_ALL UINT32_MAX

struct nmd_event {
	uint64_t number;
	uint64_t time_ns; /* since 1970 */
	uint32_t what;    /* enum nmd_event_what */
	uint32_t user;    /* whose; NMD_USER_ALL: nobody's */
	char name[NMD_NAME_MAX];
	char detail[NMD_NAME_MAX];
};

struct nmd_events_reply {
	struct nmd_reply reply;
	uint64_t after;
	uint64_t lost;
	uint32_t count;
	uint32_t spare;
};

/*
 * NMD_RENAME: another name for a port of a switch, on that switch. The reply is struct nmd_reply. -ENOENT no such port, -EEXIST
 * the name is taken, -EINVAL it can't be one, -EBUSY pipes, monitors or a device go by the old one, -EOPNOTSUPP it is no port
 * of a switch.
 */
struct nmd_rename {
	struct nmd_hdr hdr;
	char from[NMD_NAME_MAX];
	char to[NMD_NAME_MAX];
};

/*
 * NMD_LIMIT: a bound as netmapd's option --max has it ("ports=100/1000"). What is there beyond it stays. The reply is struct
 * nmd_reply. -EINVAL; -EPERM: for root, and the user whose netmapd it is.
 */
struct nmd_limit {
	struct nmd_hdr hdr;
	char text[NMD_NAME_MAX];
};

/*
 * NMD_SET: a line "set …", "place …" or "full-wait …" of netmapd.conf(5). While another one moves rings it waits; which one of several that wait
 * comes first is open, and one that waits is dropped when its sender hangs up. The reply is struct nmd_reply, when all rings have
 * the workers that they are to have. -EINVAL; -EPERM as NMD_LIMIT; -ENOMEM, -ENOSPC, -EAGAIN.
 */
struct nmd_set {
	struct nmd_hdr hdr;
	char text[NMD_SET_MAX]; /* NMD_SPEC_MAX bytes, when it fits those */
};

/*
 * NMD_FULL_WAIT: how long packets between network stacks wait for a receiver that is full: those of a port ("vale1:10"), or of
 * a switch ("vale1"), its ports to come included. 0: they don't. NMD_FULL_WAIT_ANY: as if nothing had been set for it. The reply is
 * struct nmd_reply. -ENOENT no such port, -EINVAL the name or the time, -EPERM another user's port; switches are for root, and the user
 * whose netmapd it is.
 */
#define NMD_FULL_WAIT_ANY UINT32_MAX

struct nmd_full_wait {
	struct nmd_hdr hdr;
	uint32_t ms; /* 0 to 10000, or NMD_FULL_WAIT_ANY */
	uint32_t spare;
	char name[NMD_NAME_MAX];
};

#endif
