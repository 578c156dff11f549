/* SPDX-License-Identifier: BSD-2-Clause */
/* A note is "napi/QUEUE/QUEUES/DEFER_HARD_IRQS/GRO_FLUSH_NS", as it was. */
#include "deferral.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

#include "device.h"
#include "log.h"
#include "netdev.h"
#include "waiting.h"

enum {
	DEFER_HARD_IRQS = 2, /* as the kernel's documentation of AF_XDP has them */
	GRO_FLUSH_NS = 200000,
	RESET_MS = 1000, /* a device that is being reset is waited for */
};

#define NOTE_FORMAT DEFERRAL_NOTE "%" PRIu32 "/%" PRIu32 "/%" PRIu32 "/%" PRIu64

struct note {
	uint32_t queue, queues;
	struct netdev_napi was;
};

static bool parse(const char *text, struct note *note)
{
	int end = 0;

	return sscanf(text, NOTE_FORMAT "%n", &note->queue, &note->queues,
		       &note->was.defer_hard_irqs, &note->was.gro_flush_ns, &end) == 4 &&
	       text[end] == '\0';
}

bool deferral_is_note(const char *note)
{
	struct note parsed;

	return parse(note, &parsed);
}

/* ---- on ---------------------------------------------------------------------------------------- */

/* What was there before the first change counts. False: nothing was changed. */
static bool find_note(const struct claim *c, uint32_t queue, struct note *note)
{
	for (uint32_t i = 0; i < c->count; i++)
		if (parse(c->change[i], note) && note->queue == queue)
			return true;
	return false;
}

/* Does a busy poll of the socket reach this instance? The kick that has followed its bind() was one. */
static bool is_polled(int sock, uint32_t mode, const struct netdev_napi *napi)
{
	uint32_t id = 0;
	socklen_t len = sizeof(id);

	if (mode != NIC_MODE_ZEROCOPY)
		return mode == NIC_MODE_NATIVE;
	return getsockopt(sock, SOL_SOCKET, SO_INCOMING_NAPI_ID, &id, &len) == 0 && id == napi->id;
}

/* They are as they were until now. */
static void take_down(
	struct claim *c, uint32_t queue, uint32_t queues, const struct netdev_napi *was)
{
	char text[CHANGE_MAX];
	struct note note;

	if (find_note(c, queue, &note))
		return;
	snprintf(text, sizeof(text), NOTE_FORMAT, queue, queues, was->defer_hard_irqs,
		was->gro_flush_ns);
	claim_note(c, text);
}

static int put_off(
	struct claim *c, const struct nic_facts *f, uint32_t queue, struct netdev_napi *napi)
{
	if (napi->defer_hard_irqs && napi->gro_flush_ns)
		return 0;
	take_down(c, queue, f->queues, napi);
	if (!napi->defer_hard_irqs)
		napi->defer_hard_irqs = DEFER_HARD_IRQS;
	if (!napi->gro_flush_ns)
		napi->gro_flush_ns = GRO_FLUSH_NS;
	return netdev_napi_set(napi);
}

/* Nobody polls: if they were put off they are needed again. */
static int let_come(const struct claim *c, uint32_t queue, struct netdev_napi *napi)
{
	struct note note;

	if (find_note(c, queue, &note)) {
		napi->defer_hard_irqs = note.was.defer_hard_irqs;
		napi->gro_flush_ns = note.was.gro_flush_ns;
		(void)netdev_napi_set(napi);
	}
	return -EOPNOTSUPP;
}

uint32_t deferral_on(
	struct claim *c, const struct nic_facts *f, const struct sockets *s, uint32_t mode)
{
	uint32_t done = 0;

	for (uint32_t i = 0; i < s->count; i++) {
		uint32_t queue = s->first + i;
		struct netdev_napi napi;
		int error = netdev_napi(f->ifindex, queue, f->queues, &napi);

		if (!error)
			error = is_polled(s->fd[i], mode, &napi) ? put_off(c, f, queue, &napi)
								 : let_come(c, queue, &napi);
		done += !error;
		if (error == -EPERM || error == -EACCES) {
			nic_log("%s: interrupts can't be put off while it is polled: %s", f->ifname,
				strerror(-error));
			break;
		}
	}
	return done;
}

bool deferral_is_known(const struct nic_facts *f, const struct sockets *s, uint32_t mode)
{
	struct netdev_napi napi;

	return netdev_napi(f->ifindex, s->first, f->queues, &napi) == 0 &&
	       is_polled(s->fd[0], mode, &napi);
}

/* ---- back ---------------------------------------------------------------------------------------- */

static int set(uint32_t ifindex, const struct note *note)
{
	struct netdev_napi napi;
	int error = netdev_napi(ifindex, note->queue, note->queues, &napi);

	if (error)
		return error;
	napi.defer_hard_irqs = note->was.defer_hard_irqs;
	napi.gro_flush_ns = note->was.gro_flush_ns;
	error = netdev_napi_set(&napi);
	return error == -ENOENT ? -EAGAIN : error; /* it was there just now */
}

static bool is_up(const char *ifname)
{
	struct nic_facts f = {.ifname = ""};
	struct nm_error ignored;

	snprintf(f.ifname, sizeof(f.ifname), "%s", ifname);
	return device_facts(&f, &ignored) != 0 || f.up;
}

bool deferral_put_back(uint32_t ifindex, const char *ifname, const char *note)
{
	struct waiting waiting = {.ifname = ifname, .what = "for the device to be reset"};
	struct note parsed;
	int error;

	if (!parse(note, &parsed))
		return true;
	while ((error = set(ifindex, &parsed)) == -EAGAIN && waiting_more(&waiting, RESET_MS))
		;
	if (error == -ENOENT || error == -EAGAIN)
		return is_up(ifname); /* what has no instance any more has no settings */
	if (error)
		nic_log("%s: interrupts of queue %u stay put off: %s; ethtool and ynl show what there is",
			ifname, parsed.queue, strerror(-error));
	return true;
}
