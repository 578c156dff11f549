/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * netmap-run, seen from a program that knows /dev/netmap only: the file, requests, the
 * older nm_open().
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

#define NETMAP_WITH_LIBS
#include <net/netmap_user.h>

#include "run_port.h"

/* ---- the file ------------------------------------------------------------------------- */

int __open_2(const char *path, int flags);
int __open64_2(const char *path, int flags);
int __openat_2(int dir, const char *path, int flags);
int __openat64_2(int dir, const char *path, int flags);

static void test_open(void **state)
{
	int fds[] = {open("/dev/netmap", O_RDWR | O_NONBLOCK | O_CLOEXEC),
		open64("/dev/netmap", O_RDWR), openat(AT_FDCWD, "/dev/netmap", O_RDWR),
		openat64(AT_FDCWD, "/dev/netmap", O_RDWR), __open_2("/dev/netmap", O_RDWR),
		__open64_2("/dev/netmap", O_RDWR), __openat_2(AT_FDCWD, "/dev/netmap", O_RDWR),
		__openat64_2(AT_FDCWD, "/dev/netmap", O_RDWR)};
	char path[64] = "/tmp/run-raw-XXXXXX";
	struct stat st;

	(void)state;
	for (unsigned int i = 0; i < sizeof(fds) / sizeof(fds[0]); i++) {
		assert_true(fds[i] >= 0);
		assert_int_equal(ioctl(fds[i], NIOCTXSYNC), -1);
		assert_int_equal(errno, ENXIO); /* /dev/netmap's answer before a registration */
		assert_int_equal(fcntl(fds[i], F_GETFL) & O_NONBLOCK, i == 0 ? O_NONBLOCK : 0);
		assert_int_equal(fcntl(fds[i], F_GETFD), i == 0 ? FD_CLOEXEC : 0);
		assert_int_equal(fstat(fds[i], &st), 0);
		assert_true(S_ISCHR(st.st_mode));
		assert_int_equal(close(fds[i]), 0);
		assert_int_equal(close(fds[i]), -1);
		assert_int_equal(errno, EBADF);
	}
	assert_int_equal(access("/dev/netmap", R_OK | W_OK), 0);
	assert_int_equal(stat("/dev/netmap", &st), 0);
	assert_true(S_ISCHR(st.st_mode));
	/* Other files are what they always were, their mode included. */
	fds[0] = mkstemp(path);
	close(fds[0]);
	unlink(path);
	fds[0] = open(path, O_CREAT | O_RDWR, 0640);
	assert_int_equal(fstat(fds[0], &st), 0);
	assert_int_equal(st.st_mode & 0777, 0640);
	assert_int_equal(write(fds[0], "x", 1), 1);
	close(fds[0]);
	unlink(path);
}

static void test_errors(void **state)
{
	struct port p = {.fd = open("/dev/netmap", O_RDWR)};
	struct pollfd pfd = {.fd = p.fd, .events = POLLIN | POLLOUT};
	struct nmreq_port_info_get info = {0};
	struct nmreq_header hdr = {.nr_version = 3, .nr_reqtype = NETMAP_REQ_PORT_INFO_GET};
	struct iovec iov = {.iov_base = &hdr, .iov_len = 1};
	void *gone;

	(void)state;
	assert_int_equal(poll(&pfd, 1, 0), 1);
	assert_int_equal(pfd.revents, POLLERR);
	assert_int_equal(read(p.fd, &hdr, 1), -1);
	assert_int_equal(errno, EINVAL);
	assert_int_equal(write(p.fd, &hdr, 1), -1);
	assert_int_equal(errno, EINVAL);
	assert_int_equal(readv(p.fd, &iov, 1), -1);
	assert_int_equal(errno, EINVAL);
	assert_int_equal(writev(p.fd, &iov, 1), -1);
	assert_int_equal(errno, EINVAL);
	assert_int_equal(ioctl(p.fd, 0x1234, 0), -1);
	assert_int_equal(errno, ENOTTY);
	assert_true(mmap(NULL, 4096, PROT_READ, MAP_SHARED, p.fd, 0) == MAP_FAILED);
	assert_int_equal(errno, ENXIO);

	/* Requests of which parts don't exist. */
	gone = mmap(NULL, 4096, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	assert_int_equal(ioctl(p.fd, NIOCCTRL, gone), -1);
	assert_int_equal(errno, EFAULT);
	assert_int_equal(ioctl(p.fd, NIOCREGIF, gone), -1);
	assert_int_equal(errno, EFAULT);
	assert_int_equal(request(p.fd, NETMAP_REQ_PORT_INFO_GET, "vale5:a", gone), -1);
	assert_int_equal(errno, EFAULT);
	hdr.nr_body = (uintptr_t)&info;
	assert_int_equal(ioctl(p.fd, NIOCCTRL, &hdr), -1);
	assert_int_equal(errno, EINVAL);
	assert_int_equal(hdr.nr_version, NETMAP_API);
	assert_int_equal(hdr.nr_body, (uintptr_t)&info);
	hdr.nr_reqtype = 4711;
	assert_int_equal(ioctl(p.fd, NIOCCTRL, &hdr), -1);
	assert_int_equal(errno, EOPNOTSUPP);

	p.reg.nr_mode = 77;
	assert_int_equal(register_port(&p, "vale5:a"), -1);
	assert_int_equal(errno, EINVAL);
	p.reg.nr_mode = NR_REG_ALL_NIC;
	assert_int_equal(register_port(&p, "netmap:nonesuch"), -1);
	assert_int_equal(errno, ENXIO);
	assert_int_equal(register_port(&p, "vale5:a"), 0);
	assert_int_equal(register_port(&p, "vale5:a"), -1);
	assert_int_equal(errno, EBUSY);
	assert_true(mmap(NULL, p.reg.nr_memsize, PROT_READ, MAP_PRIVATE, p.fd, 0) == MAP_FAILED);
	assert_int_equal(errno, EINVAL);
	assert_true(
		mmap(NULL, p.reg.nr_memsize + 4096, PROT_READ, MAP_SHARED, p.fd, 0) == MAP_FAILED);
	assert_int_equal(errno, EINVAL);
	map_port(&p);
	p.tx->head = p.tx->cur = p.tx->num_slots;
	assert_int_equal(ioctl(p.fd, NIOCTXSYNC), -1);
	assert_int_equal(errno, EINVAL);
	assert_int_equal(p.tx->head, 0);
	munmap(gone, 4096);
	close_port(&p);
}

static void test_options(void **state)
{
	struct port p = {.fd = open("/dev/netmap", O_RDWR)};
	struct nmreq_option loop = {.nro_reqtype = 99}, unknown = {.nro_reqtype = 99};
	struct nmreq_header hdr = {.nr_version = 15,
		.nr_reqtype = NETMAP_REQ_REGISTER,
		.nr_name = "vale5:a",
		.nr_body = (uintptr_t)&p.reg};

	(void)state;
	p.reg.nr_mode = NR_REG_ALL_NIC;
	loop.nro_next = (uintptr_t)&loop;
	hdr.nr_options = (uintptr_t)&loop;
	assert_int_equal(ioctl(p.fd, NIOCCTRL, &hdr), -1);
	assert_int_equal(errno, EMSGSIZE);
	hdr.nr_options = (uintptr_t)&unknown;
	assert_int_equal(ioctl(p.fd, NIOCCTRL, &hdr), -1);
	assert_int_equal(errno, EOPNOTSUPP);
	assert_int_equal(unknown.nro_status, EOPNOTSUPP);
	assert_int_equal(hdr.nr_options, (uintptr_t)&unknown);
	hdr.nr_options = 8; /* no such address */
	assert_int_equal(ioctl(p.fd, NIOCCTRL, &hdr), -1);
	assert_int_equal(errno, EFAULT);
	hdr.nr_options = 0;
	hdr.nr_version = 15;
	assert_int_equal(ioctl(p.fd, NIOCCTRL, &hdr), 0);
	assert_int_equal(hdr.nr_version, NETMAP_API);
	close(p.fd);
}

static void test_duplicates(void **state)
{
	struct port a = {0}, b = {0};
	int other, fds[3];

	(void)state;
	open_port(&a, "vale5:a");
	open_port(&b, "vale5:b");
	fds[0] = dup(a.fd);
	fds[1] = fcntl(a.fd, F_DUPFD, 100);
	fds[2] = dup2(a.fd, 90);
	assert_true(fds[0] >= 0 && fds[1] >= 100 && fds[2] == 90);
	close(a.fd);
	put(&b, 7);
	assert_int_equal(ioctl(b.fd, NIOCTXSYNC), 0);
	for (int i = 0; i < 3; i++) {
		struct pollfd p = {.fd = fds[i], .events = POLLIN};

		assert_int_equal(poll(&p, 1, PATIENCE_MS), 1);
		assert_int_equal(ioctl(fds[i], NIOCRXSYNC), 0);
	}
	assert_int_equal(take(&a), 7);
	/* Another file takes the place of a duplicate, and a duplicate that of a file. */
	other = eventfd(0, EFD_NONBLOCK);
	assert_int_equal(dup2(other, fds[0]), fds[0]);
	assert_int_equal(ioctl(fds[0], NIOCTXSYNC), -1);
	assert_int_equal(errno, ENOTTY);
	assert_int_equal(dup3(fds[1], other, O_CLOEXEC), other);
	assert_int_equal(ioctl(other, NIOCTXSYNC), 0);
	assert_int_equal(dup2(-1, other), -1);
	assert_int_equal(ioctl(other, NIOCTXSYNC), 0);
	assert_int_equal(fcntl(other, F_SETFL, O_NONBLOCK), 0);
	assert_true(fcntl(fds[1], F_GETFL) & O_NONBLOCK);
	/* The port is there until the last one is closed. */
	close(other);
	close(fds[0]);
	assert_int_equal(close_range(90, 1000000, 0), 0);
	munmap(a.mem, a.reg.nr_memsize);
	open_port(&a, "vale5:a");
	/* What netmap-run has open was not in that range's way: b still works. */
	assert_int_equal(ioctl(b.fd, NIOCTXSYNC), 0);
	close_port(&a);
	close_port(&b);
}

/* ---- the older interfaces --------------------------------------------------------------- */

static void test_nm_open(void **state)
{
	struct nm_desc *a = nm_open("vale5:a", NULL, 0, NULL), *b;
	struct nm_pkthdr hdr;
	struct pollfd p;
	char packet[LEN];

	(void)state;
	assert_non_null(a);
	b = nm_open("vale5:b", NULL, 0, NULL);
	assert_non_null(b);
	memset(packet, 0xff, sizeof(packet));
	memset(packet + 6, 2, 6);
	assert_int_equal(nm_inject(a, packet, sizeof(packet)), sizeof(packet));
	assert_int_equal(ioctl(NETMAP_FD(a), NIOCTXSYNC, NULL), 0);
	p = (struct pollfd){.fd = NETMAP_FD(b), .events = POLLIN};
	assert_int_equal(poll(&p, 1, PATIENCE_MS), 1);
	assert_non_null(nm_nextpkt(b, &hdr));
	assert_int_equal(hdr.len, sizeof(packet));
	assert_memory_equal(hdr.buf, packet, sizeof(packet));
	assert_int_equal(nm_close(b), 0);
	/* Two descriptors of one region share a mapping, when told so. */
	assert_int_equal(nm_close(a), 0);
	a = nm_open("vale5:p{1", NULL, 0, NULL);
	assert_non_null(a);
	b = nm_open("vale5:p}1", NULL, NM_OPEN_NO_MMAP, NULL);
	assert_non_null(b);
	assert_null(b->mem);
	assert_int_equal(nm_mmap(b, a), 0);
	assert_ptr_equal(b->mem, a->mem);
	assert_int_equal(b->done_mmap, 0);
	assert_int_equal(nm_close(b), 0);
	/* With another descriptor it is mapped, though the flag is set: forwarders rely on it. */
	b = nm_open("vale5:p}1", NULL, NM_OPEN_NO_MMAP, a);
	assert_non_null(b);
	assert_ptr_equal(b->mem, a->mem);
	assert_non_null(b->nifp);
	assert_int_equal(nm_close(b), 0);
	b = nm_open("vale6:q", NULL, NM_OPEN_NO_MMAP, a); /* a region of its own */
	assert_non_null(b);
	assert_ptr_not_equal(b->mem, a->mem);
	assert_string_equal(b->nifp->ni_name, "vale6:q");
	assert_int_equal(nm_close(b), 0);
	assert_int_equal(nm_close(a), 0);
}

/* The sync loop and external memory are served in the program as well. */
struct csb {
	struct nm_csb_atok atok[2];
	struct nm_csb_ktoa ktoa[2];
} __attribute__((aligned(64)));

static void *run_loop(void *arg)
{
	struct nmreq_sync_kloop_start start = {.sleep_us = 20};
	int *fd = arg;

	return request(*fd, NETMAP_REQ_SYNC_KLOOP_START, "", &start) == 0 ? arg : NULL;
}

static void test_loop(void **state)
{
	static struct csb csb;
	struct port a = {.fd = open("/dev/netmap", O_RDWR)}, b = {0};
	struct nmreq_opt_csb opt = {.nro_opt.nro_reqtype = NETMAP_REQ_OPT_CSB,
		.csb_atok = (uintptr_t)csb.atok,
		.csb_ktoa = (uintptr_t)csb.ktoa};
	struct nmreq_header hdr = {.nr_version = NETMAP_API,
		.nr_reqtype = NETMAP_REQ_REGISTER,
		.nr_name = "vale5:a",
		.nr_body = (uintptr_t)&a.reg,
		.nr_options = (uintptr_t)&opt};
	pthread_t thread;
	void *ok;

	(void)state;
	a.reg.nr_mode = NR_REG_ALL_NIC;
	a.reg.nr_flags = NR_EXCLUSIVE;
	assert_int_equal(ioctl(a.fd, NIOCCTRL, &hdr), 0);
	map_port(&a);
	open_port(&b, "vale5:b");
	assert_int_equal(ioctl(a.fd, NIOCTXSYNC), -1);
	assert_int_equal(errno, EBUSY);
	assert_int_equal(pthread_create(&thread, NULL, run_loop, &a.fd), 0);
	put(&a, 11);
	__atomic_store_n(&csb.atok[0].cur, 1, __ATOMIC_RELEASE);
	__atomic_store_n(&csb.atok[0].head, 1, __ATOMIC_RELEASE);
	assert_int_equal(wait_and_take(&b), 11);
	assert_int_equal(request(a.fd, NETMAP_REQ_SYNC_KLOOP_STOP, "", NULL), 0);
	pthread_join(thread, &ok);
	assert_non_null(ok);
	close_port(&a);
	close_port(&b);
}

static void test_extmem(void **state)
{
	enum { SIZE = 4 << 20 };
	char *mem = mmap(NULL, SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	struct port a = {.fd = open("/dev/netmap", O_RDWR)}, b = {0};
	struct nmreq_opt_extmem opt = {.nro_opt.nro_reqtype = NETMAP_REQ_OPT_EXTMEM,
		.nro_usrptr = (uintptr_t)mem,
		.nro_info.nr_memsize = SIZE};
	struct nmreq_header hdr = {.nr_version = NETMAP_API,
		.nr_reqtype = NETMAP_REQ_REGISTER,
		.nr_name = "vale5:a",
		.nr_body = (uintptr_t)&a.reg,
		.nr_options = (uintptr_t)&opt};

	(void)state;
	a.reg.nr_mode = NR_REG_ALL_NIC;
	a.reg.nr_tx_slots = a.reg.nr_rx_slots = 64;
	assert_int_equal(ioctl(a.fd, NIOCCTRL, &hdr), 0);
	assert_int_equal(opt.nro_usrptr, (uintptr_t)mem);
	a.nifp = NETMAP_IF(mem, a.reg.nr_offset);
	a.tx = NETMAP_TXRING(a.nifp, 0);
	a.rx = NETMAP_RXRING(a.nifp, 0);
	open_port(&b, "vale5:b");
	put(&a, 12);
	assert_int_equal(ioctl(a.fd, NIOCTXSYNC), 0);
	assert_int_equal(wait_and_take(&b), 12);
	close(a.fd);
	mem[0] = 1; /* the program's still */
	munmap(mem, SIZE);
	close_port(&b);
}

static void test_regif(void **state)
{
	struct nmreq nmr = {.nr_version = NETMAP_API, .nr_name = "vale5:a"};
	int fd = open("/dev/netmap", O_RDWR);
	struct netmap_if *nifp;
	char *mem;

	(void)state;
	nmr.nr_flags = NR_REG_ALL_NIC;
	assert_int_equal(ioctl(fd, NIOCREGIF, &nmr), 0);
	assert_true(nmr.nr_tx_rings == 1 && nmr.nr_tx_slots > 0 && nmr.nr_memsize > 0);
	mem = mmap(NULL, nmr.nr_memsize, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	assert_true(mem != MAP_FAILED);
	nifp = NETMAP_IF(mem, nmr.nr_offset);
	assert_int_equal(NETMAP_TXRING(nifp, 0)->num_slots, nmr.nr_tx_slots);
	nmr.nr_memsize = 0;
	assert_int_equal(ioctl(fd, NIOCGINFO, &nmr), 0);
	assert_true(nmr.nr_memsize > 0);
	nmr.nr_version = 3;
	assert_int_equal(ioctl(fd, NIOCGINFO, &nmr), -1);
	assert_int_equal(errno, EINVAL);
	assert_int_equal(nmr.nr_version, NETMAP_API);
	munmap(mem, nmr.nr_memsize);
	close(fd);
}

/* ---- several rings ------------------------------------------------------------------------ */

static void test_rings(void **state)
{
	struct port a[2] = {{0}}, b = {0};
	struct pollfd p;

	(void)state;
	for (uint16_t i = 0; i < 2; i++) {
		a[i].fd = open("/dev/netmap", O_RDWR);
		a[i].reg = (struct nmreq_register){.nr_mode = NR_REG_ONE_NIC,
			.nr_ringid = i,
			.nr_tx_rings = 2,
			.nr_rx_rings = 2};
		assert_int_equal(register_port(&a[i], "vale5:a"), 0);
		map_port(&a[i]);
	}
	open_port(&b, "vale5:b");
	for (uint16_t i = 0; i < 2; i++) {
		put(&a[i], i);
		assert_int_equal(ioctl(a[i].fd, NIOCTXSYNC), 0);
		p = (struct pollfd){.fd = b.fd, .events = POLLIN};
		assert_int_equal(poll(&p, 1, PATIENCE_MS), 1);
		assert_int_equal(take(&b), i);
	}
	close_port(&a[0]);
	close_port(&a[1]);
	close_port(&b);
}

static int tests(void)
{
	const struct CMUnitTest all[] = {
		cmocka_unit_test(test_open),
		cmocka_unit_test(test_errors),
		cmocka_unit_test(test_options),
		cmocka_unit_test(test_duplicates),
		cmocka_unit_test(test_nm_open),
		cmocka_unit_test(test_loop),
		cmocka_unit_test(test_extmem),
		cmocka_unit_test(test_regif),
		cmocka_unit_test(test_rings),
	};

	return cmocka_run_group_tests(all, NULL, NULL);
}

int main(int argc, char **argv)
{
	return run_main(argc, argv, tests);
}
