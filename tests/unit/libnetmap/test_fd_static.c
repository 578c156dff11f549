/* SPDX-License-Identifier: BSD-2-Clause */
/* Linked with -static: there is no loader that could find the C library's functions behind ours. And with 32
 * bits, where times have 32 or 64. */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/select.h>
#include <unistd.h>

#include <libnetmap.h>

#include "real_netmapd.h"

enum { PATIENCE_MS = 20000, LEN = 60 };

static int number, bad;

static void check(int ok, const char *what)
{
	printf("%s %d - %s\n", ok ? "ok" : "not ok", ++number, what);
	bad += !ok;
}

static void send_one(struct nmport_d *d)
{
	struct netmap_ring *ring = NETMAP_TXRING(d->nifp, 0);
	struct netmap_slot *slot = &ring->slot[ring->head];

	memset(NETMAP_BUF(ring, slot->buf_idx), 0xff, LEN);
	NETMAP_BUF(ring, slot->buf_idx)[6] = 2; /* a source address */
	slot->len = LEN;
	ring->head = ring->cur = nm_ring_next(ring, ring->head);
	check(ioctl(d->fd, NIOCTXSYNC) == 0, "ioctl(NIOCTXSYNC)");
}

static void wait_for_it(struct nmport_d *d)
{
	struct pollfd pfd = {.fd = d->fd, .events = POLLIN};
	struct epoll_event event = {.events = EPOLLIN};
	struct timeval limit = {.tv_sec = PATIENCE_MS / 1000};
	struct timespec ts = {.tv_sec = PATIENCE_MS / 1000};
	int ep = epoll_create1(EPOLL_CLOEXEC), copy = dup(d->fd), pipefd[2];
	fd_set in;

	check(poll(&pfd, 1, PATIENCE_MS) == 1 && pfd.revents == POLLIN, "poll()");
	check(ppoll(&pfd, 1, &ts, NULL) == 1 && pfd.revents == POLLIN, "ppoll()");
	check(nm_ring_space(NETMAP_RXRING(d->nifp, 0)) == 1, "it is in the ring");
	check(epoll_ctl(ep, EPOLL_CTL_ADD, d->fd, &event) == 0, "epoll_ctl()");
	check(epoll_wait(ep, &event, 1, PATIENCE_MS) == 1, "epoll_wait()");
	FD_ZERO(&in);
	FD_SET(copy, &in);
	check(select(copy + 1, &in, NULL, NULL, &limit) == 1, "select() of a duplicate");
	check(pselect(copy + 1, &in, NULL, NULL, &ts, NULL) == 1, "pselect()");
	check(fcntl(copy, F_GETFL) == O_RDWR, "fcntl()");
	check(close(copy) == 0 && close(ep) == 0, "close()");
	/* And what is not netmap's. */
	check(pipe(pipefd) == 0 && write(pipefd[1], "x", 1) == 1, "pipe()");
	pfd = (struct pollfd){.fd = pipefd[0], .events = POLLIN};
	check(poll(&pfd, 1, 0) == 1, "poll() of a pipe");
	check(dup2(pipefd[0], pipefd[1]) == pipefd[1] && close(pipefd[0]) == 0, "dup2()");
	check(close(pipefd[1]) == 0 && close(pipefd[1]) < 0 && errno == EBADF, "close() twice");
}

int main(void)
{
	struct real_netmapd netmapd;
	struct nmport_d *a, *b;

	real_start(&netmapd);
	alarm(120);
	a = nmport_open("vale5:a");
	b = nmport_open("vale5:b");
	check(a && b, "nmport_open()");
	if (a && b) {
		send_one(a);
		wait_for_it(b);
	}
	nmport_close(a);
	nmport_close(b);
	check(real_stop(&netmapd) == 0, "netmapd ends well");
	printf("1..%d\n", number);
	return bad != 0;
}
