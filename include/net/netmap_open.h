/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * net/netmap_open.h - the older nm_open() interface, over /dev/netmap.
 *
 * What: open a port by name, inject and receive packets, in static functions
 *	that need no library.
 * Why:	many programs were written for it. New ones use libnetmap, which knows
 *	more forms of names and also serves ports of netmapd.
 * How:	#define NETMAP_WITH_LIBS, then #include <net/netmap_user.h>, which includes
 *	this file. Names are netmap:NAME or valeID:PORT, with the suffixes -N, ^, ^N,
 *	*, {id, }id, /FLAGS (xtrzTR) and @ID, before the flags or after them.
 *
 * Thread safety: a nm_desc belongs to one thread at a time. Descriptors that
 *	share a mapping (arg of nm_open) must be closed before the one that made it.
 */
#ifndef _NET_NETMAP_OPEN_H_
#define _NET_NETMAP_OPEN_H_

#include <errno.h>
#include <fcntl.h>
#include <signal.h> /* for programs: they expect it from here */
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>
#include <sys/ioctl.h>
#include <sys/mman.h>

#define HAVE_NETMAP_WITH_LIBS 1 /* programs and build systems ask for it */

#define NM_ERRBUF_SIZE 512
#define MAXERRMSG      80 /* bytes that nm_parse() writes at most, with the final 0 */

#ifdef __cplusplus
extern "C" {
#endif

struct nm_desc;

/* A packet, as callbacks and nm_nextpkt() describe it. Begins like pcap's header. */
struct nm_pkthdr {
	struct timeval ts;
	uint32_t caplen; /* bytes that can be read at buf */
	uint32_t len;    /* bytes of the packet (nm_dispatch), of the slot (nm_nextpkt) */
	uint64_t flags;  /* NM_MORE_PKTS */
	struct nm_desc *d;
	struct netmap_slot *slot; /* the first one */
	uint8_t *buf;
};
#define NM_MORE_PKTS 1 /* nm_dispatch() has another packet at hand */

struct nm_stat {
	unsigned int ps_recv;
	unsigned int ps_drop;
	unsigned int ps_ifdrop;
};

struct nm_desc {
	struct nm_desc *self; /* this descriptor, while it is valid */
	int fd;
	void *mem;
	uint64_t memsize; /* bytes */
	int done_mmap;    /* 1 if this descriptor made the mapping */
	struct netmap_if *nifp;
	uint16_t first_tx_ring, last_tx_ring, cur_tx_ring; /* none when first > last */
	uint16_t first_rx_ring, last_rx_ring, cur_rx_ring;
	struct nmreq req;
	struct nm_pkthdr hdr;
	struct netmap_ring *some_ring; /* any ring of the port, for NETMAP_BUF */
	void *buf_start;
	void *buf_end; /* end of the mapping */
	int snaplen;
	int promisc;
	int to_ms;
	char *errbuf;
	uint32_t if_flags;
	uint32_t if_reqcap;
	uint32_t if_curcap;
	struct nm_stat st;
	char msg[NM_ERRBUF_SIZE];       /* why the last call failed */
	char port[NETMAP_REQ_IFNAMSIZ]; /* the name without suffixes; req.nr_name holds 15 bytes */
};

#define P2NMD(p)          ((const struct nm_desc *)(p))
#define IS_NETMAP_DESC(d) ((d) && P2NMD(d)->self == P2NMD(d))
#define NETMAP_FD(d)      (P2NMD(d)->fd)

/*
 * Flags of nm_open(), beside NETMAP_NO_TX_POLL and NETMAP_DO_RX_POLL. All but
 * the first say what to take from arg->req instead of the defaults.
 */
enum {
	NM_OPEN_NO_MMAP = 0x040000, /* only register; with an arg it is mapped nevertheless */
	NM_OPEN_IFNAME = 0x100000,  /* name, nr_ringid, nr_flags; from req where there is no arg */
	NM_OPEN_ARG1 = 0x200000,
	NM_OPEN_ARG2 = 0x400000,
	NM_OPEN_ARG3 = 0x800000,
	NM_OPEN_RING_CFG = 0x1000000, /* numbers of rings and slots */
};

typedef void (*nm_cb_t)(unsigned char *arg, const struct nm_pkthdr *hdr, const unsigned char *buf);

#define NM_UNUSED_ __attribute__((__unused__))

#ifdef O_CLOEXEC
#define NM_OPEN_MODE_ (O_RDWR | O_CLOEXEC)
#else /* a compiler that is told to know ISO C only */
#define NM_OPEN_MODE_ O_RDWR
#endif

static int nm_close(struct nm_desc *d);

/* Number at *p (digits only), at most max; -1 if there is none or it is too large. */
static long nm_parse_num_(const char **p, long max)
{
	long v = 0;

	if (**p < '0' || **p > '9')
		return -1;
	for (; **p >= '0' && **p <= '9'; (*p)++) {
		v = v * 10 + (**p - '0');
		if (v > max)
			return -1;
	}
	return v;
}

/* Bytes of the port name at s, before -N, ^, *, /, @. An interface that exists wins over -N. */
static size_t nm_parse_name_len_(const char *s, int is_vale)
{
	size_t len = strcspn(s, "^*/@"), i = len;
	char whole[IF_NAMESIZE];

	while (i > 0 && s[i - 1] >= '0' && s[i - 1] <= '9')
		i--;
	if (i == len || i < 2 || s[i - 1] != '-')
		return len;
	if (!is_vale && len < sizeof(whole)) {
		memcpy(whole, s, len);
		whole[len] = '\0';
		if (if_nametoindex(whole))
			return len;
	}
	return i - 1;
}

/* The flags after '/'. Returns what is wrong, or NULL. */
static const char *nm_parse_flags_(const char **p, uint32_t *flags)
{
	static const char letters[] = "xtrzTR";
	static const uint32_t bits[] = {NR_EXCLUSIVE, NR_MONITOR_TX, NR_MONITOR_RX, NR_ZCOPY_MON,
		NR_TX_RINGS_ONLY, NR_RX_RINGS_ONLY};
	const char *at;

	for (; **p && **p != '@'; (*p)++) {
		at = strchr(letters, **p);
		if (!at)
			return "unknown flag after /";
		*flags |= bits[at - letters];
	}
	return NULL;
}

/* @ID, before the flags or behind them, or equal in both places. Returns what is wrong, or NULL. */
static const char *nm_parse_region_(const char **p, uint16_t *id)
{
	long num;

	(*p)++;
	num = nm_parse_num_(p, UINT16_MAX);
	if (num < 1)
		return "the region id is not in 1..65535";
	if (*id && *id != num)
		return "two different region ids";
	*id = (uint16_t)num;
	return NULL;
}

/* All that follows the port name. Returns what is wrong, or NULL. */
static const char *nm_parse_suffix_(const char *p, struct nmreq *req)
{
	const char *bad = NULL;
	uint32_t mode = NR_REG_ALL_NIC, flags = 0;
	uint16_t region = 0;
	long num;

	req->nr_ringid = 0;
	if (*p == '*') {
		mode = NR_REG_NIC_SW;
		p++;
	} else if (*p == '-' || *p == '^') {
		mode = *p == '-' ? NR_REG_ONE_NIC : NR_REG_SW;
		if (*p++ == '-' || (*p >= '0' && *p <= '9')) {
			num = nm_parse_num_(&p, NETMAP_RING_MASK);
			if (num < 0)
				return "the ring number is not in 0..4095";
			req->nr_ringid = (uint16_t)num;
			if (mode == NR_REG_SW)
				mode = NR_REG_ONE_SW;
		}
	}
	if (*p == '@')
		bad = nm_parse_region_(&p, &region);
	if (!bad && *p == '/') {
		p++;
		bad = nm_parse_flags_(&p, &flags);
		if (!bad && *p == '@')
			bad = nm_parse_region_(&p, &region);
	}
	if (bad)
		return bad;
	if (*p)
		return "unknown suffix";
	if (region)
		req->nr_arg2 = region;
	req->nr_flags = (req->nr_flags & ~(uint32_t)NR_REG_MASK) | mode | flags;
	return NULL;
}

/* Not 0 if ifname is meant for netmap at all: netmap:… or valeID:… */
static int nm_is_netmap_name_(const char *ifname)
{
	const char *colon = strchr(ifname, ':');

	return colon &&
	       (strncmp(ifname, "netmap:", 7) == 0 ||
		       (strncmp(ifname, NM_BDG_NAME, 4) == 0 && nm_is_identifier(ifname, colon)));
}

/*
 * Split ifname into d->port and d->req. Returns 0, or -1 with the reason in
 * err: MAXERRMSG bytes at most, and no more than 64 unless a text is unusually long.
 */
static int nm_parse(const char *ifname, struct nm_desc *d, char *err)
{
	const char *name = ifname, *bad = NULL;
	int is_vale = strncmp(ifname, NM_BDG_NAME, 4) == 0;
	size_t len;

	if (!nm_is_netmap_name_(ifname))
		bad = is_vale ? "a switch port is valeID:PORT"
			      : "it begins neither netmap: nor vale";
	if (!bad) {
		name += is_vale ? 0 : 7;
		len = nm_parse_name_len_(name, is_vale);
		if (len == 0)
			bad = "the name is empty";
		else if (len >= sizeof(d->port))
			bad = "the name is longer than 63 bytes";
		else
			bad = nm_parse_suffix_(name + len, &d->req);
	}
	if (bad) {
		snprintf(err, MAXERRMSG, "%.20s%s: %s", ifname, strlen(ifname) > 20 ? "..." : "",
			bad);
		return -1;
	}
	memcpy(d->port, name, len);
	d->port[len] = '\0';
	snprintf(d->req.nr_name, sizeof(d->req.nr_name), "%.15s", d->port);
	return 0;
}

/* Older request to REGISTER. */
static void nm_req_to_reg_(const struct nmreq *req, struct nmreq_register *reg)
{
	memset(reg, 0, sizeof(*reg));
	reg->nr_tx_slots = req->nr_tx_slots;
	reg->nr_rx_slots = req->nr_rx_slots;
	reg->nr_tx_rings = req->nr_tx_rings;
	reg->nr_rx_rings = req->nr_rx_rings;
	reg->nr_mem_id = req->nr_arg2;
	reg->nr_extra_bufs = req->nr_arg3;
	reg->nr_ringid = req->nr_ringid & NETMAP_RING_MASK;
	reg->nr_flags = req->nr_flags & ~(uint32_t)NR_REG_MASK;
	reg->nr_mode = req->nr_flags & NR_REG_MASK;
	if (reg->nr_mode == NR_REG_DEFAULT) {
		if (req->nr_ringid & NETMAP_HW_RING)
			reg->nr_mode = NR_REG_ONE_NIC;
		else
			reg->nr_mode = req->nr_ringid & NETMAP_SW_RING ? NR_REG_SW : NR_REG_ALL_NIC;
	}
	if (req->nr_ringid & NETMAP_NO_TX_POLL)
		reg->nr_flags |= NR_NO_TX_POLL;
	if (req->nr_ringid & NETMAP_DO_RX_POLL)
		reg->nr_flags |= NR_DO_RX_POLL;
}

/* REGISTER's answer to the older request and to the ranges of rings. */
static void nm_reg_to_desc_(const struct nmreq_register *reg, struct nm_desc *d)
{
	uint64_t only = reg->nr_flags & (NR_TX_RINGS_ONLY | NR_RX_RINGS_ONLY);
	uint16_t tx = reg->nr_tx_rings, rx = reg->nr_rx_rings, ring = reg->nr_ringid;

	d->memsize = reg->nr_memsize;
	d->req.nr_offset = (uint32_t)reg->nr_offset;
	d->req.nr_memsize = (uint32_t)reg->nr_memsize;
	d->req.nr_tx_slots = reg->nr_tx_slots;
	d->req.nr_rx_slots = reg->nr_rx_slots;
	d->req.nr_tx_rings = tx;
	d->req.nr_rx_rings = rx;
	d->req.nr_arg2 = reg->nr_mem_id;
	d->req.nr_arg3 = reg->nr_extra_bufs;
	d->first_tx_ring = d->first_rx_ring = 0;
	d->last_tx_ring = tx - 1;
	d->last_rx_ring = rx - 1;
	switch (reg->nr_mode) {
	case NR_REG_NIC_SW:
		d->last_tx_ring += reg->nr_host_tx_rings;
		d->last_rx_ring += reg->nr_host_rx_rings;
		break;
	case NR_REG_SW:
		d->first_tx_ring = tx;
		d->first_rx_ring = rx;
		d->last_tx_ring = tx + reg->nr_host_tx_rings - 1;
		d->last_rx_ring = rx + reg->nr_host_rx_rings - 1;
		break;
	case NR_REG_ONE_NIC:
		d->first_tx_ring = d->last_tx_ring = ring < tx ? ring : 0;
		d->first_rx_ring = d->last_rx_ring = ring < rx ? ring : 0;
		break;
	case NR_REG_ONE_SW:
		d->first_tx_ring = d->last_tx_ring = tx + (ring < reg->nr_host_tx_rings ? ring : 0);
		d->first_rx_ring = d->last_rx_ring = rx + (ring < reg->nr_host_rx_rings ? ring : 0);
		break;
	default:
		break;
	}
	if (only == NR_RX_RINGS_ONLY || !tx) {
		d->first_tx_ring = 1;
		d->last_tx_ring = 0;
	}
	if (only == NR_TX_RINGS_ONLY || !rx) {
		d->first_rx_ring = 1;
		d->last_rx_ring = 0;
	}
	d->cur_tx_ring = d->first_tx_ring;
	d->cur_rx_ring = d->first_rx_ring;
}

/*
 * Map the region of d, or share the mapping of parent if that has the same
 * region. Returns 0 or a positive errno.
 */
static NM_UNUSED_ int nm_mmap(struct nm_desc *d, const struct nm_desc *parent)
{
	if (d->mem)
		return 0;
	if (IS_NETMAP_DESC(parent) && parent->mem && parent->req.nr_arg2 == d->req.nr_arg2) {
		d->mem = parent->mem;
		d->memsize = parent->memsize;
	} else {
		d->mem = mmap(NULL, d->memsize, PROT_READ | PROT_WRITE, MAP_SHARED, d->fd, 0);
		if (d->mem == MAP_FAILED) {
			d->mem = NULL;
			return errno;
		}
		d->done_mmap = 1;
	}
	d->nifp = NETMAP_IF(d->mem, d->req.nr_offset);
	if (d->first_rx_ring <= d->last_rx_ring)
		d->some_ring = NETMAP_RXRING(d->nifp, d->first_rx_ring);
	else
		d->some_ring = NETMAP_TXRING(d->nifp, d->first_tx_ring);
	d->buf_start = NETMAP_BUF(d->some_ring, 0);
	d->buf_end = (char *)d->mem + d->memsize;
	return 0;
}

/*
 * The name in req, or the whole name of which req holds the first 15 bytes. The descriptor may be a copy
 * that the program has changed, or one of its own, of which only req is filled in.
 */
static void nm_import_name_(struct nm_desc *d, const struct nmreq *req, const struct nm_desc *whole)
{
	const char *end = (const char *)memchr(req->nr_name, 0, sizeof(req->nr_name));
	size_t len = end ? (size_t)(end - req->nr_name) : sizeof(req->nr_name);

	if (whole && len == sizeof(req->nr_name) - 1 &&
		memchr(whole->port, 0, sizeof(whole->port)) &&
		strncmp(whole->port, req->nr_name, len) == 0)
		memcpy(d->port, whole->port, sizeof(d->port));
	else
		snprintf(d->port, sizeof(d->port), "%.*s", (int)len, req->nr_name);
}

/* Take over from parent what the flags say. */
static void nm_import_(struct nm_desc *d, const struct nm_desc *parent, uint64_t flags)
{
	const struct nmreq *from = &parent->req;

	if (flags & NM_OPEN_ARG1)
		d->req.nr_arg1 = from->nr_arg1;
	if (flags & NM_OPEN_ARG2)
		d->req.nr_arg2 = from->nr_arg2;
	if (flags & NM_OPEN_ARG3)
		d->req.nr_arg3 = from->nr_arg3;
	if (flags & NM_OPEN_RING_CFG) {
		d->req.nr_tx_slots = from->nr_tx_slots;
		d->req.nr_rx_slots = from->nr_rx_slots;
		d->req.nr_tx_rings = from->nr_tx_rings;
		d->req.nr_rx_rings = from->nr_rx_rings;
	}
	if (flags & NM_OPEN_IFNAME) {
		memcpy(d->req.nr_name, from->nr_name, sizeof(d->req.nr_name));
		nm_import_name_(d, from, parent);
		d->req.nr_ringid = from->nr_ringid;
		d->req.nr_flags = from->nr_flags;
	}
}

/* Open the device and register what d->req asks for. Returns 0 or a positive errno. */
static int nm_register_(struct nm_desc *d)
{
	struct nmreq_header hdr;
	struct nmreq_register reg;

	d->fd = open(NETMAP_DEVICE_NAME, NM_OPEN_MODE_);
	if (d->fd < 0) {
		int e = errno;

		snprintf(d->msg, sizeof(d->msg), "%s: %s", NETMAP_DEVICE_NAME, strerror(e));
		return e;
	}
	nm_req_to_reg_(&d->req, &reg);
	memset(&hdr, 0, sizeof(hdr));
	hdr.nr_version = NETMAP_API;
	hdr.nr_reqtype = NETMAP_REQ_REGISTER;
	hdr.nr_body = (uintptr_t)&reg;
	memcpy(hdr.nr_name, d->port, sizeof(hdr.nr_name));
	if (ioctl(d->fd, NIOCCTRL, &hdr) < 0) {
		int e = errno;

		snprintf(d->msg, sizeof(d->msg), "%s: register: %s", d->port, strerror(e));
		return e;
	}
	nm_reg_to_desc_(&reg, d);
	return 0;
}

/*
 * Open port ifname. req: first values of the request, or NULL. flags: see above.
 * arg: another descriptor, whose mapping is shared if it has the same region, or
 * NULL. Returns a descriptor for nm_close(), or NULL with errno, having said why
 * on stderr; without a word, and with errno 0, when ifname is no name of netmap's,
 * so that a program goes on to another kind of port.
 */
static NM_UNUSED_ struct nm_desc *nm_open(
	const char *ifname, const struct nmreq *req, uint64_t flags, const struct nm_desc *arg)
{
	const struct nm_desc *parent = arg;
	struct nm_desc *d = (struct nm_desc *)calloc(1, sizeof(*d));
	int err;

	if (!d) {
		errno = ENOMEM;
		return NULL;
	}
	d->self = d;
	d->fd = -1;
	if (req)
		d->req = *req;
	if (!(flags & NM_OPEN_IFNAME) && !nm_is_netmap_name_(ifname)) {
		nm_close(d);
		errno = 0;
		return NULL;
	}
	err = EINVAL;
	if (!(flags & NM_OPEN_IFNAME) && nm_parse(ifname, d, d->msg))
		goto fail;
	if (parent)
		nm_import_(d, parent, flags);
	else if (flags & NM_OPEN_IFNAME)
		nm_import_name_(d, &d->req, NULL);
	d->req.nr_version = NETMAP_API;
	d->req.nr_ringid |= flags & (NETMAP_NO_TX_POLL | NETMAP_DO_RX_POLL);
	err = nm_register_(d);
	if (err)
		goto fail;
	/* Programs that have a parent use the rings at once, whatever the flags say. */
	if (!(flags & NM_OPEN_NO_MMAP) || parent) {
		err = nm_mmap(d, parent);
		if (err) {
			snprintf(d->msg, sizeof(d->msg), "%s: mmap of %llu bytes: %s", d->port,
				(unsigned long long)d->memsize, strerror(err));
			goto fail;
		}
	}
	return d;
fail:
	fprintf(stderr, "nm_open: %s\n", d->msg);
	nm_close(d);
	errno = err;
	return NULL;
}

/* Unmap, close, free. Returns 0, or EINVAL if d is not a descriptor. */
static int nm_close(struct nm_desc *d)
{
	if (!IS_NETMAP_DESC(d))
		return EINVAL;
	if (d->done_mmap && d->mem)
		munmap(d->mem, d->memsize);
	if (d->fd >= 0)
		close(d->fd);
	memset(d, 0, sizeof(*d));
	free(d);
	return 0;
}

/* Put size bytes into the ring's next slots, as many as it takes. 0 if they don't fit. */
static int nm_inject_ring_(struct netmap_ring *ring, const char *buf, size_t size)
{
	uint32_t i = ring->head, left = nm_ring_space(ring);

	while (left-- > 0) {
		struct netmap_slot *slot = &ring->slot[i];
		size_t ofs = NETMAP_ROFFSET(ring, slot);
		size_t room = ofs < ring->nr_buf_size ? ring->nr_buf_size - ofs : 0;
		size_t part = size < room ? size : room < UINT16_MAX ? room : UINT16_MAX;

		if (!part)
			return 0;
		memcpy(NETMAP_BUF_OFFSET(ring, slot), buf, part);
		buf += part;
		size -= part;
		slot->len = (uint16_t)part;
		slot->flags = size ? NS_MOREFRAG : 0;
		i = nm_ring_next(ring, i);
		if (!size) {
			ring->head = ring->cur = i;
			return 1;
		}
	}
	return 0;
}

/* Queue a packet of size bytes on the first ring with room. Returns size, or 0 if none has. */
static NM_UNUSED_ int nm_inject(struct nm_desc *d, const void *buf, size_t size)
{
	uint32_t n, i, count = (uint32_t)d->last_tx_ring - d->first_tx_ring + 1;

	if (d->first_tx_ring > d->last_tx_ring || !size || size > INT32_MAX)
		return 0;
	for (n = 0; n < count; n++) {
		i = d->cur_tx_ring + n;
		if (i > d->last_tx_ring)
			i -= count;
		if (nm_inject_ring_(NETMAP_TXRING(d->nifp, i), (const char *)buf, size)) {
			d->cur_tx_ring = (uint16_t)i;
			return (int)size;
		}
	}
	return 0;
}

/* Slots of the packet at the head of the ring; 0 if its end is not there. A packet that fills the ring has
 * no end to wait for. */
static uint32_t nm_whole_(const struct netmap_ring *ring)
{
	uint32_t i = ring->head, n = 0;

	for (; i != ring->tail && n < ring->num_slots; n++) {
		if (!(ring->slot[i].flags & NS_MOREFRAG))
			return n + 1;
		i = i + 1 == ring->num_slots ? 0 : i + 1;
	}
	return n + 1 == ring->num_slots ? n : 0;
}

/* Bytes of a slot that lie in its buffer, whatever its length says. */
static uint32_t nm_slot_bytes_(const struct netmap_ring *ring, const struct netmap_slot *slot)
{
	uint64_t ofs = NETMAP_ROFFSET(ring, slot);
	uint32_t room = ofs < ring->nr_buf_size ? ring->nr_buf_size - (uint32_t)ofs : 0;
	uint32_t len = slot->len;

	return len < room ? len : room;
}

/* Describe the slot at the head of the ring in hdr. */
static void nm_describe_(struct nm_desc *d, struct netmap_ring *ring, struct nm_pkthdr *hdr)
{
	struct netmap_slot *slot = &ring->slot[ring->head];

	hdr->ts.tv_sec = (__typeof__(hdr->ts.tv_sec))ring->ts.tv_sec;
	hdr->ts.tv_usec = (__typeof__(hdr->ts.tv_usec))ring->ts.tv_usec;
	hdr->d = d;
	hdr->flags = 0;
	hdr->slot = slot;
	hdr->buf = (uint8_t *)NETMAP_BUF_OFFSET(ring, slot);
	hdr->len = hdr->caplen = nm_slot_bytes_(ring, slot);
}

/* Release slots at the head of the ring; they go back at the next sync. */
static void nm_release_(struct netmap_ring *ring, uint32_t slots)
{
	uint32_t i = ring->head + slots;

	ring->head = ring->cur = i >= ring->num_slots ? i - ring->num_slots : i;
}

/* The first rx ring with a packet (whole: all of its slots), from the current one on. NULL: none. */
static struct netmap_ring *nm_find_packet_(struct nm_desc *d, int whole)
{
	uint32_t n, i, count = (uint32_t)d->last_rx_ring - d->first_rx_ring + 1;

	if (d->first_rx_ring > d->last_rx_ring)
		return NULL;
	for (n = 0; n < count; n++) {
		struct netmap_ring *ring;

		i = d->cur_rx_ring + n;
		if (i > d->last_rx_ring)
			i -= count;
		ring = NETMAP_RXRING(d->nifp, i);
		if (whole ? nm_whole_(ring) != 0 : !nm_ring_empty(ring)) {
			d->cur_rx_ring = (uint16_t)i;
			return ring;
		}
	}
	return NULL;
}

/* The packet of several slots at the head of the ring in one piece, in *mem, which grows as it must
 * and is the caller's to free. Without memory hdr describes the first slot as it does already. */
static void nm_gather_(struct netmap_ring *ring, uint32_t slots, struct nm_pkthdr *hdr,
	uint8_t **mem, size_t *size)
{
	uint32_t i = ring->head, n;
	size_t len = 0;

	for (n = 0; n < slots; n++) {
		struct netmap_slot *slot = &ring->slot[i];
		size_t part = nm_slot_bytes_(ring, slot);

		if (len + part > *size) {
			uint8_t *more = (uint8_t *)realloc(*mem, (len + part) * 2);

			if (!more)
				break;
			*mem = more;
			*size = (len + part) * 2;
		}
		memcpy(*mem + len, NETMAP_BUF_OFFSET(ring, slot), part);
		len += part;
		i = nm_ring_next(ring, i);
	}
	if (n == slots) {
		hdr->buf = *mem;
		hdr->caplen = (uint32_t)len;
	}
	for (; n < slots; n++, i = nm_ring_next(ring, i))
		len += nm_slot_bytes_(ring, &ring->slot[i]);
	hdr->len = (uint32_t)len;
}

/*
 * Call cb for up to cnt packets (0 or less: all) that lie in the rx rings, whole; no
 * sync is done. Returns how many. A packet of several slots is put together in memory
 * that is valid during the call of cb; the buffer of any other until the next sync.
 */
static NM_UNUSED_ int nm_dispatch(struct nm_desc *d, int cnt, nm_cb_t cb, unsigned char *arg)
{
	struct netmap_ring *ring = nm_find_packet_(d, 1);
	uint8_t *mem = NULL;
	size_t size = 0;
	int done = 0;

	while (ring) {
		struct nm_pkthdr hdr;
		uint32_t slots = nm_whole_(ring);

		nm_describe_(d, ring, &hdr);
		if (slots > 1)
			nm_gather_(ring, slots, &hdr, &mem, &size);
		nm_release_(ring, slots);
		done++;
		ring = done != cnt ? nm_find_packet_(d, 1) : NULL;
		if (ring)
			hdr.flags |= NM_MORE_PKTS;
		d->hdr = hdr;
		cb(arg, &hdr, hdr.buf);
	}
	free(mem);
	return done;
}

/*
 * The next slot of the rx rings as a packet of its own, or NULL; valid until the next sync. When
 * hdr->slot->flags has NS_MOREFRAG, the packet goes on in what the next call returns.
 */
static NM_UNUSED_ unsigned char *nm_nextpkt(struct nm_desc *d, struct nm_pkthdr *hdr)
{
	struct netmap_ring *ring = nm_find_packet_(d, 0);

	if (!ring)
		return NULL;
	nm_describe_(d, ring, hdr);
	nm_release_(ring, 1);
	d->hdr = *hdr;
	return hdr->buf;
}

#ifdef __cplusplus
}
#endif

#endif /* _NET_NETMAP_OPEN_H_ */
