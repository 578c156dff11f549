/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Packets per second by AF_PACKET, the system's plain way:
 *
 *      afpacket pair FROM TO BYTES SECONDS CPU-OF-SENDER CPU-OF-RECEIVER
 *      afpacket send|receive|forward INTERFACE [TO] BYTES SECONDS CPU
 *
 * pair: one thread sends (sendmmsg, 64 at a time, past the queueing discipline), one receives (recvmmsg); prints what the
 * receiver counts. The others are one thread: it sends frames as fast as they go, or counts what comes, or sends what comes
 * at INTERFACE through TO; prints what it has sent, received, or passed on.
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
	const char *what;
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

struct batch {
	struct mmsghdr msg[BATCH];
	struct iovec iov[BATCH];
	uint8_t frames[BATCH][FRAME_MAX];
};

static void set_batch(struct batch *b)
{
	memset(b->msg, 0, sizeof(b->msg));
	for (int i = 0; i < BATCH; i++) {
		b->iov[i] = (struct iovec){b->frames[i], FRAME_MAX};
		b->msg[i].msg_hdr = (struct msghdr){.msg_iov = &b->iov[i], .msg_iovlen = 1};
	}
}

/* The first n of a batch; how many went, the others are lost. */
static uint32_t send_batch(int fd, struct batch *b, uint32_t n)
{
	int sent = sendmmsg(fd, b->msg, n, 0);

	if (sent < 0 && errno != ENOBUFS && errno != EAGAIN)
		die("sendmmsg", errno);
	return sent > 0 ? (uint32_t)sent : 0;
}

static uint32_t receive_batch(int fd, struct batch *b)
{
	int n = recvmmsg(fd, b->msg, BATCH, MSG_DONTWAIT, NULL);

	if (n < 0 && errno != EAGAIN)
		die("recvmmsg", errno);
	return n > 0 ? (uint32_t)n : 0;
}

static void set_frames(struct batch *b)
{
	static const uint8_t header[] = {2, 0, 0, 0, 0, 2, 2, 0, 0, 0, 0, 1, 0x88, 0xb5};

	for (int i = 0; i < BATCH; i++) {
		memcpy(b->frames[i], header, sizeof(header));
		b->iov[i].iov_len = g.len;
	}
}

static void *send_all(void *arg)
{
	static struct batch b;

	pin_to(g.cpu);
	set_batch(&b);
	set_frames(&b);
	while (!__atomic_load_n(&g.stop, __ATOMIC_RELAXED))
		send_batch(g.from, &b, BATCH);
	return NULL;
}

static uint32_t receive_some(struct batch *b)
{
	return receive_batch(g.to, b);
}

static uint32_t send_some(struct batch *b)
{
	return send_batch(g.to, b, BATCH);
}

static uint32_t forward_some(struct batch *b)
{
	uint32_t n = receive_batch(g.from, b), sent;

	for (uint32_t i = 0; i < n; i++)
		b->iov[i].iov_len = b->msg[i].msg_len;
	sent = n ? send_batch(g.to, b, n) : 0;
	for (uint32_t i = 0; i < n; i++)
		b->iov[i].iov_len = FRAME_MAX;
	return sent;
}

static uint64_t run_for(double seconds)
{
	static struct batch b;
	uint32_t (*some)(struct batch * b) = g.what[0] == 's'   ? send_some
					     : g.what[0] == 'f' ? forward_some
								: receive_some;
	double end = now_s() + seconds;
	uint64_t count = 0;

	set_batch(&b);
	if (some == send_some)
		set_frames(&b);
	while (now_s() < end)
		count += some(&b);
	return count;
}

int main(int argc, char **argv)
{
	bool pair = argc == 8 && strcmp(argv[1], "pair") == 0;
	bool forward = argc == 7 && strcmp(argv[1], "forward") == 0;
	bool alone = argc == 6 && (strcmp(argv[1], "send") == 0 || strcmp(argv[1], "receive") == 0);
	int at = alone ? 3 : 4; /* of BYTES */
	double seconds;
	pthread_t sender;
	uint64_t count;

	if (!pair && !forward && !alone) {
		fprintf(stderr,
			"usage: afpacket pair FROM TO BYTES SECONDS CPU-OF-SENDER CPU-OF-RECEIVER\n"
			"       afpacket send|receive|forward INTERFACE [TO] BYTES SECONDS CPU\n");
		return 2;
	}
	g.what = argv[1];
	g.len = (uint32_t)atoi(argv[at]);
	seconds = atof(argv[at + 1]);
	g.cpu = atoi(argv[at + 2]);
	if (g.len < 60 || g.len > FRAME_MAX || seconds <= 0)
		die("bytes or seconds", EINVAL);
	g.to = open_on(argv[at - 1]);
	g.from = alone ? -1 : open_on(argv[at - 2]);
	if (pair && pthread_create(&sender, NULL, send_all, NULL) != 0)
		die("thread", EAGAIN);
	pin_to(pair ? atoi(argv[7]) : g.cpu);
	(void)run_for(0.5); /* until it runs evenly */
	count = run_for(seconds);
	__atomic_store_n(&g.stop, true, __ATOMIC_RELAXED);
	if (pair)
		pthread_join(sender, NULL);
	printf("%.0f\n", (double)count / seconds);
	return 0;
}
