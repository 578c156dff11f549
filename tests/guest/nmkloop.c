/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * nmkloop - checks of /dev/netmap in CSB mode, on external memory, and of files in epoll sets, from
 * inside a guest.
 *
 *	nmkloop CHECK [ARGUMENT...]
 *
 * As nmcheck: prints "ok" and exits with 0 when the check held; else one line that says what did
 * not, and 1.
 *
 * Thread safety: a program; threads that it starts are joined before it ends.
 */
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <linux/capability.h>

#include "guestprog.h"

enum {
	WAIT_MS = 180000, /* for what must happen: only a failure takes that long */
	PACKETS = 100,
	LEN = 60,
	STRAY = 1000000, /* number of a packet that nobody waits for */
};

/* ---- ports ----------------------------------------------------------------------------- */

struct port {
	int fd;
	char *mem;
	uint64_t size;
	struct netmap_if *nifp;
	struct netmap_ring *tx, *rx; /* ring 0 of each */
	/* CSB mode */
	struct nm_csb_atok *atok;
	struct nm_csb_ktoa *ktoa;
	int io[2], irq[2];
};

static void find_rings(struct port *p, const struct nmreq_register *reg)
{
	p->size = reg->nr_memsize;
	p->mem = map_region(p->fd, p->size);
	p->nifp = NETMAP_IF(p->mem, reg->nr_offset);
	p->tx = NETMAP_TXRING(p->nifp, 0);
	p->rx = NETMAP_RXRING(p->nifp, 0);
}

static struct port open_port(const char *name, uint64_t flags, void *options)
{
	struct nmreq_register reg = {.nr_mode = NR_REG_ALL_NIC, .nr_flags = flags};
	struct port p = {.fd = open_dev()};

	register_port(p.fd, name, &reg, options);
	find_rings(&p, &reg);
	return p;
}

static void close_port(struct port *p)
{
	CHECK(munmap(p->mem, p->size) == 0);
	CHECK(close(p->fd) == 0);
	free(p->atok);
}

/* The arrays of CSB mode, two entries each, in memory of this program. */
static struct nmreq_opt_csb new_csb(struct port *p)
{
	struct nmreq_opt_csb opt = {.nro_opt.nro_reqtype = NETMAP_REQ_OPT_CSB};

	p->atok = aligned_alloc(64, 4 * sizeof(*p->atok));
	CHECK(p->atok);
	memset(p->atok, 0xff, 4 * sizeof(*p->atok));
	p->ktoa = (struct nm_csb_ktoa *)(p->atok + 2);
	opt.csb_atok = (uintptr_t)p->atok;
	opt.csb_ktoa = (uintptr_t)p->ktoa;
	return opt;
}

static struct port open_csb(const char *name)
{
	struct port p = open_port(name, NR_EXCLUSIVE, NULL);
	struct nmreq_opt_csb opt = new_csb(&p);

	CHECK(request(p.fd, NETMAP_REQ_CSB_ENABLE, name, NULL, &opt) == 0);
	CHECK(opt.nro_opt.nro_status == 0);
	CHECK(p.atok[0].head == 0 && p.atok[0].cur == 0 && p.ktoa[0].hwcur == 0);
	CHECK(p.ktoa[0].hwtail == p.tx->num_slots - 1 && p.ktoa[1].hwtail == 0);
	for (int i = 0; i < 2; i++)
		CHECK((p.io[i] = eventfd(0, 0)) >= 0 && (p.irq[i] = eventfd(0, 0)) >= 0);
	return p;
}

static void put(const struct port *p, uint32_t slot, uint32_t number)
{
	struct netmap_slot *s = &p->tx->slot[slot];
	char *buf = NETMAP_BUF(p->tx, s->buf_idx);

	memset(buf, 0xff, 6);
	memset(buf + 6, 0x02, 6);
	memset(buf + 12, 0, LEN - 12);
	memcpy(buf + 14, &number, sizeof(number));
	s->len = LEN;
	s->flags = 0;
}

static uint32_t number_of(const struct port *p, uint32_t slot)
{
	const struct netmap_slot *s = &p->rx->slot[slot];
	uint32_t number;

	CHECK(s->len == LEN);
	memcpy(&number, NETMAP_BUF(p->rx, s->buf_idx) + 14, sizeof(number));
	return number;
}

static void wait_for(struct port *p, short events)
{
	struct pollfd pfd = {.fd = p->fd, .events = events};

	CHECK(poll(&pfd, 1, WAIT_MS) == 1 && pfd.revents == events);
}

static void send_plain(struct port *p, uint32_t number)
{
	wait_for(p, POLLOUT);
	put(p, p->tx->head, number);
	p->tx->head = p->tx->cur = nm_ring_next(p->tx, p->tx->head);
	CHECK(ioctl(p->fd, NIOCTXSYNC) == 0);
}

static void receive_plain(struct port *p, uint32_t number)
{
	wait_for(p, POLLIN);
	CHECK(number_of(p, p->rx->head) == number);
	p->rx->head = p->rx->cur = nm_ring_next(p->rx, p->rx->head);
}

/* ---- the loop -------------------------------------------------------------------------- */

struct mode {
	const char *name;
	uint32_t sleep_us;
	bool eventfds, no_irq, one_missing;
	uint32_t mode;
};

static const struct mode modes[] = {
	{"busy", 0, false, false, false, 0},
	{"sleep", 500, false, false, false, 0},
	{"eventfds", 0, true, false, false, 0},
	{"no-irq", 0, true, true, false, 0},
	{"one-missing", 100, true, false, true, 0},
	{"direct-tx", 0, true, false, false, NM_OPT_SYNC_KLOOP_DIRECT_TX},
	{"direct-rx", 0, true, false, false, NM_OPT_SYNC_KLOOP_DIRECT_RX},
	{"direct", 0, true, false, false,
		NM_OPT_SYNC_KLOOP_DIRECT_TX | NM_OPT_SYNC_KLOOP_DIRECT_RX},
};
enum { MODES = sizeof(modes) / sizeof(modes[0]) };

struct loop {
	struct port *p;
	const struct mode *mode;
	pthread_t thread;
	int result; /* 0 or errno */
};

static int start_loop(struct port *p, const struct mode *mode)
{
	struct nmreq_sync_kloop_start start = {.sleep_us = mode->sleep_us};
	struct nmreq_opt_sync_kloop_mode how = {
		.nro_opt.nro_reqtype = NETMAP_REQ_OPT_SYNC_KLOOP_MODE, .mode = mode->mode};
	struct {
		struct nmreq_option nro_opt;
		int32_t fds[4];
	} fds = {{.nro_next = (uintptr_t)&how,
			 .nro_reqtype = NETMAP_REQ_OPT_SYNC_KLOOP_EVENTFDS,
			 .nro_size = sizeof(fds)},
		{p->io[0], p->irq[0], mode->one_missing ? -1 : p->io[1], p->irq[1]}};

	if (mode->no_irq)
		fds.fds[1] = fds.fds[3] = -1;
	return request(
		p->fd, NETMAP_REQ_SYNC_KLOOP_START, "", &start, mode->eventfds ? &fds : NULL);
}

static void *loop_thread(void *arg)
{
	struct loop *loop = arg;

	loop->result = start_loop(loop->p, loop->mode) ? errno : 0;
	return NULL;
}

static void begin(struct loop *loop, struct port *p, const struct mode *mode)
{
	loop->p = p;
	loop->mode = mode;
	CHECK(pthread_create(&loop->thread, NULL, loop_thread, loop) == 0);
}

static void end(struct loop *loop, int result)
{
	CHECK(pthread_join(loop->thread, NULL) == 0);
	if (loop->result != result)
		fail("the loop ended with %d, not %d", loop->result, result);
}

static void stop(struct port *p)
{
	CHECK(request(p->fd, NETMAP_REQ_SYNC_KLOOP_STOP, "", NULL, NULL) == 0);
}

/* The application's side of one ring: publishes head, kicks where that is wanted. */
static void publish(struct port *p, int ring, uint32_t head)
{
	uint64_t one = 1;

	__atomic_store_n(&p->atok[ring].cur, head, __ATOMIC_RELEASE);
	__atomic_store_n(&p->atok[ring].head, head, __ATOMIC_RELEASE);
	__atomic_thread_fence(__ATOMIC_SEQ_CST);
	if (__atomic_load_n(&p->ktoa[ring].kern_need_kick, __ATOMIC_RELAXED))
		CHECK(write(p->io[ring], &one, sizeof(one)) == sizeof(one));
}

/* Until hwtail is not at `tail` any more; asleep on the irqfd if there is one. */
static uint32_t wait_tail(struct port *p, int ring, uint32_t tail, bool irq)
{
	struct pollfd pfd = {.fd = p->irq[ring], .events = POLLIN};
	uint64_t count;

	for (int tries = 0;; tries++) {
		uint32_t now = __atomic_load_n(&p->ktoa[ring].hwtail, __ATOMIC_ACQUIRE);

		if (now != tail)
			return now;
		CHECK(tries < WAIT_MS);
		if (!irq) {
			usleep(1000);
			continue;
		}
		__atomic_store_n(&p->atok[ring].appl_need_kick, 1, __ATOMIC_RELAXED);
		__atomic_thread_fence(__ATOMIC_SEQ_CST);
		if (__atomic_load_n(&p->ktoa[ring].hwtail, __ATOMIC_ACQUIRE) == tail) {
			CHECK(poll(&pfd, 1, WAIT_MS) == 1);
			CHECK(read(p->irq[ring], &count, sizeof(count)) == sizeof(count));
		}
		__atomic_store_n(&p->atok[ring].appl_need_kick, 0, __ATOMIC_RELAXED);
	}
}

static void exchange(struct port *p, struct port *other, const struct mode *mode, uint32_t count)
{
	uint32_t tx = p->atok[0].head, rx = p->atok[1].head, number;

	for (uint32_t i = 0; i < count; i++) {
		put(p, tx, i);
		tx = nm_ring_next(p->tx, tx);
		publish(p, 0, tx);
		receive_plain(other, i);
		send_plain(other, i);
		do {
			wait_tail(p, 1, rx, mode->eventfds && !mode->no_irq);
			number = number_of(p, rx);
			rx = nm_ring_next(p->rx, rx);
		} while (number == STRAY);
		CHECK(number == i);
		publish(p, 1, rx);
	}
}

static void check_modes(char **args)
{
	struct port other = open_port("valekl:other", 0, NULL);

	for (int i = 0; i < MODES; i++) {
		struct port p = open_csb("valekl:csb");
		struct loop loop;

		if (args[0] && strcmp(args[0], modes[i].name) != 0) {
			close_port(&p);
			continue;
		}
		for (int again = 0; again < 2; again++) { /* it goes on where it was */
			begin(&loop, &p, &modes[i]);
			exchange(&p, &other, &modes[i], PACKETS);
			stop(&p);
			end(&loop, 0);
		}
		close_port(&p);
		printf("%s ", modes[i].name);
		fflush(stdout);
	}
	say("");
	close_port(&other);
}

/* More than the rings hold, in one go, so that the loop sleeps on a ring that is full. */
static void check_overload(char **args)
{
	struct port other = open_port("valeko:other", 0, NULL);

	for (int i = 2; i < MODES; i++) {
		struct port p = open_csb("valeko:csb");
		uint32_t tx = 0, sent = 0, received = 0;
		struct loop loop;

		if (modes[i].no_irq) {
			close_port(&p);
			continue;
		}
		begin(&loop, &p, &modes[i]);
		while (sent < 3 * p.tx->num_slots) {
			uint32_t tail = __atomic_load_n(&p.ktoa[0].hwtail, __ATOMIC_ACQUIRE);

			if (tx == tail) {
				wait_tail(&p, 0, tail, true);
				continue;
			}
			for (; tx != tail; tx = nm_ring_next(p.tx, tx))
				put(&p, tx, sent++);
			publish(&p, 0, tx);
		}
		while (received < other.rx->num_slots - 1) { /* the rest was dropped, and counted */
			wait_for(&other, POLLIN);
			received += nm_ring_space(other.rx);
			other.rx->head = other.rx->cur = other.rx->tail;
		}
		stop(&p);
		end(&loop, 0);
		CHECK(ioctl(other.fd, NIOCRXSYNC) == 0);
		other.rx->head = other.rx->cur = other.rx->tail;
		CHECK(ioctl(other.fd, NIOCRXSYNC) == 0);
		close_port(&p);
	}
	close_port(&other);
}

static void check_errors(char **args)
{
	struct port p = open_csb("valeke:csb"), plain = open_port("valeke:plain", 0, NULL);
	struct port shared = open_port("valeke:other", NR_EXCLUSIVE, NULL);
	struct nmreq_opt_csb opt = new_csb(&shared);
	struct pollfd pfd = {.fd = p.fd, .events = POLLIN | POLLOUT};
	struct loop loop;

	CHECK_ERRNO(start_loop(&plain, &modes[1]), EINVAL); /* no CSB */
	CHECK_ERRNO(ioctl(p.fd, NIOCTXSYNC), EBUSY);
	CHECK_ERRNO(ioctl(p.fd, NIOCRXSYNC), EBUSY);
	CHECK(poll(&pfd, 1, WAIT_MS) == 1 && pfd.revents == POLLERR);
	CHECK_ERRNO(request(p.fd, NETMAP_REQ_CSB_ENABLE, "", NULL, &opt), EBUSY);
	CHECK(opt.nro_opt.nro_status == EBUSY);
	opt.csb_ktoa = 0x10000; /* nothing is mapped there */
	CHECK_ERRNO(request(shared.fd, NETMAP_REQ_CSB_ENABLE, "", NULL, &opt), EFAULT);
	opt.csb_ktoa = (uintptr_t)shared.mem; /* its own region will do */
	CHECK(request(shared.fd, NETMAP_REQ_CSB_ENABLE, "", NULL, &opt) == 0);

	for (int i = 0; i < MODES; i++) {
		begin(&loop, &p, &modes[i]);
		exchange(&p, &plain, &modes[i], 1); /* it runs: it is not to be the second one */
		if (start_loop(&p, &modes[i]) == 0 || errno != EBUSY)
			fail("a second loop: errno %d", errno);
		stop(&p);
		end(&loop, 0);
		stop(&p); /* none runs: the next ends at once */
		CHECK(start_loop(&p, &modes[i]) == 0);
	}
	p.io[0] = plain.fd; /* no eventfd */
	CHECK_ERRNO(start_loop(&p, &modes[2]), EBADF);
	p.io[0] = 1000;
	CHECK_ERRNO(start_loop(&p, &modes[2]), EBADF);
	close_port(&shared);
	close_port(&plain);
	close_port(&p);
}

/* An illegal index stops its ring; the loop ends with the last one, and can be started anew. */
static void check_illegal(char **args)
{
	struct port other = open_port("valeki:other", 0, NULL);

	for (int i = 0; i < MODES; i++) {
		struct port p = open_csb("valeki:csb");
		struct loop loop;

		begin(&loop, &p, &modes[i]);
		exchange(&p, &other, &modes[i], 5);
		publish(&p, 0, 1u << 31);
		publish(&p, 1, p.rx->num_slots);
		send_plain(&other, STRAY); /* there are no kicks for rx slots that are not missed */
		end(&loop, EINVAL);
		begin(&loop, &p, &modes[i]); /* puts the indices back */
		for (int ring = 0; ring < 2; ring++)
			while (__atomic_load_n(&p.atok[ring].head, __ATOMIC_ACQUIRE) >=
				p.tx->num_slots)
				usleep(1000);
		publish(&p, 1, p.ktoa[1].hwtail); /* what had come, once more: for nothing */
		exchange(&p, &other, &modes[i], 5);
		stop(&p);
		end(&loop, 0);
		close_port(&p);
	}
	close_port(&other);
}

/* ---- signals --------------------------------------------------------------------------- */

static volatile sig_atomic_t handled;
static bool out; /* START has returned */

static void handler(int signo)
{
	handled++;
}

static void *nudge(void *arg)
{
	pthread_t *to = arg;

	usleep(200000);
	CHECK(pthread_kill(*to, SIGUSR1) == 0);
	return NULL;
}

/* A signal that comes before START does not interrupt it: the next one may. */
static void *nudge_out(void *arg)
{
	pthread_t *to = arg;

	nudge(arg);
	for (usleep(20000); !__atomic_load_n(&out, __ATOMIC_ACQUIRE); usleep(20000))
		CHECK(pthread_kill(*to, SIGUSR1) == 0);
	return NULL;
}

static void *stop_later(void *arg)
{
	while (!handled)
		usleep(10000);
	usleep(100000);
	stop(arg);
	return NULL;
}

/* With a handler the call is interrupted, or restarted if the handler was set up that way. */
static void check_signal(char **args)
{
	struct sigaction action = {.sa_handler = handler};
	struct port p = open_csb("valeks:csb");
	pthread_t self = pthread_self(), helper, stopper;

	for (int i = 0; i < MODES; i++) {
		action.sa_flags = 0;
		handled = 0;
		CHECK(sigaction(SIGUSR1, &action, NULL) == 0);
		__atomic_store_n(&out, false, __ATOMIC_RELAXED);
		CHECK(pthread_create(&helper, NULL, nudge_out, &self) == 0);
		CHECK_ERRNO(start_loop(&p, &modes[i]), EINTR);
		__atomic_store_n(&out, true, __ATOMIC_RELEASE);
		CHECK(pthread_join(helper, NULL) == 0 && handled >= 1);
		action.sa_flags = SA_RESTART;
		handled = 0;
		CHECK(sigaction(SIGUSR1, &action, NULL) == 0);
		CHECK(pthread_create(&helper, NULL, nudge, &self) == 0);
		CHECK(pthread_create(&stopper, NULL, stop_later, &p) == 0);
		CHECK(start_loop(&p, &modes[i]) == 0);
		CHECK(pthread_join(helper, NULL) == 0 && pthread_join(stopper, NULL) == 0);
	}
	close_port(&p);
}

/* Stays in the loop, in the mode with this name, until it is killed. */
static void check_stay(char **args)
{
	struct port p = open_csb(args[0]);

	for (int i = 0; i < MODES; i++) {
		if (strcmp(args[1], modes[i].name) == 0) {
			say("ready");
			fail("the loop ended: %d, errno %d", start_loop(&p, &modes[i]), errno);
		}
	}
	fail("no mode %s", args[1]);
}

/* ---- external memory ------------------------------------------------------------------- */

enum { EXT_BYTES = 8 << 20 };

static struct port open_extmem(const char *name, void *mem, uint64_t bytes)
{
	struct nmreq_register reg = {
		.nr_mode = NR_REG_ALL_NIC, .nr_tx_slots = 128, .nr_rx_slots = 128};
	struct nmreq_opt_extmem opt = {.nro_opt.nro_reqtype = NETMAP_REQ_OPT_EXTMEM,
		.nro_usrptr = (uintptr_t)mem,
		.nro_info.nr_memsize = bytes};
	struct port p = {.fd = open_dev()};

	register_port(p.fd, name, &reg, &opt);
	CHECK(opt.nro_opt.nro_status == 0 && opt.nro_info.nr_memsize == bytes);
	CHECK(reg.nr_memsize == bytes && opt.nro_info.nr_buf_pool_objtotal >= 256);
	find_rings(&p, &reg);
	return p;
}

/* The application's memory is the region: what one sees the other does. */
static void use_extmem(char *mem, struct port *other)
{
	struct port p = open_extmem("valex:ext", mem, EXT_BYTES);
	int status;
	pid_t pid;

	CHECK(memcmp(mem, p.mem, 65536) == 0);
	for (uint64_t at = 4096; at < p.size; at += 4096)
		(void)*(volatile char *)(p.mem + at);
	for (uint32_t i = 0; i < 300; i++) {
		send_plain(&p, i);
		receive_plain(other, i);
		send_plain(other, i);
		receive_plain(&p, i);
	}
	pid = fork(); /* another process, through the file */
	CHECK(pid >= 0);
	if (pid == 0) {
		char *again = mmap(NULL, p.size, PROT_READ | PROT_WRITE, MAP_SHARED, p.fd, 0);

		CHECK(again != MAP_FAILED);
		again[p.size - 1] = 77;
		_exit(munmap(again, p.size) != 0);
	}
	CHECK(waitpid(pid, &status, 0) == pid && status == 0);
	CHECK(mem[EXT_BYTES - 1] == 77);
	close_port(&p);
	memset(mem, 0, EXT_BYTES); /* still the application's */
}

static void check_extmem(char **args)
{
	static const int flags[] = {MAP_SHARED | MAP_ANONYMOUS, MAP_PRIVATE | MAP_ANONYMOUS,
		MAP_PRIVATE | MAP_ANONYMOUS | MAP_HUGETLB};
	struct port other = open_port("valex:other", 0, NULL);
	struct nmreq_register reg = {.nr_mode = NR_REG_ALL_NIC};
	struct nmreq_opt_extmem opt = {.nro_opt.nro_reqtype = NETMAP_REQ_OPT_EXTMEM,
		.nro_usrptr = 0x10000,
		.nro_info.nr_memsize = EXT_BYTES};
	struct port p;
	char *mem;
	int fd;

	for (unsigned i = 0; i < sizeof(flags) / sizeof(flags[0]); i++) {
		mem = mmap(NULL, EXT_BYTES, PROT_READ | PROT_WRITE, flags[i], -1, 0);
		if (mem == MAP_FAILED && (flags[i] & MAP_HUGETLB))
			fail("no huge pages: write 8 to /proc/sys/vm/nr_hugepages");
		CHECK(mem != MAP_FAILED);
		use_extmem(mem, &other);
		use_extmem(mem, &other);
		CHECK(munmap(mem, EXT_BYTES) == 0);
	}
	/* Unmapped while it is used: the pages stay where they are. */
	mem = mmap(NULL, EXT_BYTES, PROT_READ | PROT_WRITE, flags[0], -1, 0);
	CHECK(mem != MAP_FAILED);
	p = open_extmem("valex:gone", mem, EXT_BYTES);
	CHECK(munmap(mem, EXT_BYTES) == 0);
	for (uint32_t i = 0; i < 100; i++) {
		send_plain(&p, i);
		receive_plain(&other, i);
	}
	close_port(&p);

	fd = open_dev();
	CHECK_ERRNO(request(fd, NETMAP_REQ_REGISTER, "valex:1", &reg, &opt), EFAULT);
	CHECK(opt.nro_opt.nro_status == EFAULT);
	mem = mmap(NULL, EXT_BYTES, PROT_READ, flags[0], -1, 0); /* not to be written to */
	CHECK(mem != MAP_FAILED);
	opt.nro_usrptr = (uintptr_t)mem;
	CHECK_ERRNO(request(fd, NETMAP_REQ_REGISTER, "valex:1", &reg, &opt), EFAULT);
	opt.nro_usrptr = (uintptr_t)mem + 64;
	CHECK_ERRNO(request(fd, NETMAP_REQ_REGISTER, "valex:1", &reg, &opt), EINVAL);
	opt.nro_info.nr_memsize = UINT64_MAX;
	opt.nro_usrptr = (uintptr_t)mem;
	CHECK_ERRNO(request(fd, NETMAP_REQ_REGISTER, "valex:1", &reg, &opt), EFAULT);
	opt.nro_info.nr_memsize = 1ULL << 46;
	CHECK(request(fd, NETMAP_REQ_REGISTER, "valex:1", &reg, &opt) == -1);
	close(fd);
	close_port(&other);
}

/* Who may not lock memory at will is held to the limit. The file is open already: opening it takes
 * root. */
static void check_memlock(char **args)
{
	struct rlimit limit = {EXT_BYTES / 2, EXT_BYTES / 2};
	struct nmreq_register reg = {.nr_mode = NR_REG_ALL_NIC};
	struct nmreq_opt_extmem opt = {
		.nro_opt.nro_reqtype = NETMAP_REQ_OPT_EXTMEM, .nro_info.nr_memsize = EXT_BYTES};
	int fd = open_dev();
	char *mem =
		mmap(NULL, EXT_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);

	CHECK(mem != MAP_FAILED);
	opt.nro_usrptr = (uintptr_t)mem;
	CHECK(setrlimit(RLIMIT_MEMLOCK, &limit) == 0);
	CHECK(setuid(1000) == 0); /* all capabilities go */
	for (int i = 0; i < 3; i++) {
		opt.nro_info.nr_memsize = EXT_BYTES;
		CHECK_ERRNO(request(fd, NETMAP_REQ_REGISTER, "valex:lim", &reg, &opt), ENOMEM);
		opt.nro_info.nr_memsize = EXT_BYTES / 4;
		reg = (struct nmreq_register){
			.nr_mode = NR_REG_ALL_NIC, .nr_tx_slots = 64, .nr_rx_slots = 64};
		opt.nro_info.nr_buf_pool_objsize = 0;
		if (i < 2) { /* too small a ring object: refused after the memory was held */
			opt.nro_info.nr_ring_pool_objsize = 300;
			CHECK(request(fd, NETMAP_REQ_REGISTER, "valex:lim", &reg, &opt) == -1);
			opt.nro_info.nr_ring_pool_objsize = 0;
		}
	}
	CHECK(request(fd, NETMAP_REQ_REGISTER, "valex:lim", &reg, &opt) == 0);
	close(fd);
}

/* ---- the rest -------------------------------------------------------------------------- */

/* A file that is in an epoll set before it is registered is reported as any other. */
static void check_epoll_first(char **args)
{
	for (int edge = 0; edge < 2; edge++) {
		struct epoll_event ev = {.events = EPOLLIN | (edge ? EPOLLET : 0)}, got;
		struct nmreq_register reg = {.nr_mode = NR_REG_ALL_NIC};
		struct port a = open_port("valeq:a", 0, NULL), b = {.fd = open_dev()};
		int ep = epoll_create1(0);

		CHECK(ep >= 0 && epoll_ctl(ep, EPOLL_CTL_ADD, b.fd, &ev) == 0);
		CHECK(epoll_wait(ep, &got, 1, 0) == 1 && (got.events & EPOLLERR));
		CHECK(request(b.fd, NETMAP_REQ_REGISTER, "valeq:b", &reg, NULL) == 0);
		find_rings(&b, &reg);
		CHECK(epoll_wait(ep, &got, 1, 0) == 0);
		for (uint32_t i = 0; i < 200; i++) {
			pid_t pid = i % 10 ? 0 : fork();

			if (pid == 0) {
				usleep(i % 10 ? 0 : 20000); /* sometimes it sleeps by then */
				send_plain(&a, i);
				if (i % 10 == 0)
					_exit(0);
			}
			CHECK(epoll_wait(ep, &got, 1, WAIT_MS) == 1 && got.events == EPOLLIN);
			CHECK(ioctl(b.fd, NIOCRXSYNC) == 0);
			receive_plain(&b, i);
			CHECK(ioctl(b.fd, NIOCRXSYNC) == 0);
			if (pid > 0)
				CHECK(waitpid(pid, NULL, 0) == pid);
			if (!edge)
				CHECK(epoll_wait(ep, &got, 1, 0) == 0);
		}
		close_port(&b);
		close_port(&a);
		close(ep);
	}
}

static void check_timestamp(char **args)
{
	struct port a = open_port("valez:a", 0, NULL);
	struct timeval now;

	CHECK(ioctl(a.fd, NIOCTXSYNC) == 0);
	CHECK(a.tx->ts.tv_sec == 0 && a.tx->ts.tv_usec == 0);
	a.tx->flags |= NR_TIMESTAMP;
	for (int i = 0; i < 3; i++) {
		gettimeofday(&now, NULL);
		CHECK(ioctl(a.fd, NIOCTXSYNC) == 0);
		CHECK(timercmp(&a.tx->ts, &now, >=) && a.tx->ts.tv_sec - now.tv_sec < 10);
		CHECK(a.tx->ts.tv_usec >= 0 && a.tx->ts.tv_usec < 1000000);
	}
	CHECK(a.rx->ts.tv_sec == 0);
	close_port(&a);
}

static void check_legacy(char **args)
{
	struct nmreq nmr = {.nr_name = "valel:1", .nr_version = 11, .nr_arg3 = 5};
	struct nmreq info = {.nr_name = "valel:1", .nr_version = 14};
	struct port p = {.fd = open_dev()};
	struct nmreq_register reg = {0};

	nmr.nr_version = 10;
	CHECK_ERRNO(ioctl(p.fd, NIOCREGIF, &nmr), EINVAL);
	nmr.nr_version = 99;
	nmr.nr_tx_slots = nmr.nr_rx_slots = 64;
	CHECK_ERRNO(ioctl(p.fd, NIOCREGIF, NULL), EFAULT);
	CHECK(ioctl(p.fd, NIOCREGIF, &nmr) == 0);
	CHECK(nmr.nr_tx_rings == 1 && nmr.nr_rx_slots == 64 && nmr.nr_arg3 == 5);
	reg.nr_memsize = nmr.nr_memsize;
	reg.nr_offset = nmr.nr_offset;
	find_rings(&p, &reg);
	CHECK(p.nifp->ni_bufs_head != 0);
	CHECK(ioctl(p.fd, NIOCGINFO, &info) == 0 && info.nr_tx_slots == 64);
	CHECK(ioctl(p.fd, NIOCTXSYNC) == 0);
	CHECK_ERRNO(ioctl(p.fd, NIOCREGIF, &nmr), EBUSY);
	info = (struct nmreq){.nr_version = 14, .nr_cmd = NETMAP_BDG_LIST};
	CHECK(ioctl(p.fd, NIOCGINFO, &info) == 0 && strcmp(info.nr_name, "valel:1") == 0);
	info = (struct nmreq){.nr_version = 14, .nr_cmd = NETMAP_PT_HOST_CREATE};
	CHECK_ERRNO(ioctl(p.fd, NIOCREGIF, &info), EOPNOTSUPP);
	close_port(&p);
}

/* Says how the region of this id is laid out: count and size of netmap_if, rings, buffers. */
static void check_pools(char **args)
{
	struct nmreq_register reg = {.nr_mode = NR_REG_NULL, .nr_mem_id = (uint16_t)atoi(args[0])};
	struct nmreq_pools_info info = {0};
	int fd = open_dev();

	CHECK(request(fd, NETMAP_REQ_REGISTER, "null", &reg, NULL) == 0);
	CHECK(request(fd, NETMAP_REQ_POOLS_INFO_GET, "", &info, NULL) == 0);
	CHECK(info.nr_mem_id == reg.nr_mem_id && info.nr_memsize == reg.nr_memsize);
	printf("%u %u %u %u %u %u\n", info.nr_if_pool_objtotal, info.nr_if_pool_objsize,
		info.nr_ring_pool_objtotal, info.nr_ring_pool_objsize, info.nr_buf_pool_objtotal,
		info.nr_buf_pool_objsize);
	close(fd);
}

static const struct check checks[] = {
	{"modes", check_modes, 0},
	{"overload", check_overload, 0},
	{"errors", check_errors, 0},
	{"illegal", check_illegal, 0},
	{"signal", check_signal, 0},
	{"stay", check_stay, 2},
	{"extmem", check_extmem, 0},
	{"memlock", check_memlock, 0},
	{"epoll-first", check_epoll_first, 0},
	{"timestamp", check_timestamp, 0},
	{"legacy", check_legacy, 0},
	{"pools", check_pools, 1},
};

int main(int argc, char **argv)
{
	return run_check(checks, sizeof(checks) / sizeof(checks[0]), argc, argv,
		"usage: nmkloop CHECK [ARGUMENT...]; see its source");
}
