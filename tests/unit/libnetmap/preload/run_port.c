/* SPDX-License-Identifier: BSD-2-Clause */
#include "run_port.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "real_netmapd.h"

int request(int fd, uint16_t type, const char *name, void *body)
{
	struct nmreq_header hdr = {.nr_version = NETMAP_API, .nr_reqtype = type};

	strncpy(hdr.nr_name, name, sizeof(hdr.nr_name) - 1);
	hdr.nr_body = (uintptr_t)body;
	return ioctl(fd, NIOCCTRL, &hdr);
}

int register_port(struct port *p, const char *name)
{
	if (!p->reg.nr_mode)
		p->reg.nr_mode = NR_REG_ALL_NIC;
	p->reg.nr_mem_id = 0; /* it may be what an earlier registration got */
	return request(p->fd, NETMAP_REQ_REGISTER, name, &p->reg);
}

void map_port(struct port *p)
{
	p->mem = mmap(NULL, p->reg.nr_memsize, PROT_READ | PROT_WRITE, MAP_SHARED, p->fd, 0);
	assert_true(p->mem != MAP_FAILED);
	p->nifp = NETMAP_IF(p->mem, p->reg.nr_offset);
	p->tx = NETMAP_TXRING(p->nifp, p->reg.nr_mode == NR_REG_ONE_NIC ? p->reg.nr_ringid : 0);
	p->rx = NETMAP_RXRING(p->nifp, p->reg.nr_mode == NR_REG_ONE_NIC ? p->reg.nr_ringid : 0);
}

void open_port(struct port *p, const char *name)
{
	p->fd = open("/dev/netmap", O_RDWR);
	assert_true(p->fd >= 0);
	if (register_port(p, name) < 0)
		fail_msg("%s: %s", name, strerror(errno));
	map_port(p);
}

void close_port(struct port *p)
{
	assert_int_equal(munmap(p->mem, p->reg.nr_memsize), 0);
	assert_int_equal(close(p->fd), 0);
}

void put(struct port *p, uint32_t number)
{
	struct netmap_ring *ring = p->tx;
	struct netmap_slot *slot = &ring->slot[ring->head];
	char *buf = NETMAP_BUF(ring, slot->buf_idx);

	assert_false(nm_ring_empty(ring));
	memset(buf, 0xff, 12);
	buf[6] = 2; /* a source address */
	memcpy(buf + 14, &number, sizeof(number));
	slot->len = LEN;
	slot->flags = 0;
	ring->head = ring->cur = nm_ring_next(ring, ring->head);
}

uint32_t take(struct port *p)
{
	struct netmap_ring *ring = p->rx;
	uint32_t number;

	assert_false(nm_ring_empty(ring));
	memcpy(&number, NETMAP_BUF(ring, ring->slot[ring->head].buf_idx) + 14, sizeof(number));
	ring->head = ring->cur = nm_ring_next(ring, ring->head);
	return number;
}

double now(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (double)ts.tv_sec + (double)ts.tv_nsec / 1e9;
}

uint32_t wait_and_take(struct port *p)
{
	struct pollfd pfd = {.fd = p->fd, .events = POLLIN};

	while (nm_ring_empty(p->rx)) {
		assert_int_equal(poll(&pfd, 1, PATIENCE_MS), 1);
		assert_int_equal(pfd.revents, POLLIN);
	}
	return take(p);
}

int run_main(int argc, char **argv, int (*tests)(void))
{
	struct real_netmapd netmapd;
	int status = -1;
	pid_t pid;

	if (argc > 1) {
		alarm(120);
		return tests();
	}
	real_start(&netmapd);
	pid = fork();
	if (pid == 0) {
		const char *run = getenv("NETMAP_RUN");

		execl(run, run, argv[0], "inside", (char *)NULL);
		_exit(127);
	}
	waitpid(pid, &status, 0);
	if (real_stop(&netmapd) != 0) {
		printf("Bail out! netmapd didn't end well\n");
		return 1;
	}
	return WIFEXITED(status) ? WEXITSTATUS(status) : 1;
}
