/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * netmapd-nic and a client that lies: what it says, when, with which descriptors; and interfaces that change, vanish, or fail
 * meanwhile. The parser, the states, the claims and the sockets are netmapd-nic's own. The kernel is played here: what ethtool,
 * rtnetlink and bpf() would say, AF_XDP's system calls, and the time.
 *
 * A client without the right gets no socket, and one with it no socket that isn't bound, unless it may have every interface; no
 * more memory than the rules allow is pinned, and all of it is there. In the end the interface is as before.
 */
#include "descriptors.h"

#include "device.h"
#include "kernel.h"
#include "log.h"
#include "netdev.h"
#include "netlink.h"
#include "nic_connect.h"
#include "program.h"
#include "session.h"
#include "tap_open.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/if_xdp.h>
#include <net/if.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

enum {
	STEPS = 48,
	DEVICES = 2, /* the first has the second at its other end */
	FEATURES = 6,
	TWIN = 200,       /* its number */
	SOCKETS = 1024,   /* by descriptor */
	MEMORY = 1 << 20, /* bytes that an interface may pin */
	CHUNKS = 32,
	RING = 16,
	MAY_FIRST = 1000, /* users: of the first device, of all, of none */
	MAY_ALL,
	MAY_NONE,
};

struct device {
	struct nic_facts facts;
	bool there, filter;
	struct device_feature feature[FEATURES];
	struct netdev_napi napi[NIC_QUEUES_MAX];
};

/* A socket that this kernel made. */
struct fake {
	ino_t inode;
	bool is_xdp, bound, zerocopy;
};

static struct fuzz_in *input;
static bool runs;                     /* a session */
static int client = -1, changes = -1; /* the client's end; what rtnetlink would make ready, ours */
static uid_t peer;
static uint32_t steps, fail_in, other_program;
static int fail_error;
static bool failed; /* a call of the kernel */
static bool old_kernel;
static bool twin;    /* is there */
static bool to_twin; /* the exit program sends there */
static uint64_t clock_ns;
static struct device devices[DEVICES];
static struct fake fakes[SOCKETS];
static char dir[64], config_path[80], state_path[80];
static const struct session_config config = {.state = state_path, .access = config_path};

static const char *const features[FEATURES] = {"rx-vlan-hw-parse", "rx-vlan-stag-hw-parse",
	"rx-lro", "rx-gro-hw", "tx-vlan-hw-insert", "tx-vlan-stag-hw-insert"};

/* ---- the kernel's calls fail ------------------------------------------------------------------------ */

/* 0 or a negative errno: the one that is due fails. */
static int kernel_call(void)
{
	if (!fail_in || --fail_in)
		return 0;
	failed = true;
	return -fail_error;
}

static int kernel_errno(void)
{
	errno = -kernel_call();
	return errno ? -1 : 0;
}

static int kernel_fd(void)
{
	int error = kernel_call();

	return error ? error : eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
}

/* ---- devices: device.h, netlink.h ---------------------------------------------------------------------- */

static struct device *by_name(const char *ifname)
{
	for (int i = 0; i < DEVICES; i++)
		if (devices[i].there && strcmp(devices[i].facts.ifname, ifname) == 0)
			return &devices[i];
	return NULL;
}

static struct device *by_index(uint32_t ifindex)
{
	for (int i = 0; i < DEVICES; i++)
		if (devices[i].there && devices[i].facts.ifindex == ifindex)
			return &devices[i];
	return NULL;
}

int device_facts(struct nic_facts *f, struct nm_error *err)
{
	const struct device *d = by_name(f->ifname);
	int error = d ? kernel_call() : -ENODEV;

	if (error)
		return nm_error_set(err, error, "%s: no such interface", f->ifname);
	*f = d->facts;
	return 0;
}

static struct device_feature *feature(const char *ifname, const char *name)
{
	struct device *d = by_name(ifname);

	for (int i = 0; d && i < FEATURES; i++)
		if (strcmp(features[i], name) == 0)
			return &d->feature[i];
	return NULL;
}

int device_feature(const char *ifname, const char *name, struct device_feature *out)
{
	const struct device_feature *f = feature(ifname, name);

	if (!f)
		return -ENODEV;
	*out = *f;
	return kernel_call();
}

int device_feature_set(const char *ifname, const char *name, bool on)
{
	struct device_feature *f = feature(ifname, name);
	int error = f ? kernel_call() : -ENODEV;

	if (error)
		return error;
	f->requested = on;
	if (!f->fixed)
		f->active = on;
	return 0;
}

int netdev_napi(uint32_t ifindex, uint32_t queue, uint32_t queues, struct netdev_napi *napi)
{
	const struct device *d = by_index(ifindex);

	fuzz_check(queue < NIC_QUEUES_MAX, "queue %u", queue);
	if (!d)
		return -ENOENT;
	*napi = d->napi[queue];
	return kernel_call();
}

/* Numbers as make_devices() gives them. */
int netdev_napi_set(const struct netdev_napi *napi)
{
	struct device *d = by_index(napi->id / NIC_QUEUES_MAX);
	int error = d ? kernel_call() : -ENOENT;

	if (!error)
		d->napi[napi->id % NIC_QUEUES_MAX] = *napi;
	return error;
}

char *__wrap_if_indextoname(unsigned int ifindex, char *ifname);
char *__wrap_if_indextoname(unsigned int ifindex, char *ifname)
{
	const struct device *d = by_index(ifindex);

	return d ? strcpy(ifname, d->facts.ifname) : NULL;
}

uint32_t netlink_program(uint32_t ifindex)
{
	return other_program;
}

void netlink_words(uint32_t ifindex, int prog, bool generic, char text[NIC_TEXT_MAX])
{
	snprintf(text, NIC_TEXT_MAX, "%s", generic ? "" : "words of the kernel");
}

int netlink_clsact(uint32_t ifindex)
{
	return kernel_call();
}

int netlink_filter(uint32_t ifindex, int prog, bool egress)
{
	struct device *d = by_index(ifindex);
	int error = d || (ifindex == TWIN && twin) ? kernel_call() : -ENODEV;

	if (!error && d)
		d->filter = true;
	return error;
}

uint32_t netlink_peer(uint32_t ifindex)
{
	return ifindex == devices[0].facts.ifindex && devices[1].there ? devices[1].facts.ifindex
								       : 0;
}

int netlink_up_quietly(uint32_t ifindex, const char *alias)
{
	fuzz_check(ifindex == TWIN && twin, "interface %u goes up", ifindex);
	return kernel_call();
}

bool netlink_dropped(uint32_t ifindex, struct netlink_drops *drops)
{
	fuzz_check(ifindex == TWIN, "interface %u is looked at", ifindex);
	*drops = (struct netlink_drops){3, 3, 1};
	return twin;
}

int netlink_delete(uint32_t ifindex)
{
	fuzz_check(ifindex == TWIN, "interface %u is deleted", ifindex);
	fuzz_check(!to_twin || failed, "it is deleted while frames go there");
	twin = false;
	return kernel_call();
}

void netlink_alias(uint32_t ifindex, char alias[NETLINK_ALIAS_MAX])
{
	strcpy(alias, ifindex == TWIN && twin ? "host rings of fz0 (netmapd)" : "");
}

int netlink_filter_off(uint32_t ifindex)
{
	struct device *d = by_index(ifindex);
	int error = d ? kernel_call() : -ENODEV;

	if (!error)
		d->filter = false;
	return error;
}

int netlink_watch(void)
{
	int error = kernel_call();

	return error ? error : dup(changes);
}

int netlink_watch_ethtool(void)
{
	return netlink_watch();
}

bool netlink_drain(int watch)
{
	uint64_t count;

	return read(watch, &count, sizeof(count)) > 0;
}

bool netlink_links_changed(int watch, uint32_t ifindex)
{
	return netlink_drain(watch);
}

bool kernel_is_at_least(unsigned long major, unsigned long minor)
{
	return !old_kernel;
}

void nic_log(const char *fmt, ...)
{
}

/* ---- programs: program.h ------------------------------------------------------------------------------- */

int program_map(uint32_t queues)
{
	return kernel_fd();
}

int program_load(int map, const struct program_filter *filter, const uint8_t *cookie, bool sg)
{
	fuzz_check(filter->num_ip4 <= NIC_ADDRESSES_MAX && filter->num_ip6 <= NIC_ADDRESSES_MAX,
		"%u and %u addresses", filter->num_ip4, filter->num_ip6);
	return kernel_fd();
}

int program_attach(int prog, uint32_t ifindex, bool generic)
{
	return by_index(ifindex) ? kernel_fd() : -ENODEV;
}

int program_set(int map, uint32_t queue, int sock)
{
	fuzz_check(queue < NIC_QUEUES_MAX, "queue %u", queue);
	return kernel_call();
}

void program_clear(int map, uint32_t queue)
{
	fuzz_check(queue < NIC_QUEUES_MAX, "queue %u", queue);
}

int program_dropped_map(void)
{
	int error = kernel_call(), fd;

	if (error)
		return error;
	fd = memfd_create("counters", MFD_CLOEXEC);
	fuzz_check(fd >= 0 && ftruncate(fd, sizeof(struct nic_counters)) == 0, "no memory");
	return fd;
}

int program_state_map(void)
{
	return kernel_fd();
}

int program_set_state(int map, const struct program_state *state)
{
	fuzz_check(state->twin == 0 || (state->twin == TWIN && twin), "frames go to interface %u",
		state->twin);
	if (kernel_call() != 0)
		return -fail_error;
	to_twin = state->twin;
	return 0;
}

int program_load_exit(const struct program_exit *maps, const struct program_filter *filter)
{
	return program_load(maps->state, filter, NULL, false);
}

int program_load_twin_out(void)
{
	return kernel_fd();
}

int program_load_twin_in(uint32_t ifindex, const uint8_t cookie[PROGRAM_COOKIE])
{
	return kernel_fd();
}

int program_attach_stack(int prog, uint32_t ifindex, bool egress)
{
	return ifindex == TWIN && twin ? kernel_fd() : program_attach(prog, ifindex, false);
}

uint32_t program_id(int prog)
{
	return 1;
}

/* ---- the twin --------------------------------------------------------------------------------------------- */

int tap_open(char ifname[IFNAMSIZ], bool several, int *fd)
{
	*fd = kernel_fd();
	if (*fd < 0) {
		int error = *fd;

		*fd = -1;
		return error;
	}
	strcpy(ifname, "nmhost0");
	twin = true;
	return 0;
}

unsigned int __wrap_if_nametoindex(const char *ifname);
unsigned int __wrap_if_nametoindex(const char *ifname)
{
	errno = ENODEV;
	return twin && strcmp(ifname, "nmhost0") == 0 && !kernel_call() ? TWIN : 0;
}

/* ---- sockets ------------------------------------------------------------------------------------------- */

int __real_socket(int domain, int type, int protocol);
int __wrap_socket(int domain, int type, int protocol);
int __wrap_setsockopt(int fd, int level, int name, const void *value, socklen_t len);
int __wrap_getsockopt(int fd, int level, int name, void *value, socklen_t *len);
int __wrap_bind(int fd, const struct sockaddr *addr, socklen_t len);
ssize_t __wrap_sendto(
	int fd, const void *buf, size_t bytes, int flags, const struct sockaddr *to, socklen_t len);

int __wrap_socket(int domain, int type, int protocol)
{
	struct stat st;
	int fd;

	if (domain != AF_XDP && domain != AF_PACKET)
		return __real_socket(domain, type, protocol);
	if (kernel_errno() < 0)
		return -1;
	/* Its pages are its rings. */
	fd = memfd_create("socket", MFD_CLOEXEC);
	fuzz_check(fd >= 0 && fd < SOCKETS && fstat(fd, &st) == 0 &&
			   ftruncate(fd, (off_t)XDP_UMEM_PGOFF_COMPLETION_RING + (1 << 20)) == 0,
		"no file");
	fakes[fd] = (struct fake){.inode = st.st_ino, .is_xdp = domain == AF_XDP};
	return fd;
}

/* All of it can be touched, and it is no more than may be pinned. */
static void register_memory(const struct xdp_umem_reg *reg)
{
	const volatile char *at = (const char *)(uintptr_t)reg->addr;

	fuzz_check(reg->len > 0 && reg->len % reg->chunk_size == 0 && reg->len <= MEMORY,
		"%llu bytes are pinned", (unsigned long long)reg->len);
	(void)at[0];
	(void)at[reg->len - 1];
}

int __wrap_setsockopt(int fd, int level, int name, const void *value, socklen_t len)
{
	if (kernel_errno() < 0)
		return -1;
	if (level == SOL_XDP && name == XDP_UMEM_REG)
		register_memory(value);
	return 0;
}

int __wrap_getsockopt(int fd, int level, int name, void *value, socklen_t *len)
{
	static const struct xdp_ring_offset ring = {0, 64, 192, 128};

	if (kernel_errno() < 0)
		return -1;
	if (name == XDP_MMAP_OFFSETS)
		*(struct xdp_mmap_offsets *)value =
			(struct xdp_mmap_offsets){ring, ring, ring, ring};
	else
		*(struct xdp_options *)value = (struct xdp_options){
			.flags = fakes[fd].zerocopy ? XDP_OPTIONS_ZEROCOPY : 0};
	return 0;
}

static bool may_have(uid_t user, const char *ifname)
{
	return user == getuid() || user == MAY_ALL ||
	       (user == MAY_FIRST && (strcmp(ifname, "fz0") == 0 || strcmp(ifname, "new0") == 0));
}

int __wrap_bind(int fd, const struct sockaddr *addr, socklen_t len)
{
	const struct sockaddr_xdp *xdp = (const void *)addr;
	const struct device *d = by_index(xdp->sxdp_ifindex);

	fuzz_check(fakes[fd].is_xdp, "a descriptor is bound that is no socket");
	if (!d) {
		errno = ENODEV;
		return -1;
	}
	fuzz_check(may_have(peer, d->facts.ifname), "user %u has a socket of %s", peer,
		d->facts.ifname);
	if (kernel_errno() < 0)
		return -1;
	if (!(xdp->sxdp_flags & XDP_SHARED_UMEM))
		fakes[fd].zerocopy = xdp->sxdp_flags & XDP_ZEROCOPY;
	else
		fakes[fd].zerocopy = fakes[xdp->sxdp_shared_umem_fd].zerocopy;
	fakes[fd].bound = true;
	return 0;
}

/* Only kicks. */
ssize_t __wrap_sendto(
	int fd, const void *buf, size_t bytes, int flags, const struct sockaddr *to, socklen_t len)
{
	return kernel_errno();
}

/* ---- time ---------------------------------------------------------------------------------------------- */

enum { PATIENCE_S = 60 };

static uint64_t slept_ns; /* since the client has done something */

static void hang_up(void);
int __wrap_clock_gettime(clockid_t clock, struct timespec *ts);
int __wrap_nanosleep(const struct timespec *wanted, struct timespec *left);

int __wrap_clock_gettime(clockid_t clock, struct timespec *ts)
{
	*ts = (struct timespec){(time_t)(clock_ns / 1000000000), (long)(clock_ns % 1000000000)};
	return 0;
}

int __wrap_nanosleep(const struct timespec *wanted, struct timespec *left)
{
	uint64_t ns = (uint64_t)wanted->tv_sec * 1000000000 + (uint64_t)wanted->tv_nsec;

	clock_ns += ns;
	slept_ns += ns;
	/* A session that has ended waits until its client has read all, or goes. */
	if (runs && slept_ns > PATIENCE_S * 1000000000ULL)
		hang_up();
	return 0;
}

/* ---- what the client hears -------------------------------------------------------------------------------- */

static void check_socket(int fd, bool bound)
{
	struct stat st;

	fuzz_check(fstat(fd, &st) == 0, "no descriptor");
	for (int i = 0; i < SOCKETS; i++)
		if (fakes[i].inode == st.st_ino) {
			fuzz_check(fakes[i].is_xdp && fakes[i].bound == bound,
				"a socket that %s bound", bound ? "is not" : "is");
			return;
		}
	fuzz_check(false, "a descriptor that is no socket");
}

static void check_message(const union nic_message *msg, const int *fds, uint32_t num_fds)
{
	uint32_t type = msg->hdr.type;

	if (type == NIC_FAILED)
		fuzz_check_error(msg->failed.error, msg->failed.text);
	if (type == NIC_DROPPED) {
		fuzz_check(num_fds == 1, "%u maps", num_fds);
		return;
	}
	if (type == NIC_USED) {
		fuzz_check_error(msg->used.error, msg->used.text);
		fuzz_check(num_fds == 0 || (msg->used.twin == TWIN && !msg->used.error),
			"%u queues of interface %u", num_fds, msg->used.twin);
		fuzz_check(num_fds == 0 || peer == MAY_ALL || peer == getuid(),
			"user %u has host rings", peer);
		return;
	}
	fuzz_check(num_fds == 0 || type == NIC_BOUND || type == NIC_UNBOUND,
		"%u descriptors with a message %u", num_fds, type);
	fuzz_check(num_fds == 0 || type == NIC_BOUND || peer == MAY_ALL || peer == getuid(),
		"user %u has a socket for any interface", peer);
	for (uint32_t i = 0; i < num_fds; i++)
		check_socket(fds[i], type == NIC_BOUND);
}

/* The type of the last message; 0: there was none. */
static uint32_t hear(void)
{
	uint32_t last = 0, num_fds;
	int fds[NIC_QUEUES_MAX], n;
	union nic_message msg;

	do {
		num_fds = NIC_QUEUES_MAX;
		n = nic_receive(client, &msg, fds, &num_fds);
		fuzz_check(n != -EPROTO, "no message of the protocol");
		if (n <= 0)
			continue;
		check_message(&msg, fds, num_fds);
		last = msg.hdr.type;
		while (num_fds > 0)
			close(fds[--num_fds]);
	} while (n > 0);
	return last;
}

/* ---- what it says ---------------------------------------------------------------------------------------- */

static void make_open(struct nic_open *o)
{
	o->chunk = fuzz_u8(input) & 1 ? 2048 : 4096;
	o->umem_bytes = (uint64_t)CHUNKS * o->chunk;
	o->fill = o->completion = o->rx = o->tx = RING;
	o->mode = fuzz_below(input, NIC_MODES);
	o->pass = fuzz_u8(input) & NIC_PASS_ALL;
	o->busy_poll_us = fuzz_u8(input) & 1;
	o->hardware = fuzz_u8(input) & 1;
}

static int memory_file(size_t bytes)
{
	int fd = memfd_create("memory", MFD_CLOEXEC | MFD_ALLOW_SEALING);

	fuzz_check(fd >= 0 && ftruncate(fd, (off_t)bytes) == 0 &&
			   fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK) == 0,
		"no memfd");
	return fd;
}

static size_t fill_message(union nic_message *msg, uint32_t type, int *fd)
{
	uint8_t what;

	*fd = -1;
	switch (type) {
	case NIC_ASK:
		strcpy(msg->ask.ifname, fuzz_u8(input) & 1 ? "fz1" : "fz0");
		msg->ask.user = fuzz_u8(input) & 3 ? peer : MAY_NONE;
		return sizeof(msg->ask);
	case NIC_CHECK:
		strcpy(msg->check.ifname, fuzz_u8(input) & 1 ? "fz1" : "fz0");
		return sizeof(msg->check);
	case NIC_OPEN:
		make_open(&msg->open);
		*fd = memory_file((size_t)CHUNKS * 4096);
		return sizeof(msg->open);
	case NIC_BIND:
		for (int i = 0; i < NIC_QUEUES_MAX; i++)
			msg->bind.posted[i] = RING / 2;
		*fd = memory_file(8 * (NIC_POSTED_HEAD + RING * sizeof(uint64_t)));
		return sizeof(msg->bind);
	case NIC_USE:
		what = fuzz_u8(input);
		msg->use.hardware = what & 1;
		msg->use.user = what & 64 ? MAY_FIRST : 0;
		msg->use.host_rings = fuzz_below(input, 4);
		return sizeof(msg->use);
	case NIC_RELEASED:
		msg->released.num_queues = fuzz_below(input, 4);
		return sizeof(msg->released);
	default:
		return sizeof(msg->plain);
	}
}

static void send_message(uint32_t type)
{
	char control[CMSG_SPACE(3 * sizeof(int))] = {0};
	union nic_message msg = {0};
	uint8_t lies = fuzz_u8(input);
	int fds[3];
	size_t bytes = fill_message(&msg, type, &fds[0]);
	uint32_t num_fds = fds[0] >= 0;
	struct iovec iov = {&msg, bytes};
	struct msghdr out = {.msg_iov = &iov, .msg_iovlen = 1};

	nic_header_init(&msg.hdr, type);
	for (int n = lies & 3; lies >= 128 && n > 0; n--)
		((uint32_t *)(void *)&msg)[fuzz_u8(input) % (bytes / 4)] =
			(uint32_t)fuzz_edge(input, CHUNKS * 4096);
	if ((lies & 7) == 7) {
		iov.iov_len = fuzz_u16(input) % (sizeof(msg) + 1);
		memset((char *)&msg + bytes, fuzz_u8(input), sizeof(msg) - bytes);
	}
	if ((lies & 24) == 24) {
		for (uint32_t i = 0; i < num_fds; i++)
			close(fds[i]);
		num_fds = fuzz_below(input, 4);
		for (uint32_t i = 0; i < num_fds; i++)
			fds[i] = fuzz_make_fd(input);
	}
	fuzz_attach_fds(&out, control, fds, num_fds);
	(void)!sendmsg(client, &out, MSG_DONTWAIT | MSG_NOSIGNAL);
	while (num_fds > 0)
		close(fds[--num_fds]);
}

/* What a client that means well would say next. */
static uint32_t next_type(uint32_t heard)
{
	switch (heard) {
	case NIC_KNOWN:
		return NIC_OPEN;
	case NIC_OPENED:
		return NIC_BIND;
	case NIC_UNBOUND:
		return NIC_MAPPED;
	case NIC_DETACHED:
		return NIC_RELEASED;
	case NIC_BOUND:
	case NIC_USED:
		return fuzz_u8(input) & 3 ? NIC_USE : NIC_CLOSE;
	case NIC_FAILED:
		return NIC_CLOSE;
	default:
		return fuzz_u8(input) & 3 ? NIC_ASK : NIC_CHECK;
	}
}

static void change_device(void)
{
	struct device *d = &devices[fuzz_below(input, DEVICES)];
	uint64_t one = 1;

	switch (fuzz_below(input, 5)) {
	case 0:
		d->there = false;
		break;
	case 1:
		strcpy(d->facts.ifname, d == devices ? "new0" : "new1");
		break;
	case 2:
		d->facts.mtu = (uint32_t)fuzz_edge(input, 4096);
		break;
	case 3:
		d->facts.queues = 1 + fuzz_below(input, NIC_QUEUES_MAX);
		break;
	default:
		other_program = fuzz_u8(input) & 1;
	}
	(void)!write(changes, &one, sizeof(one));
}

static void act(void)
{
	static const int errors[] = {
		EBUSY, EOPNOTSUPP, EINVAL, ENOMEM, EPERM, ENODEV, ENOBUFS, EEXIST};
	static uint32_t heard;
	uint32_t now = hear();
	uint8_t what = fuzz_u8(input);

	slept_ns = 0;
	heard = steps == 1 ? 0 : now ? now : heard;
	if (what < 160) {
		send_message(next_type(heard));
	} else if (what < 208) {
		send_message(what & 1 ? fuzz_u8(input) : 1 + fuzz_below(input, NIC_USE));
	} else if (what < 224) {
		change_device();
	} else {
		fail_in = 1 + fuzz_below(input, 48);
		fail_error = errors[what % (sizeof(errors) / sizeof(errors[0]))];
	}
}

static void hang_up(void)
{
	if (client < 0)
		return;
	hear();
	close(client);
	client = -1;
}

/* The session waits: whatever the input has is done until there is something for it. */
int __real_poll(struct pollfd *fds, nfds_t n, int timeout_ms);
int __wrap_poll(struct pollfd *fds, nfds_t n, int timeout_ms);

int __wrap_poll(struct pollfd *fds, nfds_t n, int timeout_ms)
{
	int ready;

	if (!runs || timeout_ms == 0)
		return __real_poll(fds, n, timeout_ms);
	while ((ready = __real_poll(fds, n, 0)) == 0) {
		if (!fuzz_more(input) || ++steps > STEPS)
			hang_up();
		else
			act();
	}
	return ready;
}

/* ---- one input ------------------------------------------------------------------------------------------- */

static void remove_files(void)
{
	unlink(config_path);
	rmdir(state_path);
	rmdir(dir);
}

void fuzz_begin(void)
{
	FILE *f;

	snprintf(
		dir, sizeof(dir), "%s/fuzz-XXXXXX", access("/dev/shm", W_OK) ? "/tmp" : "/dev/shm");
	fuzz_check(mkdtemp(dir), "no directory %s", dir);
	snprintf(config_path, sizeof(config_path), "%s/nic.conf", dir);
	snprintf(state_path, sizeof(state_path), "%s/state", dir);
	f = fopen(config_path, "we");
	fuzz_check(f, "no file %s", config_path);
	fprintf(f, "allow %d fz0 new0\nallow %d * host\nmemory %d\n", MAY_FIRST, MAY_ALL, MEMORY);
	fclose(f);
	atexit(remove_files);
}

static void make_devices(void)
{
	for (uint32_t i = 0; i < DEVICES; i++) {
		struct device *d = &devices[i];
		uint8_t how = fuzz_u8(input);

		*d = (struct device){.there = true};
		d->facts = (struct nic_facts){
			.ifindex = 100 + i, .driver = "veth", .up = 1, .mtu = 1500};
		snprintf(d->facts.ifname, sizeof(d->facts.ifname), "fz%u", i);
		d->facts.queues = d->facts.tx_queues = how >= 248 ? NIC_QUEUES_MAX : 1 + how % 4;
		for (int k = 0; k < FEATURES; k++)
			d->feature[k] = (struct device_feature){.known = true,
				.active = how >> k & 1,
				.requested = how >> k & 1,
				.fixed = how >> k & 1 && how % 16 == 15};
		for (uint32_t k = 0; k < NIC_QUEUES_MAX; k++)
			d->napi[k] =
				(struct netdev_napi){.id = d->facts.ifindex * NIC_QUEUES_MAX + k,
					.defer_hard_irqs = how & 1,
					.gro_flush_ns = how & 2};
	}
}

static void check_devices(const struct device *before)
{
	for (int i = 0; i < DEVICES; i++) {
		const struct device *d = &devices[i];

		if (!d->there)
			continue;
		fuzz_check(!d->filter, "%s still has a filter", d->facts.ifname);
		for (int k = 0; k < FEATURES; k++)
			fuzz_check(d->feature[k].active == before[i].feature[k].active,
				"%s of %s is not as before", features[k], d->facts.ifname);
		fuzz_check(memcmp(d->napi, before[i].napi, sizeof(d->napi)) == 0,
			"interrupts of %s are put off", d->facts.ifname);
	}
}

/* Nobody claims anything any more. */
static void check_state(bool may_be_left)
{
	DIR *d = opendir(state_path);
	struct dirent *entry;

	while (d && (entry = readdir(d))) {
		if (entry->d_name[0] == '.')
			continue;
		fuzz_check(may_be_left || strncmp(entry->d_name, "turn-", 5) == 0,
			"a claim is left: %s", entry->d_name);
		unlinkat(dirfd(d), entry->d_name, 0);
	}
	if (d)
		closedir(d);
}

void fuzz_one(struct fuzz_in *in)
{
	const uid_t peers[] = {getuid(), MAY_FIRST, MAY_ALL, MAY_NONE};
	struct device before[DEVICES];
	uint8_t how = fuzz_u8(in);
	int pair[2];

	input = in;
	peer = peers[how & 3];
	old_kernel = how & 4;
	twin = to_twin = false;
	steps = fail_in = other_program = 0;
	slept_ns = 0;
	failed = false;
	clock_ns = 1;
	memset(fakes, 0, sizeof(fakes));
	make_devices();
	memcpy(before, devices, sizeof(before));
	changes = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	fuzz_check(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) == 0, "no sockets");
	client = pair[0];
	runs = true;
	session_run(pair[1], peer, &config);
	runs = false;
	hang_up();
	close(changes);
	/* A TAP whose making failed goes with its descriptors. */
	fuzz_check(!twin || failed, "the twin is left");
	if (!failed)
		check_devices(before);
	check_state(failed);
}
