/* SPDX-License-Identifier: BSD-2-Clause */
#include "netdev.h"
#include "netlink_internal.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* Of linux/netdev.h, which the oldest headers that this builds with lack. */
#define NETDEV_FAMILY "netdev"

enum {
	NETDEV_QUEUE_GET = 10,
	NETDEV_NAPI_GET = 11,
	NETDEV_NAPI_SET = 14,

	NETDEV_QUEUE_ID = 1,
	NETDEV_QUEUE_IFINDEX = 2,
	NETDEV_QUEUE_TYPE = 3,
	NETDEV_QUEUE_NAPI_ID = 4,
	NETDEV_QUEUE_RX = 0,

	NETDEV_NAPI_IFINDEX = 1,
	NETDEV_NAPI_ID = 2,
	NETDEV_NAPI_DEFER_HARD_IRQS = 5,
	NETDEV_NAPI_GRO_FLUSH_TIMEOUT = 6,

	NAPIS_MAX = 256, /* of a device */
};

/* An attribute of a message of generic netlink; NULL: there is none. */
static const struct rtattr *attribute(const struct nlmsghdr *hdr, uint16_t type)
{
	return netlink_find((char *)NLMSG_DATA(hdr) + GENL_HDRLEN,
		hdr->nlmsg_len - NLMSG_LENGTH(GENL_HDRLEN), type);
}

static uint64_t long_number(const struct rtattr *a)
{
	uint64_t value;

	if (!a || RTA_PAYLOAD(a) < sizeof(value))
		return netlink_number(a);
	memcpy(&value, RTA_DATA(a), sizeof(value));
	return value;
}

/* Bytes of an answer of the family, or what else the kernel says: a negative errno. */
static ssize_t ask(struct netlink_request *r, char answer[NETLINK_ANSWER_MAX])
{
	const struct nlmsghdr *hdr = (void *)answer;
	ssize_t n = netlink_converse(NETLINK_GENERIC, r, answer);

	if (n < 0 || !NLMSG_OK(hdr, (size_t)n))
		return n < 0 ? n : -EPROTO;
	if (hdr->nlmsg_type == r->hdr.nlmsg_type)
		return hdr->nlmsg_len >= NLMSG_LENGTH(GENL_HDRLEN) ? n : -EPROTO;
	if (hdr->nlmsg_type == NLMSG_ERROR)
		return ((struct nlmsgerr *)NLMSG_DATA(hdr))->error;
	return hdr->nlmsg_type == NLMSG_DONE ? -ENOENT : -EPROTO;
}

/* As the driver says; 0: it doesn't. */
static uint32_t linked_id(uint16_t family, uint32_t ifindex, uint32_t queue)
{
	struct netlink_request r = netlink_generic(family, NETDEV_QUEUE_GET, 0);
	_Alignas(struct nlmsghdr) char answer[NETLINK_ANSWER_MAX];
	uint32_t type = NETDEV_QUEUE_RX;

	netlink_add(&r, NETDEV_QUEUE_ID, &queue, sizeof(queue));
	netlink_add(&r, NETDEV_QUEUE_TYPE, &type, sizeof(type));
	netlink_add(&r, NETDEV_QUEUE_IFINDEX, &ifindex, sizeof(ifindex));
	return ask(&r, answer) > 0 ? netlink_number(attribute((void *)answer, NETDEV_QUEUE_NAPI_ID))
				   : 0;
}

static int by_number(const void *a, const void *b)
{
	uint32_t one = *(const uint32_t *)a, other = *(const uint32_t *)b;

	return (one > other) - (one < other);
}

struct napi_ids {
	uint32_t id[NAPIS_MAX], count; /* of all, also those beyond */
};

static void take_id(const struct nlmsghdr *hdr, void *arg)
{
	struct napi_ids *ids = arg;

	if (hdr->nlmsg_len < NLMSG_LENGTH(GENL_HDRLEN))
		return;
	if (ids->count < NAPIS_MAX)
		ids->id[ids->count] = netlink_number(attribute(hdr, NETDEV_NAPI_ID));
	ids->count++;
}

/* The nth of all that the device has, if these are so many; 0: they aren't. */
static uint32_t nth_id(uint16_t family, uint32_t ifindex, uint32_t nth, uint32_t of)
{
	struct netlink_request r = netlink_generic(family, NETDEV_NAPI_GET, NLM_F_DUMP);
	struct napi_ids ids = {.count = 0};

	netlink_add(&r, NETDEV_NAPI_IFINDEX, &ifindex, sizeof(ifindex));
	if (netlink_dump(NETLINK_GENERIC, &r, take_id, &ids) != 0 || ids.count != of ||
		of > NAPIS_MAX || nth >= of)
		return 0;
	qsort(ids.id, of, sizeof(ids.id[0]), by_number);
	return ids.id[nth];
}

int netdev_napi(uint32_t ifindex, uint32_t queue, uint32_t queues, struct netdev_napi *napi)
{
	_Alignas(struct nlmsghdr) char answer[NETLINK_ANSWER_MAX];
	int family = netlink_family(NETDEV_FAMILY, answer);
	struct netlink_request r;
	ssize_t n;

	if (family < 0)
		return family;
	napi->id = linked_id((uint16_t)family, ifindex, queue);
	if (!napi->id)
		napi->id = nth_id((uint16_t)family, ifindex, queue, queues);
	if (!napi->id)
		return -ENOENT;
	r = netlink_generic((uint16_t)family, NETDEV_NAPI_GET, 0);
	netlink_add(&r, NETDEV_NAPI_ID, &napi->id, sizeof(napi->id));
	n = ask(&r, answer);
	if (n < 0)
		return (int)n;
	if (!attribute((void *)answer, NETDEV_NAPI_DEFER_HARD_IRQS))
		return -EOPNOTSUPP; /* before 6.13 */
	napi->defer_hard_irqs =
		netlink_number(attribute((void *)answer, NETDEV_NAPI_DEFER_HARD_IRQS));
	napi->gro_flush_ns = long_number(attribute((void *)answer, NETDEV_NAPI_GRO_FLUSH_TIMEOUT));
	return 0;
}

int netdev_napi_set(const struct netdev_napi *napi)
{
	_Alignas(struct nlmsghdr) char answer[NETLINK_ANSWER_MAX];
	int family = netlink_family(NETDEV_FAMILY, answer);
	struct netlink_request r;

	if (family < 0)
		return family;
	r = netlink_generic((uint16_t)family, NETDEV_NAPI_SET, NLM_F_ACK);
	netlink_add(&r, NETDEV_NAPI_ID, &napi->id, sizeof(napi->id));
	netlink_add(&r, NETDEV_NAPI_DEFER_HARD_IRQS, &napi->defer_hard_irqs,
		sizeof(napi->defer_hard_irqs));
	netlink_add(
		&r, NETDEV_NAPI_GRO_FLUSH_TIMEOUT, &napi->gro_flush_ns, sizeof(napi->gro_flush_ns));
	return (int)ask(&r, answer);
}
