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

int try_port(struct port *p, const char *name)
{
	int error;

	p->fd = open("/dev/netmap", O_RDWR);
	assert_true(p->fd >= 0);
	if (register_port(p, name) < 0) {
		error = errno;
		close(p->fd);
		errno = error;
		return -1;
	}
	map_port(p);
	return 0;
}

void open_port(struct port *p, const char *name)
{
	if (try_port(p, name) < 0)
		fail_msg("%s: %s", name, strerror(errno));
}

int open_bare(const char *name, bool *registered)
{
	struct nmreq_register reg = {
		.nr_mode = NR_REG_ALL_NIC, .nr_tx_slots = 64, .nr_rx_slots = 64};
	int fd = open("/dev/netmap", O_RDWR | O_CLOEXEC);

	*registered = fd >= 0 && request(fd, NETMAP_REQ_REGISTER, name, &reg) == 0;
	return fd;
}

void close_port(struct port *p)
{
	assert_int_equal(munmap(p->mem, p->reg.nr_memsize), 0);
	assert_int_equal(close(p->fd), 0);
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
