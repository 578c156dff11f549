/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A handler per command, and the table at the end: how long its payload may be, how many
 * descriptors may come, whether before VERSION. vu_msg_handle() checks a message against its line
 * before the handler sees it.
 *
 * Payloads are read with get() into private structures, at offsets that were checked against the
 * length.
 */
#include "vu_msg.h"
#include "notify.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include <jansson.h>

typedef int handler_fn(
	struct vu_session *session, const struct vu_msg *msg, struct vu_reply *reply);

/* Bytes of any payload. */
enum { PAYLOAD_MAX = VU_MSG_MAX - sizeof(struct vu_hdr) };

/* The fixed part of a payload; its size is checked before a handler is called. */
static void get(const struct vu_msg *msg, void *fixed, size_t bytes)
{
	memcpy(fixed, msg->payload, bytes);
}

static void put(struct vu_reply *reply, const void *data, size_t bytes)
{
	memcpy(reply->data + reply->len, data, bytes);
	reply->len += bytes;
}

/*
 * VERSION
 */

struct peer_caps {
	bool takes_fd; /* at least one descriptor in a message */
	bool write_multiple;
};

static int parse_caps(const char *text, size_t len, struct peer_caps *caps)
{
	json_t *root, *list, *value;
	int error = -EINVAL;

	if (len == 0)
		return 0;
	if (memchr(text, 0, len) != text + len - 1)
		return -EINVAL;
	root = json_loadb(text, len - 1, JSON_REJECT_DUPLICATES, NULL);
	if (!json_is_object(root))
		goto out;
	list = json_object_get(root, "capabilities");
	if (list && !json_is_object(list))
		goto out;
	value = json_object_get(list, "max_msg_fds");
	if (value) {
		if (!json_is_integer(value) || json_integer_value(value) < 0)
			goto out;
		caps->takes_fd = json_integer_value(value) > 0;
	}
	value = json_object_get(list, "write_multiple");
	if (value) {
		if (!json_is_boolean(value))
			goto out;
		caps->write_multiple = json_is_true(value);
	}
	error = 0;
out:
	json_decref(root);
	return error;
}

static int handle_version(
	struct vu_session *session, const struct vu_msg *msg, struct vu_reply *reply)
{
	struct peer_caps caps = {.takes_fd = true};
	struct vu_version version;
	char text[256];
	int len, error;

	get(msg, &version, sizeof(version));
	if (version.major != VU_MAJOR) {
		session->fatal = true;
		return -EPROTONOSUPPORT;
	}
	error = parse_caps(
		(const char *)msg->payload + sizeof(version), msg->len - sizeof(version), &caps);
	if (error)
		return error;

	/* QEMU takes no reply that is longer than its command: keep it short. */
	len = snprintf(text, sizeof(text),
		"{\"capabilities\":{\"max_msg_fds\":%d,\"max_data_xfer_size\":%d,"
		"\"max_dma_maps\":%d,\"pgsizes\":%d%s}}",
		VU_FDS_MAX, VU_DATA_MAX, VU_DMA_MAPS_MAX, VU_PAGE_SIZE,
		caps.write_multiple ? ",\"write_multiple\":true" : "");
	version.minor = VU_MINOR;
	put(reply, &version, sizeof(version));
	put(reply, text, (size_t)len + 1);
	session->peer_takes_fd = caps.takes_fd;
	session->ready = true;
	return 0;
}

/*
 * DMA
 */

static int handle_dma_map(
	struct vu_session *session, const struct vu_msg *msg, struct vu_reply *reply)
{
	struct vu_dma_map map;

	get(msg, &map, sizeof(map));
	if (map.argsz < sizeof(map))
		return -EINVAL;
	if (map.flags & ~(VFIO_DMA_MAP_FLAG_READ | VFIO_DMA_MAP_FLAG_WRITE))
		return -EINVAL;
	return session->ops->dma_map(session->dev, &map, msg->nfds ? msg->fds[0] : -1);
}

static int handle_dma_unmap(
	struct vu_session *session, const struct vu_msg *msg, struct vu_reply *reply)
{
	struct vu_dma_unmap unmap;
	int error;

	get(msg, &unmap, sizeof(unmap));
	if (unmap.flags & ~VFIO_DMA_UNMAP_FLAG_ALL)
		return -EOPNOTSUPP; /* a bitmap of dirty pages is not kept */
	if (unmap.argsz < sizeof(unmap) || msg->len != sizeof(unmap))
		return -EINVAL;
	if (!unmap.flags)
		error = session->ops->dma_unmap(session->dev, unmap.address, unmap.size);
	else if (unmap.address || unmap.size)
		error = -EINVAL;
	else
		error = session->ops->dma_unmap_all(session->dev);
	put(reply, &unmap, sizeof(unmap));
	return error;
}

/*
 * Information
 */

static int handle_get_info(
	struct vu_session *session, const struct vu_msg *msg, struct vu_reply *reply)
{
	struct vu_device_info info;

	get(msg, &info, sizeof(info));
	if (info.argsz < sizeof(info) || info.flags || info.num_regions || info.num_irqs)
		return -EINVAL;
	info.argsz = sizeof(info);
	info.flags = VFIO_DEVICE_FLAGS_RESET | VFIO_DEVICE_FLAGS_PCI;
	info.num_regions = VFIO_PCI_NUM_REGIONS;
	info.num_irqs = VFIO_PCI_NUM_IRQS;
	put(reply, &info, sizeof(info));
	return 0;
}

/* -EINVAL if there is no such index; a region that the device doesn't have has size 0. */
static int find_region(struct vu_session *session, uint32_t index, struct vu_region *region)
{
	if (index >= VFIO_PCI_NUM_REGIONS)
		return -EINVAL;
	memset(region, 0, sizeof(*region));
	region->fd = -1;
	session->ops->region(session->dev, index, region);
	return 0;
}

/* A file that ends before the region does: the client must not map what is behind it. */
static void put_area(struct vu_reply *reply, const struct vu_region *region)
{
	const struct vu_region_area area = {
		.header = {.id = VFIO_REGION_INFO_CAP_SPARSE_MMAP, .version = 1},
		.nr_areas = 1,
		.size = region->fd_size,
	};

	put(reply, &area, sizeof(area));
}

static int handle_get_region_info(
	struct vu_session *session, const struct vu_msg *msg, struct vu_reply *reply)
{
	struct vu_region_info_msg info;
	struct vu_region region;
	uint32_t room;
	int error;

	get(msg, &info, sizeof(info));
	if (info.argsz < sizeof(info) || info.flags || info.cap_offset || info.size || info.offset)
		return -EINVAL;
	error = find_region(session, info.index, &region);
	if (error)
		return error;
	room = info.argsz;
	info.argsz = sizeof(info);
	info.size = region.size;
	info.flags = region.flags;
	if (!session->peer_takes_fd)
		info.flags &= ~VFIO_REGION_INFO_FLAG_MMAP; /* no way to pass the file */
	if (info.flags & VFIO_REGION_INFO_FLAG_MMAP) {
		info.offset = region.fd_offset;
		if (region.fd_size < region.size) {
			info.flags |= VFIO_REGION_INFO_FLAG_CAPS;
			info.cap_offset = sizeof(info);
			info.argsz += sizeof(struct vu_region_area);
		}
		if (room >= info.argsz)
			reply->fd = region.fd;
	}
	put(reply, &info, sizeof(info));
	if (info.cap_offset && room >= info.argsz)
		put_area(reply, &region);
	return 0;
}

static int handle_get_region_io_fds(
	struct vu_session *session, const struct vu_msg *msg, struct vu_reply *reply)
{
	struct vu_region_io_fds fds;

	get(msg, &fds, sizeof(fds));
	if (fds.argsz < sizeof(fds) || fds.flags || fds.count || fds.index >= VFIO_PCI_NUM_REGIONS)
		return -EINVAL;
	return -EOPNOTSUPP; /* no region has any */
}

/*
 * Interrupts
 */

static int find_irq(struct vu_session *session, uint32_t index, struct vu_irq *irq)
{
	if (index >= VFIO_PCI_NUM_IRQS)
		return -EINVAL;
	memset(irq, 0, sizeof(*irq));
	session->ops->irq(session->dev, index, irq);
	return 0;
}

static int handle_get_irq_info(
	struct vu_session *session, const struct vu_msg *msg, struct vu_reply *reply)
{
	struct vu_irq_info_msg info;
	struct vu_irq irq;
	int error;

	get(msg, &info, sizeof(info));
	if (info.argsz < sizeof(info) || info.flags || info.count)
		return -EINVAL;
	error = find_irq(session, info.index, &irq);
	if (error)
		return error;
	info.argsz = sizeof(info);
	info.flags = irq.flags;
	info.count = irq.count;
	put(reply, &info, sizeof(info));
	return 0;
}

static int give_eventfds(
	struct vu_session *session, uint32_t index, uint32_t start, uint32_t count, const int *fds)
{
	if (!session->ops->irq_set)
		return 0;
	return session->ops->irq_set(session->dev, index, start, count, fds);
}

static int set_irq_eventfds(
	struct vu_session *session, const struct vu_irq_set *set, const struct vu_msg *msg)
{
	unsigned int i;

	if (!(set->flags & VFIO_IRQ_SET_ACTION_TRIGGER))
		return -EOPNOTSUPP; /* events for mask and unmask */
	if (msg->nfds != 0 && msg->nfds != set->count)
		return -EINVAL;
	for (i = 0; i < msg->nfds; i++) {
		if (!notify_usable(msg->fds[i]))
			return -EINVAL;
	}
	return give_eventfds(
		session, set->index, set->start, set->count, msg->nfds ? msg->fds : NULL);
}

static bool one_bit(uint32_t bits)
{
	return bits && !(bits & (bits - 1));
}

static int handle_set_irqs(
	struct vu_session *session, const struct vu_msg *msg, struct vu_reply *reply)
{
	const uint32_t data_bits = VFIO_IRQ_SET_DATA_TYPE_MASK;
	const uint32_t action_bits = VFIO_IRQ_SET_ACTION_TYPE_MASK;
	const uint8_t *which = NULL;
	enum vu_irq_action action;
	struct vu_irq_set set;
	struct vu_irq irq;
	size_t more;
	int error;

	get(msg, &set, sizeof(set));
	more = msg->len - sizeof(set);
	if (set.argsz < sizeof(set) || (set.flags & ~(data_bits | action_bits)))
		return -EINVAL;
	if (!one_bit(set.flags & data_bits) || !one_bit(set.flags & action_bits))
		return -EINVAL;
	if (more != (set.flags & VFIO_IRQ_SET_DATA_BOOL ? set.count : 0))
		return -EINVAL;
	if (msg->nfds && !(set.flags & VFIO_IRQ_SET_DATA_EVENTFD))
		return -EINVAL;
	error = find_irq(session, set.index, &irq);
	if (error)
		return error;
	if (set.count == 0) {
		/* Disables the whole index. */
		if (set.flags != (VFIO_IRQ_SET_DATA_NONE | VFIO_IRQ_SET_ACTION_TRIGGER) ||
			set.start)
			return -EINVAL;
		if (irq.count == 0)
			return 0;
		return give_eventfds(session, set.index, 0, irq.count, NULL);
	}
	if (set.start >= irq.count || set.count > irq.count - set.start)
		return -EINVAL;
	if (set.flags & VFIO_IRQ_SET_DATA_EVENTFD)
		return set_irq_eventfds(session, &set, msg);

	if (set.flags & VFIO_IRQ_SET_DATA_BOOL)
		which = msg->payload + sizeof(set);
	if (set.flags & VFIO_IRQ_SET_ACTION_MASK)
		action = VU_IRQ_MASK;
	else if (set.flags & VFIO_IRQ_SET_ACTION_UNMASK)
		action = VU_IRQ_UNMASK;
	else
		action = VU_IRQ_TRIGGER;
	if (!session->ops->irq_action)
		return -EOPNOTSUPP;
	return session->ops->irq_action(
		session->dev, set.index, set.start, set.count, action, which);
}

/*
 * Region accesses
 */

/* `need`: VFIO_REGION_INFO_FLAG_READ or _WRITE. */
static int check_access(struct vu_session *session, const struct vu_region_rw *rw, uint32_t need)
{
	struct vu_region region;
	int error = find_region(session, rw->region, &region);

	if (error)
		return error;
	if (rw->count == 0 || rw->count > VU_DATA_MAX)
		return -EINVAL;
	if (rw->offset > region.size || rw->count > region.size - rw->offset)
		return -EINVAL;
	return region.flags & need ? 0 : -EACCES;
}

static int handle_region_read(
	struct vu_session *session, const struct vu_msg *msg, struct vu_reply *reply)
{
	struct vu_region_rw rw;
	int error;

	get(msg, &rw, sizeof(rw));
	error = check_access(session, &rw, VFIO_REGION_INFO_FLAG_READ);
	if (error)
		return error;
	put(reply, &rw, sizeof(rw));
	memset(reply->data + reply->len, 0, rw.count);
	error = session->ops->region_read(
		session->dev, rw.region, rw.offset, reply->data + reply->len, rw.count);
	reply->len += rw.count;
	return error;
}

static int handle_region_write(
	struct vu_session *session, const struct vu_msg *msg, struct vu_reply *reply)
{
	struct vu_region_rw rw;
	int error;

	get(msg, &rw, sizeof(rw));
	error = check_access(session, &rw, VFIO_REGION_INFO_FLAG_WRITE);
	if (error)
		return error;
	if (msg->len - sizeof(rw) != rw.count)
		return -EINVAL;
	put(reply, &rw, sizeof(rw));
	return session->ops->region_write(
		session->dev, rw.region, rw.offset, msg->payload + sizeof(rw), rw.count);
}

static int handle_write_multi(
	struct vu_session *session, const struct vu_msg *msg, struct vu_reply *reply)
{
	const uint8_t *first = msg->payload + sizeof(struct vu_write_multi);
	const size_t room = msg->len - sizeof(struct vu_write_multi);
	struct vu_write_multi multi;
	struct vu_write_one one;
	uint64_t i;
	int error;

	get(msg, &multi, sizeof(multi));
	if (room % sizeof(one) || multi.count != room / sizeof(one))
		return -EINVAL;
	for (i = 0; i < multi.count; i++) {
		memcpy(&one, first + i * sizeof(one), sizeof(one));
		if (one.rw.count > sizeof(one.data))
			return -EINVAL;
		error = check_access(session, &one.rw, VFIO_REGION_INFO_FLAG_WRITE);
		if (!error && !(session->ops->light >> one.rw.region & 1))
			error = -EINVAL; /* hundreds of commands would be one turn */
		if (error)
			return error;
	}
	for (i = 0; i < multi.count; i++) {
		memcpy(&one, first + i * sizeof(one), sizeof(one));
		error = session->ops->region_write(
			session->dev, one.rw.region, one.rw.offset, one.data, one.rw.count);
		if (error)
			return error;
	}
	put(reply, &multi, sizeof(multi));
	return 0;
}

static int handle_reset(
	struct vu_session *session, const struct vu_msg *msg, struct vu_reply *reply)
{
	return session->ops->reset(session->dev);
}

/* As the kernel's vfio says that a device has no such feature. */
static int handle_feature(
	struct vu_session *session, const struct vu_msg *msg, struct vu_reply *reply)
{
	struct vu_feature feature;

	get(msg, &feature, sizeof(feature));
	return feature.argsz < sizeof(feature) ? -EINVAL : -ENOTTY;
}

/*
 * What each command may look like. Commands without a handler are known and not served.
 */
static const struct {
	const char *name;
	handler_fn *handler;
	uint16_t min, max; /* bytes of payload */
	uint8_t fds;       /* descriptors at most */
	bool first;        /* allowed before, and only before, the session is ready */
} commands[VU_COMMANDS] = {
	[VU_VERSION] = {"VERSION", handle_version, sizeof(struct vu_version), PAYLOAD_MAX, 0, true},
	[VU_DMA_MAP] = {"DMA_MAP", handle_dma_map, sizeof(struct vu_dma_map),
		sizeof(struct vu_dma_map), 1},
	/* With a flag that is not served, a bitmap's description follows. */
	[VU_DMA_UNMAP] = {"DMA_UNMAP", handle_dma_unmap, sizeof(struct vu_dma_unmap),
		sizeof(struct vu_dma_unmap) + 24, 0},
	[VU_DEVICE_GET_INFO] = {"DEVICE_GET_INFO", handle_get_info, sizeof(struct vu_device_info),
		sizeof(struct vu_device_info), 0},
	[VU_DEVICE_GET_REGION_INFO] = {"DEVICE_GET_REGION_INFO", handle_get_region_info,
		sizeof(struct vu_region_info_msg), sizeof(struct vu_region_info_msg), 0},
	[VU_DEVICE_GET_REGION_IO_FDS] = {"DEVICE_GET_REGION_IO_FDS", handle_get_region_io_fds,
		sizeof(struct vu_region_io_fds), sizeof(struct vu_region_io_fds), 0},
	[VU_DEVICE_GET_IRQ_INFO] = {"DEVICE_GET_IRQ_INFO", handle_get_irq_info,
		sizeof(struct vu_irq_info_msg), sizeof(struct vu_irq_info_msg), 0},
	[VU_DEVICE_SET_IRQS] = {"DEVICE_SET_IRQS", handle_set_irqs, sizeof(struct vu_irq_set),
		PAYLOAD_MAX, VU_FDS_MAX},
	[VU_REGION_READ] = {"REGION_READ", handle_region_read, sizeof(struct vu_region_rw),
		sizeof(struct vu_region_rw), 0},
	[VU_REGION_WRITE] = {"REGION_WRITE", handle_region_write, sizeof(struct vu_region_rw),
		sizeof(struct vu_region_rw) + VU_DATA_MAX, 0},
	[VU_DMA_READ] = {"DMA_READ", NULL, 0, PAYLOAD_MAX, 0},
	[VU_DMA_WRITE] = {"DMA_WRITE", NULL, 0, PAYLOAD_MAX, 0},
	[VU_DEVICE_RESET] = {"DEVICE_RESET", handle_reset, 0, 0, 0},
	[VU_DIRTY_PAGES] = {"DIRTY_PAGES", NULL, 0, PAYLOAD_MAX, 0},
	[VU_REGION_WRITE_MULTI] = {"REGION_WRITE_MULTI", handle_write_multi,
		sizeof(struct vu_write_multi), PAYLOAD_MAX, 0},
	[VU_DEVICE_FEATURE] = {"DEVICE_FEATURE", handle_feature, sizeof(struct vu_feature),
		PAYLOAD_MAX, 0},
	[VU_MIG_DATA_READ] = {"MIG_DATA_READ", NULL, 0, PAYLOAD_MAX, 0},
	[VU_MIG_DATA_WRITE] = {"MIG_DATA_WRITE", NULL, 0, PAYLOAD_MAX, 0},
};

const char *vu_msg_name(uint16_t command)
{
	return command < VU_COMMANDS && commands[command].name ? commands[command].name : "?";
}

void vu_session_init(struct vu_session *session, const struct vu_ops *ops, void *dev)
{
	memset(session, 0, sizeof(*session));
	session->ops = ops;
	session->dev = dev;
}

int vu_msg_handle(struct vu_session *session, const struct vu_msg *msg, struct vu_reply *reply)
{
	const uint16_t command = msg->hdr.command;

	reply->len = 0;
	reply->fd = -1;
	if (msg->hdr.flags & (~(uint32_t)VU_FLAGS_KNOWN | VU_FLAG_ERROR))
		return -EINVAL;
	if (command >= VU_COMMANDS || !commands[command].name)
		return -EOPNOTSUPP;
	if (commands[command].first == session->ready)
		return -EINVAL;
	if (msg->nfds > commands[command].fds || msg->fds_lost)
		return -EINVAL;
	if (msg->len < commands[command].min || msg->len > commands[command].max)
		return -EINVAL;
	if (!commands[command].handler)
		return -EOPNOTSUPP;
	return commands[command].handler(session, msg, reply);
}
