/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * nmturns - ports of hundreds of thousands of slots are made in parts, from inside a guest: as nmcheck.
 *
 *	nmturns others          requests of others are answered while one is made
 *	nmturns same            who wants the same port gets it, whole
 *	nmturns killed          who makes one, and who waits for it, can be killed: nothing is left
 *	nmturns gone NIC PEER   a veth interface goes while its port is made; `ip` makes it anew
 *
 * That a port is being made is what /sys/kernel/debug/netmap/ports says, which takes the core's lock: made in one go, none would
 * ever be seen there. Small buffers (priv_buf_size) and nic_slots are set by who calls this.
 *
 * Thread safety: a program of one thread.
 */
#include <linux/rtnetlink.h>
#include <net/if.h>
#include <signal.h>
#include <stdbool.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>

#include "guestprog.h"

enum { RINGS = 8, SLOTS = 16384, MOST = 300, ENOUGH = 5, MOST_DEVICES = 50 };

static const char large[] = "valet:large";

/* What the processes of a check share. */
struct shared {
	int rounds;         /* of the maker, begun */
	int answers;        /* to the other, within one of them */
	int taken, refused; /* a device; for it was gone */
	int rest;           /* the maker begins no other round */
	int end;
};

static int load(const int *number)
{
	return __atomic_load_n(number, __ATOMIC_ACQUIRE);
}

static void add(int *number)
{
	__atomic_fetch_add(number, 1, __ATOMIC_ACQ_REL);
}

static struct shared *share(void)
{
	void *mem = mmap(NULL, sizeof(struct shared), PROT_READ | PROT_WRITE,
		MAP_SHARED | MAP_ANONYMOUS, -1, 0);

	CHECK(mem != MAP_FAILED);
	return mem;
}

/* A process that does `fn`. */
static pid_t begin(
	void (*fn)(struct shared *s, const char *name), struct shared *s, const char *name)
{
	pid_t child = fork();

	CHECK(child >= 0);
	if (child > 0)
		return child;
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	fn(s, name);
	_exit(0);
}

static void await_end(pid_t child)
{
	int status;

	CHECK(waitpid(child, &status, 0) == child && status == 0);
}

static void await_kill(pid_t child)
{
	int status;

	CHECK(kill(child, SIGKILL) == 0);
	CHECK(waitpid(child, &status, 0) == child && WIFSIGNALED(status));
}

/* A line of debugfs' ports; false: there is none that begins so. */
static bool port_line(const char *name, char *line, int bytes)
{
	FILE *f = fopen("/sys/kernel/debug/netmap/ports", "r");
	bool found = false;

	CHECK(f);
	while (!found && fgets(line, bytes, f))
		found = strncmp(line, name, strlen(name)) == 0 && line[strlen(name)] == ':';
	CHECK(fclose(f) == 0);
	return found;
}

static bool is_being_made(const char *name)
{
	char line[256];

	return port_line(name, line, sizeof(line)) && strstr(line, " being_made");
}

/* A port with many slots. */
static int open_large(const char *name)
{
	struct nmreq_register reg = {.nr_mode = NR_REG_ALL_NIC,
		.nr_tx_slots = SLOTS,
		.nr_rx_slots = SLOTS,
		.nr_tx_rings = RINGS,
		.nr_rx_rings = RINGS};
	int fd = open_dev();

	register_port(fd, name, &reg, NULL);
	return fd;
}

static void make_again_and_again(struct shared *s, const char *name)
{
	while (!load(&s->end)) {
		if (load(&s->rest)) {
			usleep(100);
			continue;
		}
		add(&s->rounds);
		CHECK(close(open_large(name)) == 0);
	}
}

/* ---- others ------------------------------------------------------------------------------ */

static void small_request(void)
{
	struct nmreq_register reg = {
		.nr_mode = NR_REG_ALL_NIC, .nr_tx_slots = 64, .nr_rx_slots = 64};
	int fd = open_dev();

	register_port(fd, "valet:small", &reg, NULL);
	CHECK(close(fd) == 0);
}

/* Its round is the same before and behind a request, and it is at it both times. */
static void check_others(char **args)
{
	struct shared *s = share();
	pid_t maker = begin(make_again_and_again, s, large);
	int answers = 0, before;

	while (answers < ENOUGH && load(&s->rounds) < MOST) {
		before = load(&s->rounds);
		if (!is_being_made(large))
			continue;
		small_request();
		answers += is_being_made(large) && load(&s->rounds) == before;
	}
	printf("%d requests answered while a port was made; %d were\n", answers, load(&s->rounds));
	__atomic_store_n(&s->end, 1, __ATOMIC_RELEASE);
	await_end(maker);
	CHECK(answers >= ENOUGH);
}

/* ---- the same port ------------------------------------------------------------------------- */

static void check_ring(const struct netmap_ring *ring)
{
	for (uint32_t i = 0; i < ring->num_slots; i++)
		if (ring->slot[i].buf_idx < 2)
			fail("ring %u: slot %u has no buffer", ring->ringid, i);
}

/* Each slot has its buffer, whoever has made the port. */
static void open_same(void)
{
	struct nmreq_register reg = {
		.nr_mode = NR_REG_ALL_NIC, .nr_tx_slots = 64, .nr_rx_slots = 64};
	int fd = open_dev();
	const struct netmap_if *nifp;
	char *mem;

	register_port(fd, large, &reg, NULL);
	mem = map_region(fd, reg.nr_memsize);
	nifp = NETMAP_IF(mem, reg.nr_offset);
	for (uint32_t i = 0; i < nifp->ni_tx_rings; i++)
		check_ring(NETMAP_TXRING(nifp, i));
	for (uint32_t i = 0; i < nifp->ni_rx_rings; i++)
		check_ring(NETMAP_RXRING(nifp, i));
	CHECK(munmap(mem, reg.nr_memsize) == 0 && close(fd) == 0);
}

/* While the other has the port it is made by nobody: those are no rounds. */
static void check_same(char **args)
{
	struct shared *s = share();
	pid_t maker = begin(make_again_and_again, s, large);
	int waited = 0;

	while (waited < ENOUGH && load(&s->rounds) < MOST) {
		if (!is_being_made(large))
			continue;
		__atomic_store_n(&s->rest, 1, __ATOMIC_RELEASE);
		open_same();
		__atomic_store_n(&s->rest, 0, __ATOMIC_RELEASE);
		waited++;
	}
	printf("%d times it was being made, of %d\n", waited, load(&s->rounds));
	__atomic_store_n(&s->end, 1, __ATOMIC_RELEASE);
	await_end(maker);
	CHECK(waited >= ENOUGH);
}

/* ---- the end ----------------------------------------------------------------------------- */

static void want_again_and_again(struct shared *s, const char *name)
{
	for (;;)
		open_same();
}

static void check_killed(char **args)
{
	char line[256];

	for (int i = 0; i < ENOUGH; i++) {
		struct shared *s = share();
		pid_t maker = begin(make_again_and_again, s, large);
		pid_t waiter = begin(want_again_and_again, s, large);

		while (!is_being_made(large))
			;
		await_kill(i % 2 ? waiter : maker);
		await_kill(i % 2 ? maker : waiter);
		CHECK(!port_line(large, line, sizeof(line)));
		CHECK(munmap(s, sizeof(*s)) == 0);
	}
}

/* ---- a device that goes --------------------------------------------------------------------- */

static void take_interface(struct shared *s, const char *name)
{
	struct nmreq_register reg = {
		.nr_mode = NR_REG_NIC_SW, .nr_host_tx_rings = RINGS, .nr_host_rx_rings = RINGS};
	int fd = open_dev();

	if (request(fd, NETMAP_REQ_REGISTER, name, &reg, NULL) == 0) {
		add(&s->taken);
	} else {
		CHECK(errno == ENXIO);
		add(&s->refused);
	}
}

/* At once: `ip` would come too late. */
static void remove_interface(const char *name)
{
	struct {
		struct nlmsghdr hdr;
		struct ifinfomsg info;
	} ask = {.hdr = {.nlmsg_len = sizeof(ask),
			 .nlmsg_type = RTM_DELLINK,
			 .nlmsg_flags = NLM_F_REQUEST | NLM_F_ACK},
		.info.ifi_index = (int)if_nametoindex(name)};
	char answer[256];
	int fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE);

	CHECK(fd >= 0 && ask.info.ifi_index > 0);
	CHECK(send(fd, &ask, sizeof(ask), 0) == sizeof(ask));
	CHECK(recv(fd, answer, sizeof(answer), 0) > 0 && close(fd) == 0);
	CHECK(if_nametoindex(name) == 0);
}

static void add_interface(const char *name, const char *peer)
{
	char command[128];

	snprintf(command, sizeof(command), "/sbin/ip link add %s type veth peer name %s", name,
		peer);
	CHECK(system(command) == 0);
}

/* Until it was in the middle of it: it may be made before. */
static void check_gone(char **args)
{
	struct shared *s = share();
	int i;

	for (i = 0; i < MOST_DEVICES && load(&s->refused) == 0; i++) {
		pid_t taker = begin(take_interface, s, args[0]);

		while (!is_being_made(args[0]) && load(&s->taken) + load(&s->refused) == i)
			;
		remove_interface(args[0]);
		await_end(taker);
		add_interface(args[0], args[1]);
	}
	printf("refused %d times of %d\n", load(&s->refused), i);
	CHECK(load(&s->refused) > 0);
}

int main(int argc, char **argv)
{
	static const struct check checks[] = {
		{"others", check_others, 0},
		{"same", check_same, 0},
		{"killed", check_killed, 0},
		{"gone", check_gone, 2},
	};

	return run_check(checks, sizeof(checks) / sizeof(checks[0]), argc, argv,
		"usage: nmturns others | same | killed | gone NIC PEER");
}
