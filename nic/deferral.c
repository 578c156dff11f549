/* SPDX-License-Identifier: BSD-2-Clause */
/* A note is "napi/QUEUE/DEFER_HARD_IRQS/GRO_FLUSH_NS", as it was. */
#include "deferral.h"

#include <ctype.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
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

#define NOTE_FORMAT DEFERRAL_NOTE "/%" PRIu32 "/%" PRIu32 "/%" PRIu64

struct note {
	uint32_t queue;
	struct netdev_napi was;
};

/* The number behind a slash, at *at, which moves behind it. */
static bool take_number(const char **at, uint64_t most, uint64_t *value)
{
	char *end;

	if (**at != '/' || !isdigit((unsigned char)(*at)[1]))
		return false;
	*value = strtoull(*at + 1, &end, 10);
	*at = end;
	return *value <= most;
}

static bool parse(const char *text, struct note *note)
{
	const char *at = text + strlen(DEFERRAL_NOTE);
	uint64_t queue, defer_hard_irqs;

	if (strncmp(text, DEFERRAL_NOTE "/", strlen(DEFERRAL_NOTE "/")) != 0 ||
		!take_number(&at, UINT32_MAX, &queue) ||
		!take_number(&at, UINT32_MAX, &defer_hard_irqs) ||
		!take_number(&at, UINT64_MAX, &note->was.gro_flush_ns) || *at != '\0')
		return false;
	note->queue = (uint32_t)queue;
	note->was.defer_hard_irqs = (uint32_t)defer_hard_irqs;
	return true;
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
static void take_down(struct claim *c, uint32_t queue, const struct netdev_napi *was)
{
	char text[CHANGE_MAX];
	struct note note;

	if (find_note(c, queue, &note))
		return;
	snprintf(text, sizeof(text), NOTE_FORMAT, queue, was->defer_hard_irqs, was->gro_flush_ns);
	claim_note(c, text);
}

/* What is still as it was put off gets its value of before; what somebody has set since is his. False: nothing changes. */
static bool undo(struct netdev_napi *napi, const struct netdev_napi *was)
{
	struct netdev_napi now = *napi;

	if (now.defer_hard_irqs == DEFER_HARD_IRQS)
		napi->defer_hard_irqs = was->defer_hard_irqs;
	if (now.gro_flush_ns == GRO_FLUSH_NS)
		napi->gro_flush_ns = was->gro_flush_ns;
	return napi->defer_hard_irqs != now.defer_hard_irqs ||
	       napi->gro_flush_ns != now.gro_flush_ns;
}

static int put_off(struct claim *c, uint32_t queue, struct netdev_napi *napi)
{
	if (napi->defer_hard_irqs && napi->gro_flush_ns)
		return 0;
	take_down(c, queue, napi);
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

	if (find_note(c, queue, &note) && undo(napi, &note.was))
		(void)netdev_napi_set(napi);
	return -EOPNOTSUPP;
}

uint32_t deferral_on(struct claim *c, const struct nic_facts *f, const struct sockets *s,
	uint32_t mode, bool *refused)
{
	uint32_t done = 0;

	for (uint32_t i = 0; i < s->count && !*refused; i++) {
		uint32_t queue = s->first + i;
		struct netdev_napi napi;
		int error = netdev_napi(f->ifindex, queue, f->queues, &napi);

		if (!error)
			error = is_polled(s->fd[i], mode, &napi) ? put_off(c, queue, &napi)
								 : let_come(c, queue, &napi);
		done += !error;
		if (error == -EPERM || error == -EACCES) {
			nic_log("%s: interrupts can't be put off while it is polled: %s", f->ifname,
				strerror(-error));
			*refused = true;
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

/* Of so many queues as there are now. */
static int set(const struct nic_facts *f, const struct note *note)
{
	struct netdev_napi napi;
	int error = netdev_napi(f->ifindex, note->queue, f->queues, &napi);

	if (error || !undo(&napi, &note->was))
		return error;
	error = netdev_napi_set(&napi);
	return error == -ENOENT ? -EAGAIN : error; /* it was there just now */
}

bool deferral_put_back(uint32_t ifindex, const char *ifname, const char *note)
{
	struct waiting waiting = {.ifname = ifname, .what = "for the device to be reset"};
	struct nic_facts f = {.ifindex = ifindex};
	struct nm_error ignored;
	struct note parsed;
	int error;

	snprintf(f.ifname, sizeof(f.ifname), "%s", ifname);
	if (!parse(note, &parsed) || device_facts(&f, &ignored) != 0)
		return true;
	while ((error = set(&f, &parsed)) == -EAGAIN && waiting_more(&waiting, RESET_MS))
		;
	if (error == -ENOENT || error == -EAGAIN)
		return f.up; /* what has no instance any more has no settings */
	if (error)
		nic_log("%s: interrupts of queue %u stay put off: %s; ethtool and ynl show what there is",
			ifname, parsed.queue, strerror(-error));
	return true;
}
