/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * nmabuse - /dev/netmap as nobody should use it, from inside a guest.
 *
 *	nmabuse SECONDS PROCESSES SEED [ROUNDS]
 *
 * Each process does one random thing after the other: opens, requests (well formed, nearly so, and random bytes;
 * options in chains, with loops, at bad addresses; the older interface), syncs, polls, mappings at odd offsets,
 * random values in rings and slots, forks, files passed from process to process, closes, kernel loops, namespaces
 * that come and go. Some have children do what takes the module long, and kill them in the middle of it: two that open one port of
 * many slots, and one that takes a persistent port off the first of two switches. The parent kills them at random moments and starts
 * others. Ends after SECONDS, or, when ROUNDS is given, when so many processes have done as much as they do; prints the seed first
 * and what was done at the end. Its status is 0: whether all went well is for the kernel's log to say, and for what is left afterwards.
 *
 * Interfaces that it takes and gives back: nma0, nma1 (a pair), data (a passed-through port), nmp0, nmp1 (persistent).
 *
 * Thread safety: processes only.
 */
#include <poll.h>
#include <sched.h>
#include <setjmp.h>
#include <signal.h>
#include <stdbool.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>

#include "guestprog.h"

enum {
	FILES = 8,
	MAPS = 6,
	PROCESSES_MAX = 32,
	THINGS = 200,    /* that a process does at most */
	ARENA = 4 << 20, /* memory that requests point into */
};

static uint64_t state;
static int post[2]; /* files on their way from one process to another */
static char *arena;

static uint32_t below(uint32_t n)
{
	state = state * 6364136223846793005ULL + 1442695040888963407ULL;
	return (uint32_t)(state >> 33) % n;
}

static bool one_in(uint32_t n)
{
	return below(n) == 0;
}

static uint64_t nonsense(void)
{
	static const uint64_t values[] = {0, 1, 2, 63, 64, 65, 4095, 4096, 65535, 65536, 0x7fffffff,
		0x80000000, 0xffffffff, 1ULL << 32, 1ULL << 46, 1ULL << 63, UINT64_MAX};

	return one_in(2) ? values[below(sizeof(values) / sizeof(values[0]))] : below(5000);
}

/* The n-th allocation of this thread fails, where the kernel can do that; 0: none. */
static void fail_allocation(uint32_t n)
{
	int fd = open("/proc/thread-self/fail-nth", O_WRONLY | O_CLOEXEC);
	char text[12];
	int length = snprintf(text, sizeof(text), "%u", n);

	if (fd >= 0 && write(fd, text, (size_t)length) != length) {
		/* then it doesn't */
	}
	if (fd >= 0)
		close(fd);
}

/* ---- names and requests ---------------------------------------------------------------- */

static const char *const names[] = {"valea:1", "valea:2", "valea:3", "valeb:1", "valea:1{p",
	"valea:1}p", "free{1", "free}1", "free{2", "nma0", "nma1", "nma0^", "nma0*", "nma0{x",
	"nma0}x", "nma0{x{y", "data", "data^", "data{1", "data}1", "nmp0", "nmp1", "nmp0{1",
	"valea:nma0", "valeb:data", "valea:nmp0", "valeb:nmp0", "valea:nmp1", "valeb:nmp1",
	"valea:nma0^", "lo", "vale", "vale:", "valea:", "", "{", "}1", "null", "valea:1/t",
	"a.name.that.is.as.long.as.the.field.that.it.has.to.fit.into.can.be", "\xff\x1b[2J\n"};

static const char *a_name(void)
{
	static char odd[NETMAP_REQ_IFNAMSIZ + 1];

	if (!one_in(20))
		return names[below(sizeof(names) / sizeof(names[0]))];
	for (int i = 0; i < NETMAP_REQ_IFNAMSIZ; i++)
		odd[i] = (char)below(256);
	return odd;
}

/* Somewhere in the arena, mostly; sometimes at its end, or nowhere. */
static char *a_place(uint32_t bytes)
{
	if (one_in(30))
		return (char *)(uintptr_t)nonsense();
	if (one_in(30))
		return arena + ARENA - below(bytes);
	return arena + (below(ARENA - 65536 - bytes) & ~63u);
}

static bool is_in_arena(const char *at, uint32_t bytes)
{
	return at >= arena && at + bytes <= arena + ARENA;
}

static void fill_option(char *at, char *next)
{
	struct nmreq_option opt = {.nro_next = (uintptr_t)next,
		.nro_reqtype = 1 + below(8),
		.nro_status = (uint32_t)nonsense()};
	struct nmreq_opt_extmem ext = {.nro_opt = opt};
	struct nmreq_opt_offsets offsets = {.nro_opt = opt};
	struct nmreq_opt_csb csb = {.nro_opt = opt};

	if (one_in(3))
		opt.nro_size = nonsense();
	switch (opt.nro_reqtype) {
	case NETMAP_REQ_OPT_EXTMEM:
		ext.nro_usrptr = (uintptr_t)arena + (one_in(5) ? nonsense() : 4096UL * below(500));
		ext.nro_info.nr_memsize = one_in(4) ? nonsense() : 65536UL * (1 + below(32));
		if (one_in(3)) {
			ext.nro_info.nr_buf_pool_objtotal = (uint32_t)nonsense();
			ext.nro_info.nr_ring_pool_objsize = (uint32_t)nonsense();
		}
		memcpy(at, &ext, sizeof(ext));
		return;
	case NETMAP_REQ_OPT_OFFSETS:
		offsets.nro_max_offset = nonsense();
		offsets.nro_initial_offset = below(200);
		offsets.nro_offset_bits = below(70);
		offsets.nro_tx_align = (uint32_t)nonsense();
		memcpy(at, &offsets, sizeof(offsets));
		return;
	case NETMAP_REQ_OPT_CSB:
		csb.csb_atok = (uintptr_t)a_place(4096);
		csb.csb_ktoa = (uintptr_t)a_place(4096);
		memcpy(at, &csb, sizeof(csb));
		return;
	default: /* eventfds and the like: what lies there */
		memcpy(at, &opt, sizeof(opt));
		for (int i = 0; i < 16; i++)
			((uint32_t *)(at + sizeof(opt)))[i] = below(40);
	}
}

/* A chain, sometimes with a loop. */
static char *some_options(void)
{
	char *first = NULL, *last = NULL;

	if (one_in(2))
		return NULL;
	for (uint32_t n = below(5); n > 0; n--) {
		char *at = a_place(512);

		if (!is_in_arena(at, 512))
			return at;
		fill_option(at, first);
		first = at;
		last = last ? last : at;
	}
	if (last && one_in(10))
		((struct nmreq_option *)last)->nro_next = (uintptr_t)first;
	return first;
}

static void fill_register(struct nmreq_register *reg)
{
	static const uint64_t flags[] = {0, 0, NR_EXCLUSIVE, NR_MONITOR_TX, NR_MONITOR_RX,
		NR_ZCOPY_MON, NR_RX_RINGS_ONLY, NR_TX_RINGS_ONLY, NR_ACCEPT_VNET_HDR, NR_DO_RX_POLL,
		NR_NO_TX_POLL};

	memset(reg, 0, sizeof(*reg));
	reg->nr_mode = one_in(10) ? (uint32_t)nonsense() : 1 + below(8);
	for (int i = 0; i < 3; i++)
		reg->nr_flags |= flags[below(sizeof(flags) / sizeof(flags[0]))];
	if (one_in(20))
		reg->nr_flags = nonsense();
	reg->nr_ringid = one_in(3) ? (uint16_t)nonsense() : 0;
	reg->nr_mem_id = one_in(4) ? (uint16_t)below(5) : 0;
	reg->nr_tx_slots = one_in(3) ? (uint32_t)nonsense() : 64;
	reg->nr_rx_slots = one_in(3) ? (uint32_t)nonsense() : 64;
	reg->nr_tx_rings = one_in(4) ? (uint16_t)below(70) : 1;
	reg->nr_rx_rings = one_in(4) ? (uint16_t)below(70) : 1;
	reg->nr_host_tx_rings = one_in(8) ? (uint16_t)below(70) : 0;
	reg->nr_extra_bufs = one_in(4) ? (uint32_t)nonsense() : 0;
}

static void fill_body(uint16_t type, char *body)
{
	for (int i = 0; i < 32; i++)
		((uint32_t *)body)[i] = one_in(2) ? 0 : (uint32_t)nonsense();
	if (type == NETMAP_REQ_REGISTER || type == NETMAP_REQ_VALE_ATTACH)
		fill_register((struct nmreq_register *)body);
	else if (type == NETMAP_REQ_VALE_NEWIF)
		*(struct nmreq_vale_newif *)body = (struct nmreq_vale_newif){
			.nr_tx_rings = (uint16_t)below(4), .nr_rx_rings = (uint16_t)below(4)};
	else if (type == NETMAP_REQ_VALE_POLLING_ENABLE)
		*(struct nmreq_vale_polling *)body =
			(struct nmreq_vale_polling){.nr_mode = 1 + below(2),
				.nr_first_cpu_id = below(3),
				.nr_num_polling_cpus = 1 + below(2)};
	else if (type == NETMAP_REQ_SYNC_KLOOP_START)
		((struct nmreq_sync_kloop_start *)body)->sleep_us = below(1000);
}

static void send_request(int fd)
{
	static const uint16_t types[] = {NETMAP_REQ_REGISTER, NETMAP_REQ_REGISTER,
		NETMAP_REQ_REGISTER, NETMAP_REQ_REGISTER, NETMAP_REQ_PORT_INFO_GET,
		NETMAP_REQ_VALE_ATTACH, NETMAP_REQ_VALE_DETACH, NETMAP_REQ_VALE_LIST,
		NETMAP_REQ_PORT_HDR_SET, NETMAP_REQ_PORT_HDR_GET, NETMAP_REQ_VALE_NEWIF,
		NETMAP_REQ_VALE_DELIF, NETMAP_REQ_VALE_POLLING_ENABLE,
		NETMAP_REQ_VALE_POLLING_DISABLE, NETMAP_REQ_POOLS_INFO_GET,
		NETMAP_REQ_SYNC_KLOOP_START, NETMAP_REQ_SYNC_KLOOP_STOP, NETMAP_REQ_CSB_ENABLE};
	struct nmreq_header hdr = {.nr_version = NETMAP_API,
		.nr_reqtype = types[below(sizeof(types) / sizeof(types[0]))]};
	char *body = a_place(512);

	snprintf(hdr.nr_name, sizeof(hdr.nr_name), "%s", a_name());
	if (one_in(30))
		memset(hdr.nr_name, 'x', sizeof(hdr.nr_name)); /* without an end */
	if (one_in(20))
		hdr.nr_version = (uint16_t)nonsense();
	if (one_in(20))
		hdr.nr_reqtype = (uint16_t)nonsense();
	if (is_in_arena(body, 512))
		fill_body(hdr.nr_reqtype, body);
	hdr.nr_body = (uintptr_t)body;
	hdr.nr_options = (uintptr_t)some_options();
	(void)ioctl(fd, NIOCCTRL, one_in(50) ? (void *)(uintptr_t)nonsense() : &hdr);
}

static void send_legacy(int fd)
{
	struct nmreq nmr;

	for (size_t i = 0; i < sizeof(nmr); i++)
		((char *)&nmr)[i] = (char)(one_in(3) ? below(256) : 0);
	snprintf(nmr.nr_name, sizeof(nmr.nr_name), "%s", a_name());
	nmr.nr_version = one_in(5) ? below(20) : 11 + below(4);
	nmr.nr_cmd = one_in(2) ? 0 : (uint16_t)below(20);
	nmr.nr_flags = one_in(2) ? 1 + below(8) : (uint32_t)nonsense();
	(void)ioctl(fd, one_in(3) ? NIOCGINFO : NIOCREGIF,
		one_in(50) ? (void *)(uintptr_t)nonsense() : &nmr);
}

static void send_random_bytes(int fd)
{
	static const unsigned long commands[] = {
		NIOCCTRL, NIOCREGIF, NIOCGINFO, NIOCCONFIG, NIOCTXSYNC, NIOCRXSYNC};
	char *at = a_place(1024);

	for (int i = 0; i < 1024 && is_in_arena(at, 1024); i++)
		at[i] = (char)below(256);
	(void)ioctl(fd, one_in(4) ? (unsigned long)nonsense() : commands[below(6)], at);
}

/* ---- files ----------------------------------------------------------------------------- */

static int files[FILES];

static void close_file(int i)
{
	if (files[i] >= 0)
		close(files[i]);
	files[i] = -1;
}

static void send_file(int fd)
{
	union {
		char space[CMSG_SPACE(sizeof(int))];
		struct cmsghdr align;
	} control = {0};
	struct iovec iov = {.iov_base = "x", .iov_len = 1};
	struct msghdr msg = {.msg_iov = &iov,
		.msg_iovlen = 1,
		.msg_control = control.space,
		.msg_controllen = sizeof(control.space)};
	struct cmsghdr *cmsg = CMSG_FIRSTHDR(&msg);

	cmsg->cmsg_level = SOL_SOCKET;
	cmsg->cmsg_type = SCM_RIGHTS;
	cmsg->cmsg_len = CMSG_LEN(sizeof(int));
	memcpy(CMSG_DATA(cmsg), &fd, sizeof(int));
	(void)sendmsg(post[0], &msg, MSG_DONTWAIT);
}

static int receive_file(void)
{
	union {
		char space[CMSG_SPACE(sizeof(int))];
		struct cmsghdr align;
	} control;
	char byte;
	struct iovec iov = {.iov_base = &byte, .iov_len = 1};
	struct msghdr msg = {.msg_iov = &iov,
		.msg_iovlen = 1,
		.msg_control = control.space,
		.msg_controllen = sizeof(control.space)};
	struct cmsghdr *cmsg;
	int fd = -1;

	if (recvmsg(post[1], &msg, MSG_DONTWAIT | MSG_CMSG_CLOEXEC) <= 0)
		return -1;
	cmsg = CMSG_FIRSTHDR(&msg);
	if (cmsg && cmsg->cmsg_type == SCM_RIGHTS)
		memcpy(&fd, CMSG_DATA(cmsg), sizeof(int));
	return fd;
}

static void poll_file(int fd)
{
	struct pollfd pfd = {.fd = fd, .events = (short)below(0x40)};
	struct epoll_event event = {.events = below(2) ? EPOLLIN | EPOLLOUT | EPOLLET : EPOLLIN};
	int set = -1;

	if (one_in(2)) {
		(void)poll(&pfd, 1, (int)below(5));
		return;
	}
	set = epoll_create1(EPOLL_CLOEXEC);
	(void)epoll_ctl(set, EPOLL_CTL_ADD, fd, &event);
	(void)epoll_wait(set, &event, 1, (int)below(3));
	close(set);
}

/* ---- mappings -------------------------------------------------------------------------- */

static struct {
	char *at;
	size_t bytes;
} maps[MAPS];

static sigjmp_buf fault;

static void on_fault(int signo)
{
	siglongjmp(fault, signo);
}

static void unmap(int i)
{
	size_t bytes = maps[i].bytes;

	if (!maps[i].at)
		return;
	if (one_in(4) && bytes > 8192) { /* a hole first */
		(void)munmap(maps[i].at + 4096, 4096);
		(void)madvise(maps[i].at, bytes, MADV_DONTNEED);
	}
	(void)munmap(maps[i].at, bytes);
	maps[i].at = NULL;
}

static void map_file(int i, int fd)
{
	size_t bytes = one_in(3) ? (size_t)nonsense() : 4096UL * (1 + below(8192));
	off_t offset = one_in(2) ? 0 : one_in(3) ? (off_t)nonsense() : 4096L * below(8192);
	int prot = one_in(3) ? PROT_READ : PROT_READ | PROT_WRITE | (one_in(20) ? PROT_EXEC : 0);
	void *at;

	if (bytes > 1UL << 40)
		bytes = 1UL << 40;
	unmap(i);
	at = mmap(NULL, bytes, prot,
		(one_in(10) ? MAP_PRIVATE : MAP_SHARED) | (one_in(20) ? MAP_POPULATE : 0), fd,
		offset);
	if (at == MAP_FAILED)
		return;
	maps[i].at = at;
	maps[i].bytes = bytes;
	if (one_in(10)) {
		void *moved = mremap(at, bytes, bytes / 2 + 4096, MREMAP_MAYMOVE);

		if (moved != MAP_FAILED) {
			maps[i].at = moved;
			maps[i].bytes = bytes / 2 + 4096;
		}
	}
	if (one_in(10))
		(void)mprotect(maps[i].at, maps[i].bytes, PROT_READ | PROT_WRITE);
}

/* Random words in the first part of the region, where netmap_if and rings lie, and anywhere. */
static void scribble(int i)
{
	size_t bytes = maps[i].bytes;

	if (!maps[i].at || bytes < 8 || sigsetjmp(fault, 1) != 0)
		return;
	for (int n = 0; n < 200; n++) {
		size_t at = (one_in(2) ? below(1 << 20) : (uint64_t)below(1u << 31)) % (bytes - 7);

		if (one_in(3))
			(void)*(volatile uint32_t *)(maps[i].at + at);
		else
			*(volatile uint32_t *)(maps[i].at + (at & ~3ul)) = (uint32_t)nonsense();
	}
}

/* ---- processes ------------------------------------------------------------------------- */

static void one_thing(void);

/* A child with all that is open, for a moment. Loops of the kernel run in one: they don't come back. */
static void fork_child(void)
{
	pid_t child = fork();

	if (child == 0) {
		(void)prctl(PR_SET_PDEATHSIG, SIGKILL);
		state ^= (uint64_t)getpid() << 20;
		alarm(1);
		for (uint32_t n = below(10); n > 0; n--)
			one_thing();
		_exit(0);
	}
	if (child > 0 && one_in(3))
		(void)kill(child, SIGKILL);
	if (child > 0)
		(void)waitpid(child, NULL, 0);
}

static void in_a_namespace(void)
{
	pid_t child = fork();

	if (child == 0) {
		(void)prctl(PR_SET_PDEATHSIG, SIGKILL);
		alarm(2);
		if (unshare(CLONE_NEWNET | (one_in(2) ? CLONE_NEWUSER : 0)) == 0)
			for (uint32_t n = 5 + below(20); n > 0; n--)
				one_thing();
		_exit(0);
	}
	if (child > 0)
		(void)waitpid(child, NULL, 0);
}

/* ---- what takes long ------------------------------------------------------------------- */

enum { LARGE_RINGS = 2, LARGE_SLOTS = 16384, MOMENT_MS = 40 };

/* What takes long, how often it was done, and how often whoever did it was killed before. */
enum { OPENED, TAKEN_OFF, TASKS };

struct done {
	uint32_t whole, killed;
};

static struct done *done; /* of each task, by all processes */

/* Small buffers: a large port is some 5 MiB then. Others get them, too. The module may be gone. */
static void set_buf_size(const char *bytes)
{
	int fd = open("/sys/module/netmap/parameters/priv_buf_size", O_WRONLY | O_CLOEXEC);

	if (fd >= 0 && write(fd, bytes, strlen(bytes)) < 0) {
		/* then they are large */
	}
	if (fd >= 0)
		close(fd);
}

static bool open_large(const char *name)
{
	struct nmreq_register reg = {.nr_mode = NR_REG_ALL_NIC,
		.nr_tx_slots = LARGE_SLOTS,
		.nr_rx_slots = LARGE_SLOTS,
		.nr_tx_rings = LARGE_RINGS,
		.nr_rx_rings = LARGE_RINGS};

	return request(open("/dev/netmap", O_RDWR | O_CLOEXEC), NETMAP_REQ_REGISTER, name, &reg,
		       NULL) == 0;
}

static bool attach(int fd, const char *name)
{
	struct nmreq_vale_attach body = {.reg = {.nr_mode = NR_REG_ALL_NIC}};

	return request(fd, NETMAP_REQ_VALE_ATTACH, name, &body, NULL) == 0;
}

/* Of two switches: it is put back on the other one. */
static bool take_off(const char *name)
{
	struct nmreq_vale_detach body = {0};

	return request(open("/dev/netmap", O_RDWR | O_CLOEXEC), NETMAP_REQ_VALE_DETACH, name, &body,
		       NULL) == 0;
}

static pid_t begin_task(uint32_t task, bool (*does)(const char *name), const char *name)
{
	uint32_t failing = one_in(4) ? 1 + below(60) : 0;
	pid_t child = fork();

	if (child == 0) {
		(void)prctl(PR_SET_PDEATHSIG, SIGKILL);
		alarm(10);
		fail_allocation(failing);
		if (does(name))
			__atomic_fetch_add(&done[task].whole, 1, __ATOMIC_RELAXED);
		_exit(0);
	}
	return child;
}

static void end_task(uint32_t task, pid_t child)
{
	int status;

	if (child > 0 && one_in(2))
		(void)kill(child, SIGKILL);
	if (child > 0 && waitpid(child, &status, 0) == child && WIFSIGNALED(status))
		__atomic_fetch_add(&done[task].killed, 1, __ATOMIC_RELAXED);
}

static void pass_a_moment(void)
{
	struct timespec moment = {.tv_nsec = (long)below(MOMENT_MS) * 1000000};

	nanosleep(&moment, NULL);
}

/* Two want the same port, or the two ends of a pipe. */
static void open_large_ports(void)
{
	bool pipe = one_in(3);
	pid_t first, second;

	set_buf_size("64");
	first = begin_task(OPENED, open_large, pipe ? "large{1" : "valea:large");
	second = begin_task(OPENED, open_large, pipe ? "large}1" : "valea:large");
	pass_a_moment();
	end_task(OPENED, first);
	end_task(OPENED, second);
	set_buf_size("0");
}

static void take_off_a_switch(void)
{
	struct nmreq_vale_newif newif = {.nr_tx_rings = 1, .nr_rx_rings = 1};
	int fd = open("/dev/netmap", O_RDWR | O_CLOEXEC);

	(void)request(fd, NETMAP_REQ_VALE_NEWIF, "nmp1", &newif, NULL);
	(void)attach(fd, "valea:nmp1");
	if (attach(fd, "valeb:nmp1")) {
		pid_t child = begin_task(TAKEN_OFF, take_off, "valea:nmp1");

		pass_a_moment();
		end_task(TAKEN_OFF, child);
		(void)take_off("valeb:nmp1");
	}
	if (fd >= 0)
		close(fd);
}

static void one_thing(void)
{
	int i = (int)below(FILES), map = (int)below(MAPS), fd = files[i];

	bool failing = one_in(6);

	if (failing)
		fail_allocation(1 + below(30));
	if (fd >= 0 && (failing || one_in(4)))
		send_request(fd);
	if (failing)
		fail_allocation(0);
	if (fd < 0) {
		files[i] = one_in(8) ? receive_file() : open("/dev/netmap", O_RDWR | O_CLOEXEC);
		return;
	}
	switch (below(20)) {
	case 0 ... 4:
		send_request(fd);
		break;
	case 5:
		send_legacy(fd);
		break;
	case 6:
		send_random_bytes(fd);
		break;
	case 7 ... 8:
		(void)ioctl(fd, one_in(2) ? NIOCTXSYNC : NIOCRXSYNC, 0);
		break;
	case 9:
		poll_file(fd);
		break;
	case 10 ... 11:
		map_file(map, fd);
		break;
	case 12 ... 13:
		scribble(map);
		break;
	case 14:
		unmap(map);
		break;
	case 15:
		send_file(fd);
		break;
	case 16: {
		int copy = dup(fd);

		close_file(i);
		files[i] = copy;
		break;
	}
	case 17:
		if (one_in(3))
			fork_child();
		else if (one_in(5))
			in_a_namespace();
		else if (one_in(3))
			open_large_ports();
		else if (one_in(2))
			take_off_a_switch();
		break;
	default:
		close_file(i);
	}
}

/* Some do nothing but what takes long: a slow kernel hardly comes to it otherwise. */
static void things(void)
{
	bool long_ones = one_in(8);

	for (int n = 0; n < THINGS; n++) {
		if (!long_ones)
			one_thing();
		else if (one_in(2))
			open_large_ports();
		else
			take_off_a_switch();
	}
}

static void __attribute__((noreturn)) process(uint64_t seed)
{
	struct sigaction act = {.sa_handler = on_fault, .sa_flags = SA_NODEFER};

	state = seed;
	(void)prctl(PR_SET_PDEATHSIG, SIGKILL);
	(void)sigaction(SIGSEGV, &act, NULL);
	(void)sigaction(SIGBUS, &act, NULL);
	for (int i = 0; i < FILES; i++)
		files[i] = -1;
	/* With a page behind it that nobody may use: `done` would be next. */
	arena = mmap(NULL, ARENA + 4096, PROT_NONE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	CHECK(arena != MAP_FAILED);
	CHECK(mprotect(arena, ARENA, PROT_READ | PROT_WRITE) == 0);
	alarm(20); /* one in a loop of the kernel's, or asleep */
	things();
	_exit(0);
}

static bool all_tasks_were_done(void)
{
	for (uint32_t task = 0; task < TASKS; task++)
		if (!__atomic_load_n(&done[task].whole, __ATOMIC_RELAXED) || !done[task].killed)
			return false;
	return true;
}

int main(int argc, char **argv)
{
	uint32_t processes, rounds, ended = 0, killed = 0;
	pid_t pids[PROCESSES_MAX] = {0};
	uint64_t seed;
	time_t end;

	if (argc < 4) {
		fprintf(stderr, "usage: nmabuse SECONDS PROCESSES SEED [ROUNDS]\n");
		return 2;
	}
	processes = (uint32_t)atoi(argv[2]);
	seed = strtoull(argv[3], NULL, 0);
	rounds = argc > 4 ? (uint32_t)atoi(argv[4]) : UINT32_MAX;
	CHECK(processes > 0 && processes <= PROCESSES_MAX);
	done = mmap(NULL, TASKS * sizeof(*done), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS,
		-1, 0);
	CHECK(done != MAP_FAILED);
	CHECK(socketpair(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0, post) == 0);
	printf("seed %llu\n", (unsigned long long)seed);
	fflush(stdout);
	state = seed;
	end = time(NULL) + atoi(argv[1]);
	while ((ended < rounds || !all_tasks_were_done()) && time(NULL) < end) {
		uint32_t i = below(processes);
		struct timespec moment = {.tv_nsec = (long)below(50) * 1000000};

		if (pids[i] == 0) {
			uint64_t own = ((uint64_t)below(UINT32_MAX) << 32) | below(UINT32_MAX);

			pids[i] = fork();
			CHECK(pids[i] >= 0);
			if (pids[i] == 0)
				process(own);
		}
		if (one_in(20) && kill(pids[i], SIGKILL) == 0)
			killed++;
		nanosleep(&moment, NULL);
		for (i = 0; i < processes; i++) {
			if (pids[i] > 0 && waitpid(pids[i], NULL, WNOHANG) == pids[i]) {
				pids[i] = 0;
				ended++;
				set_buf_size(
					"0"); /* whoever wanted small ones may have been killed */
			}
		}
		while (one_in(50)) { /* files that nobody fetched */
			int fd = receive_file();

			if (fd < 0)
				break;
			close(fd);
		}
	}
	for (uint32_t i = 0; i < processes; i++) {
		if (pids[i] > 0) {
			(void)kill(pids[i], SIGKILL);
			(void)waitpid(pids[i], NULL, 0);
		}
	}
	printf("%u processes, %u killed; large ports: %u opened, %u killed before; off a switch: %u, %u killed before\nok\n",
		ended, killed, done[OPENED].whole, done[OPENED].killed, done[TAKEN_OFF].whole,
		done[TAKEN_OFF].killed);
	return 0;
}
