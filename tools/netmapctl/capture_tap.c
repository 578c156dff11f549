/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A monitor on the port, and a second connection that asks netmapd about it: whether the port is still there, how long the
 * virtio-net header before its packets is (which changes when a guest's driver starts), what the monitor has missed. Both are of
 * one netmapd, and so are all answers: where a service manager listens, the next connection would start another one.
 */
#include "capture.h"

#include <errno.h>
#include <libnetmap.h>
#include <net/netmap.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "proto_client.h"
#include "report.h"

enum {
	PACKET_MAX = 1 << 18,      /* 64 slots of the largest usual buffers */
	LOOK_NS = 2 * 1000 * 1000, /* how long an answer about the port is good for */
};

struct tap {
	struct nmport_d *monitor;
	int question;    /* the second connection; -1: nothing more can be asked */
	const char *why; /* then */
	char port[NETMAP_REQ_IFNAMSIZ];
	uint64_t looked_ns, missed;
	uint32_t hdr_len;
	uint32_t ring; /* that is looked at */
	bool gone;
	uint64_t time_ns; /* when the packets that are there were seen */
	uint8_t packet[PACKET_MAX];
};

static char reported[512];

static void on_error(struct nmctx *ctx, const char *text)
{
	(void)ctx;
	snprintf(reported, sizeof(reported), "%s", text);
}

uint64_t capture_now_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_REALTIME, &ts);
	return (uint64_t)ts.tv_sec * 1000000000 + (uint64_t)ts.tv_nsec;
}

/* An answer that didn't come, or that is none: nothing more can be asked. */
static void hang_up(struct tap *tap, int error)
{
	tap->why = error == -ECONNRESET || error == -EPIPE ? "is gone: netmapd has ended"
		   : error == -ETIMEDOUT ? "can't be watched: netmapd doesn't answer"
					 : "can't be watched: an answer is not netmapd's";
	close(tap->question);
	tap->question = -1;
	tap->gone = true;
}

/* The length of the header before the port's packets. A negative errno; *broken: of the connection, else netmapd's. */
static int ask_header(struct tap *tap, uint32_t *bytes, bool *broken)
{
	struct {
		struct nmd_hdr hdr;
		struct nmreq_header req;
		struct nmreq_port_hdr body;
	} message = {.req = {.nr_version = NETMAP_API, .nr_reqtype = NETMAP_REQ_PORT_HDR_GET}};
	struct {
		struct nmd_nmreq_reply reply;
		struct nmreq_header req;
		struct nmreq_port_hdr body;
	} answer;
	ssize_t n;

	message.req.nr_body = sizeof(message.req);
	memcpy(message.req.nr_name, tap->port, sizeof(message.req.nr_name));
	nmd_hdr_init(&message.hdr, NMD_NMREQ, sizeof(message));
	n = nmd_request(tap->question, &message, &answer, sizeof(answer), NULL, NULL);
	*broken = n < 0;
	if (n < 0)
		return (int)n;
	if (answer.reply.reply.hdr.status < 0)
		return answer.reply.reply.hdr.status;
	*broken = (size_t)n != sizeof(answer);
	if (*broken)
		return -EPROTO;
	*bytes = answer.body.nr_hdr_len;
	return 0;
}

/* Is the port there, and with which header? */
static void look(struct tap *tap)
{
	bool broken = false;
	int error = tap->question < 0 ? 0 : ask_header(tap, &tap->hdr_len, &broken);

	if (broken)
		hang_up(tap, error);
	else if (error == -ENXIO ||
		 error == -EPERM) /* others: it isn't known now, or has no header */
		tap->gone = true;
	tap->looked_ns = capture_now_ns();
}

static int open_monitor(struct tap *tap, const struct capture_options *o)
{
	char spec[256];

	snprintf(spec, sizeof(spec), "%s/%s@conf:rx-slots=%u", o->port, o->directions, o->slots);
	tap->monitor = nmport_open(spec);
	if (!tap->monitor)
		return ctl_fail(ctl_status_of(-errno), "%s", reported);
	tap->ring = tap->monitor->first_rx_ring;
	return CTL_OK;
}

/* The port has to be there: a name of a switch port would make one. */
static int find_port(struct tap *tap, const struct capture_options *o)
{
	json_t *root;
	int status = ctl_report_on(tap->question, &root);
	bool found;

	if (status)
		return status;
	found = ctl_find(root, "ports", "name", o->port) != NULL;
	json_decref(root);
	if (!found || strlen(o->port) >= sizeof(tap->port))
		return ctl_fail(
			CTL_NOT_FOUND, "%.80s: no such port; netmapctl list has all", o->port);
	strcpy(tap->port, o->port);
	return CTL_OK;
}

int tap_open(const struct ctl *ctl, const struct capture_options *o, struct tap **out)
{
	struct tap *tap = calloc(1, sizeof(*tap));
	int status;

	if (!tap)
		return ctl_fail(CTL_FAILED, "out of memory");
	setenv("NETMAP_BACKEND", "daemon", 1);
	if (ctl->socket)
		setenv("NETMAPD_SOCKET", ctl->socket, 1);
	nmctx_get()->error = on_error;
	status = ctl_connect(ctl, &tap->question);
	if (!status)
		status = find_port(tap, o);
	if (!status)
		status = open_monitor(tap, o);
	if (status) {
		tap_close(tap);
		return status;
	}
	look(tap);
	*out = tap;
	return CTL_OK;
}

void tap_close(struct tap *tap)
{
	nmport_close(tap->monitor);
	if (tap->question >= 0)
		close(tap->question);
	free(tap);
}

static bool has_packets(struct tap *tap)
{
	for (uint32_t i = tap->monitor->first_rx_ring; i <= tap->monitor->last_rx_ring; i++)
		if (!nm_ring_empty(NETMAP_RXRING(tap->monitor->nifp, i)))
			return true;
	return false;
}

int tap_wait(struct tap *tap, int ms)
{
	int n;

	if (tap->gone)
		return -1;
	n = nmport_poll(tap->monitor, POLLIN, ms);
	if (n < 0 && errno == EINTR)
		return 0;
	if (n < 0 || (n & POLLERR))
		tap->gone = true;
	if (capture_now_ns() - tap->looked_ns >= LOOK_NS)
		look(tap);
	tap->time_ns = capture_now_ns();
	if (has_packets(tap))
		return 1;
	return tap->gone ? -1 : 0;
}

/* The slots of one packet, into one piece, without its virtio-net header. False: its end isn't there. */
static bool gather(struct tap *tap, struct netmap_ring *ring, struct pcapng_packet *packet)
{
	uint32_t length = 0, at = ring->head, skip = tap->hdr_len;
	const struct netmap_slot *slot;

	do {
		uint32_t bytes;

		if (at == ring->tail)
			return false;
		slot = &ring->slot[at];
		bytes = slot->len <= ring->nr_buf_size ? slot->len : ring->nr_buf_size;
		if (bytes > sizeof(tap->packet) - length)
			bytes = (uint32_t)sizeof(tap->packet) - length;
		memcpy(tap->packet + length, NETMAP_BUF(ring, slot->buf_idx), bytes);
		length += bytes;
		at = nm_ring_next(ring, at);
	} while (slot->flags & NS_MOREFRAG);
	if (skip > length)
		skip = length;
	*packet = (struct pcapng_packet){
		.time_ns = tap->time_ns,
		.data = tap->packet + skip,
		.length = length - skip,
		.captured = length - skip,
		.outbound = slot->flags & NS_TXMON,
	};
	ring->head = ring->cur = at;
	return true;
}

bool tap_next(struct tap *tap, struct pcapng_packet *packet)
{
	struct nmport_d *d = tap->monitor;

	for (uint32_t n = d->first_rx_ring; n <= d->last_rx_ring; n++) {
		uint32_t ring = tap->ring;

		if (gather(tap, NETMAP_RXRING(d->nifp, ring), packet)) {
			packet->ring = ring;
			return true;
		}
		tap->ring = ring == d->last_rx_ring ? d->first_rx_ring : ring + 1;
	}
	return false;
}

int tap_gone(struct tap *tap)
{
	look(tap);
	if (tap->question < 0)
		return ctl_fail(CTL_UNREACHABLE, "%s %s", tap->port, tap->why);
	return ctl_fail(CTL_NOT_FOUND, "%s is gone", tap->port);
}

/* Of this process' monitor. False: it is not in the report, as one that has gone with its port. */
static bool missed_in(const json_t *root, uint64_t *missed)
{
	json_t *app, *port, *ring;
	bool found = false;
	size_t i, j;

	*missed = 0;
	json_array_foreach(json_object_get(root, "applications"), i, app)
	{
		if (ctl_int(app, "pid") != getpid())
			continue;
		port = ctl_find_int(root, "ports", "id", ctl_int(app, "port"));
		if (strcmp(ctl_string(port, "kind"), "monitor") != 0)
			continue;
		found = true;
		json_array_foreach(json_object_get(port, "rings"), j, ring) *missed +=
			(uint64_t)ctl_int(json_object_get(ring, "errors"), "missed");
	}
	return found;
}

/* Of the connection: netmapd itself refuses with others, and goes on. */
static bool is_broken(int error)
{
	return error == -ECONNRESET || error == -EPIPE || error == -ETIMEDOUT || error == -EPROTO ||
	       error == -EMSGSIZE || error == -EPROTONOSUPPORT;
}

bool tap_missed(struct tap *tap, uint64_t *missed)
{
	struct nm_error err;
	bool known;
	int error;
	json_t *root;

	*missed = tap->missed;
	if (tap->question < 0)
		return false; /* tap_gone() says so */
	error = nmd_report(tap->question, &root, &err);
	if (is_broken(error))
		hang_up(tap, error);
	if (error)
		return false;
	known = missed_in(root, missed);
	json_decref(root);
	if (known)
		tap->missed = *missed;
	else
		*missed = tap->missed;
	return known;
}
