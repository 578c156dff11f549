/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Packets per second from one interface to another by AF_PACKET, the system's plain way:
 *
 *      afpacket FROM TO BYTES SECONDS CPU-OF-SENDER CPU-OF-RECEIVER
 *
 * One thread sends (sendmmsg, 64 at a time, past the queueing discipline), one receives
 * (recvmmsg). Prints what the receiver counts.
 */
#include "testbed.h"

#include <arpa/inet.h>
#include <errno.h>
#include <linux/if_packet.h>
#include <net/ethernet.h>
#include <net/if.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum { BATCH = 64, ETHERTYPE = 0x88b5, FRAME_MAX = 1514 };

static struct {
	int from, to, cpu;
	uint32_t len;
	bool stop;
} g;

static int open_on(const char *interface)
{
	struct sockaddr_ll addr = {.sll_family = AF_PACKET,
		.sll_protocol = htons(ETHERTYPE),
		.sll_ifindex = (int)if_nametoindex(interface)};
	int one = 1, fd = socket(AF_PACKET, SOCK_RAW, htons(ETHERTYPE));

	if (addr.sll_ifindex == 0 || fd < 0 || bind(fd, (struct sockaddr *)&addr, sizeof(addr)) < 0)
		die(interface, errno);
	if (setsockopt(fd, SOL_PACKET, PACKET_QDISC_BYPASS, &one, sizeof(one)) < 0)
		die("PACKET_QDISC_BYPASS", errno);
	return fd;
}

static void *send_all(void *arg)
{
	static uint8_t frame[FRAME_MAX] = {2, 0, 0, 0, 0, 2, 2, 0, 0, 0, 0, 1, 0x88, 0xb5};
	struct iovec iov = {frame, g.len};
	struct mmsghdr batch[BATCH];

	pin_to(g.cpu);
	memset(batch, 0, sizeof(batch));
	for (int i = 0; i < BATCH; i++)
		batch[i].msg_hdr = (struct msghdr){.msg_iov = &iov, .msg_iovlen = 1};
	while (!__atomic_load_n(&g.stop, __ATOMIC_RELAXED))
		if (sendmmsg(g.from, batch, BATCH, 0) < 0 && errno != ENOBUFS && errno != EAGAIN)
			die("sendmmsg", errno);
	return NULL;
}

static uint64_t receive_for(double seconds)
{
	static uint8_t frames[BATCH][FRAME_MAX];
	struct iovec iov[BATCH];
	struct mmsghdr batch[BATCH];
	double end = now_s() + seconds;
	uint64_t count = 0;

	memset(batch, 0, sizeof(batch));
	for (int i = 0; i < BATCH; i++) {
		iov[i] = (struct iovec){frames[i], FRAME_MAX};
		batch[i].msg_hdr = (struct msghdr){.msg_iov = &iov[i], .msg_iovlen = 1};
	}
	while (now_s() < end) {
		int n = recvmmsg(g.to, batch, BATCH, MSG_DONTWAIT, NULL);

		if (n < 0 && errno != EAGAIN)
			die("recvmmsg", errno);
		count += n > 0 ? (uint64_t)n : 0;
	}
	return count;
}

int main(int argc, char **argv)
{
	double seconds;
	pthread_t sender;
	uint64_t count;

	if (argc != 7) {
		fprintf(stderr,
			"usage: afpacket FROM TO BYTES SECONDS CPU-OF-SENDER CPU-OF-RECEIVER\n");
		return 2;
	}
	g.len = (uint32_t)atoi(argv[3]);
	seconds = atof(argv[4]);
	g.cpu = atoi(argv[5]);
	if (g.len < 60 || g.len > FRAME_MAX || seconds <= 0)
		die("bytes or seconds", EINVAL);
	g.from = open_on(argv[1]);
	g.to = open_on(argv[2]);
	if (pthread_create(&sender, NULL, send_all, NULL) != 0)
		die("thread", EAGAIN);
	pin_to(atoi(argv[6]));
	(void)receive_for(0.5); /* until it runs evenly */
	count = receive_for(seconds);
	__atomic_store_n(&g.stop, true, __ATOMIC_RELAXED);
	pthread_join(sender, NULL);
	printf("%.0f\n", (double)count / seconds);
	return 0;
}
