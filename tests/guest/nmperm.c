/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * nmperm - what users without privilege can do with /dev/netmap that was opened to them, from inside a
 * guest: as nmcheck.
 *
 *	nmperm refused NIC SWITCH:NIC PERSISTENT    as a user without capabilities; the last two exist
 *	nmperm allowed                              the same user: ports that lead to no device
 *	nmperm namespace                            root of its own namespaces, and not outside
 *	nmperm memlock                              the limit of locked memory is the user's, not the process's
 *	nmperm region SLOTS                         registers a port with as many slots; says its error
 *	nmperm again TIMES                          registers a port of 32 MiB, closes it, and so on
 *	nmperm others                               requests of others are answered while a region is made
 *
 * Thread safety: a program of one thread.
 */
#include <sched.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>

#include "guestprog.h"

enum { USER = 1000, EXT_BYTES = 1 << 20 };

static void become_user(void)
{
	CHECK(setgid(USER) == 0 && setuid(USER) == 0);
	CHECK(prctl(PR_SET_DUMPABLE, 1) == 0); /* its files in /proc are its own */
}

static int try_register(const char *name, uint32_t mode, uint64_t flags)
{
	struct nmreq_register reg = {.nr_mode = mode, .nr_flags = flags};
	int fd = open_dev(), result = request(fd, NETMAP_REQ_REGISTER, name, &reg, NULL);
	int error = errno;

	CHECK(close(fd) == 0);
	errno = error;
	return result;
}

static int simple_request(uint16_t type, const char *name, void *body)
{
	int fd = open_dev(), result = request(fd, type, name, body, NULL), error = errno;

	CHECK(close(fd) == 0);
	errno = error;
	return result;
}

static int attach(const char *name)
{
	struct nmreq_vale_attach body = {.reg.nr_mode = NR_REG_ALL_NIC};

	return simple_request(NETMAP_REQ_VALE_ATTACH, name, &body);
}

static int detach(const char *name)
{
	struct nmreq_vale_detach body = {0};

	return simple_request(NETMAP_REQ_VALE_DETACH, name, &body);
}

static int new_interface(const char *name)
{
	struct nmreq_vale_newif body = {0};

	return simple_request(NETMAP_REQ_VALE_NEWIF, name, &body);
}

static int poll_attached(const char *name)
{
	struct nmreq_vale_polling body = {
		.nr_mode = NETMAP_POLLING_MODE_SINGLE_CPU, .nr_num_polling_cpus = 1};

	return simple_request(NETMAP_REQ_VALE_POLLING_ENABLE, name, &body);
}

static void check_interface_refused(const char *nic)
{
	struct nmreq_port_info_get info = {0};
	struct nmreq_port_hdr hdr = {.nr_hdr_len = 12};
	char name[NETMAP_REQ_IFNAMSIZ];

	for (uint32_t mode = NR_REG_ALL_NIC; mode <= NR_REG_ONE_SW; mode++)
		if (mode != NR_REG_NULL) /* the name is only text there */
			CHECK_ERRNO(try_register(nic, mode, 0), EPERM);
	CHECK_ERRNO(try_register(nic, NR_REG_ALL_NIC, NR_MONITOR_RX), EPERM);
	CHECK_ERRNO(try_register(nic, NR_REG_ALL_NIC, NR_MONITOR_TX | NR_ZCOPY_MON), EPERM);
	snprintf(name, sizeof(name), "%s{1", nic);
	CHECK_ERRNO(try_register(name, NR_REG_ALL_NIC, 0), EPERM);
	CHECK_ERRNO(try_register(nic, NR_REG_PIPE_SLAVE, 0), EPERM);
	snprintf(name, sizeof(name), "valeother:%s", nic);
	CHECK_ERRNO(attach(name), EPERM);
	CHECK_ERRNO(simple_request(NETMAP_REQ_PORT_HDR_SET, nic, &hdr), EPERM);
	/* To ask takes nothing away. */
	CHECK(simple_request(NETMAP_REQ_PORT_INFO_GET, nic, &info) == 0 && info.nr_tx_rings > 0);
}

static void check_refused(char **args)
{
	become_user();
	check_interface_refused(args[0]);
	check_interface_refused(args[2]);
	CHECK_ERRNO(poll_attached(args[1]), EPERM);
	CHECK_ERRNO(detach(args[1]), EPERM);
	CHECK_ERRNO(new_interface("nmnew0"), EPERM);
	CHECK_ERRNO(simple_request(NETMAP_REQ_VALE_DELIF, args[2], NULL), EPERM);
}

static void check_allowed(char **args)
{
	become_user();
	CHECK(try_register("valeuser:1", NR_REG_ALL_NIC, 0) == 0);
	CHECK(try_register("valeuser:1", NR_REG_ALL_NIC, NR_EXCLUSIVE) == 0);
	CHECK(try_register("valeuser:1", NR_REG_ALL_NIC, NR_MONITOR_RX) == 0);
	CHECK(try_register("valeuser:1{2", NR_REG_ALL_NIC, 0) == 0);
	CHECK(try_register("user{1", NR_REG_ALL_NIC, 0) == 0);
	CHECK(try_register("user}1", NR_REG_ALL_NIC, 0) == 0);
	CHECK(try_register("null", NR_REG_NULL, 0) == 0);
}

static void write_file(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY | O_CLOEXEC);

	CHECK(fd >= 0 && write(fd, text, strlen(text)) == (ssize_t)strlen(text) && close(fd) == 0);
}

/* The device of one namespace is not that of another, and who has the capability in his own has it
 * only there. */
static void check_namespace(char **args)
{
	int outside = open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC);

	CHECK(outside >= 0);
	become_user();
	CHECK(unshare(CLONE_NEWUSER) == 0);
	/* In a user namespace of one's own with the network of the system. */
	CHECK_ERRNO(new_interface("nmnew0"), EPERM);
	CHECK_ERRNO(try_register("lo", NR_REG_ALL_NIC, 0), EPERM);
	write_file("/proc/self/setgroups", "deny");
	write_file("/proc/self/uid_map", "0 1000 1");
	CHECK(unshare(CLONE_NEWNET) == 0);
	CHECK(new_interface("nmnew0") == 0);
	CHECK(try_register("nmnew0", NR_REG_ALL_NIC, 0) == 0);
	CHECK(attach("valeuser:nmnew0") == 0);
	CHECK(poll_attached("valeuser:nmnew0") == 0);
	CHECK(detach("valeuser:nmnew0") == 0);
	CHECK(simple_request(NETMAP_REQ_VALE_DELIF, "nmnew0", NULL) == 0);
}

/* As much as the limit allows in one process, and nothing is left for another. */
static void check_memlock(char **args)
{
	struct rlimit limit = {EXT_BYTES, EXT_BYTES};
	struct nmreq_register reg = {
		.nr_mode = NR_REG_ALL_NIC, .nr_tx_slots = 64, .nr_rx_slots = 64};
	struct nmreq_opt_extmem opt = {
		.nro_opt.nro_reqtype = NETMAP_REQ_OPT_EXTMEM, .nro_info.nr_memsize = EXT_BYTES};
	char *mem =
		mmap(NULL, EXT_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	int first = open_dev(), second = open_dev(), status;

	CHECK(mem != MAP_FAILED && setrlimit(RLIMIT_MEMLOCK, &limit) == 0);
	become_user();
	opt.nro_usrptr = (uintptr_t)mem;
	for (int i = 0; i < 20; i++) { /* what is given back can be had again */
		struct nmreq_register r = reg;
		pid_t child;

		CHECK(request(first, NETMAP_REQ_REGISTER, "valex:1", &r, &opt) == 0);
		child = fork();
		CHECK(child >= 0);
		if (child == 0) {
			r = reg;
			CHECK_ERRNO(
				request(second, NETMAP_REQ_REGISTER, "valex:2", &r, &opt), ENOMEM);
			_exit(0);
		}
		CHECK(waitpid(child, &status, 0) == child && status == 0);
		CHECK(close(first) == 0);
		first = second;
		CHECK((second = open_dev()) >= 0);
	}
}

static void check_region(char **args)
{
	uint32_t slots = (uint32_t)atoi(args[0]);
	struct nmreq_register reg = {.nr_mode = NR_REG_ALL_NIC,
		.nr_tx_slots = slots,
		.nr_rx_slots = slots,
		.nr_tx_rings = 16,
		.nr_rx_rings = 16};
	int fd = open_dev();

	errno = 0;
	(void)request(fd, NETMAP_REQ_REGISTER, "valer:1", &reg, NULL);
	printf("errno %d\n", errno);
}

/* A port with a region of 32 MiB. */
static int open_large(const char *name)
{
	struct nmreq_register reg = {.nr_mode = NR_REG_ALL_NIC,
		.nr_tx_slots = 256,
		.nr_rx_slots = 256,
		.nr_tx_rings = 16,
		.nr_rx_rings = 16};
	int fd = open_dev();

	CHECK(request(fd, NETMAP_REQ_REGISTER, name, &reg, NULL) == 0);
	return fd;
}

/* What is given back can be had again at once, though others clear up behind it. */
static void check_again(char **args)
{
	for (int i = atoi(args[0]); i > 0; i--)
		CHECK(close(open_large("valea:1")) == 0);
}

/* Which of all large regions is being made now, counted from 1; 0: none is. */
static unsigned long being_made(void)
{
	FILE *f = fopen("/sys/kernel/debug/netmap/memory", "r");
	unsigned long now, made;

	CHECK(f);
	CHECK(fscanf(f, "regions_kib %*u being_made %lu made %lu", &now, &made) == 2);
	CHECK(fclose(f) == 0);
	return now ? made + 1 : 0;
}

/* What two processes share: the one that makes regions and the one that asks meanwhile. */
struct meanwhile {
	int asked;   /* times */
	int during;  /* of them, when a region was being made */
	int answers; /* and still was when the answer was there */
	int end;
};

static void ask_meanwhile(struct meanwhile *m)
{
	struct nmreq_register reg = {
		.nr_mode = NR_REG_ALL_NIC, .nr_tx_slots = 64, .nr_rx_slots = 64};
	struct nmreq_port_info_get info;
	int fd = open_dev();

	CHECK(request(fd, NETMAP_REQ_REGISTER, "valeo:asks", &reg, NULL) == 0);
	while (!__atomic_load_n(&m->end, __ATOMIC_ACQUIRE)) {
		unsigned long before = being_made();

		info = (struct nmreq_port_info_get){0};
		CHECK(request(fd, NETMAP_REQ_PORT_INFO_GET, "valeo:asks", &info, NULL) == 0);
		m->asked++;
		m->during += before != 0;
		if (before && before == being_made())
			__atomic_fetch_add(&m->answers, 1, __ATOMIC_ACQ_REL);
	}
}

/* Under the lock that the answer needs there would never be one. */
static void check_others(char **args)
{
	enum { MOST = 200, ENOUGH = 5 };
	struct meanwhile *m =
		mmap(NULL, sizeof(*m), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	int answers = 0, tries = 0, status;
	pid_t child;

	CHECK(m != MAP_FAILED);
	child = fork();
	CHECK(child >= 0);
	if (child == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		ask_meanwhile(m);
		_exit(0);
	}
	for (; answers < ENOUGH && tries < MOST; tries++) {
		CHECK(close(open_large("valer:1")) == 0);
		answers = __atomic_load_n(&m->answers, __ATOMIC_ACQUIRE);
	}
	printf("%d of %d questions asked, and %d answered, while one of %d regions was made\n",
		m->during, m->asked, answers, tries);
	__atomic_store_n(&m->end, 1, __ATOMIC_RELEASE);
	CHECK(waitpid(child, &status, 0) == child && status == 0);
	CHECK(answers >= ENOUGH);
}

int main(int argc, char **argv)
{
	static const struct check checks[] = {
		{"refused", check_refused, 3},
		{"allowed", check_allowed, 0},
		{"namespace", check_namespace, 0},
		{"memlock", check_memlock, 0},
		{"region", check_region, 1},
		{"again", check_again, 1},
		{"others", check_others, 0},
	};

	return run_check(checks, sizeof(checks) / sizeof(checks[0]), argc, argv,
		"usage: nmperm refused NIC SWITCH:NIC PERSISTENT | allowed | namespace | memlock | region SLOTS | again TIMES | others");
}
