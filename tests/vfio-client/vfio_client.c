/* SPDX-License-Identifier: BSD-2-Clause */
#include "vfio_client.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

enum { FDS_ROOM = 253 }; /* what one message of a Unix socket can carry */

struct vfc {
	int fd;
	uint16_t next_id;
	void (*idle)(void *arg);
	void *idle_arg;
	int got_fd; /* came with the message that is being received; -1: none */
};

/*
 * Life
 */

int vfc_from_fd(int fd, struct vfc **out)
{
	struct vfc *c = calloc(1, sizeof(*c));

	if (!c)
		return -ENOMEM;
	c->fd = fd;
	c->got_fd = -1;
	*out = c;
	return 0;
}

int vfc_connect(const char *path, struct vfc **out)
{
	struct sockaddr_un addr = {.sun_family = AF_UNIX};
	int fd, error;

	if (strlen(path) >= sizeof(addr.sun_path))
		return -ENAMETOOLONG;
	strcpy(addr.sun_path, path);
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return -errno;
	if (connect(fd, (struct sockaddr *)&addr, sizeof(addr)) < 0)
		error = -errno;
	else
		error = vfc_from_fd(fd, out);
	if (error)
		close(fd);
	return error;
}

void vfc_close(struct vfc *c)
{
	if (!c)
		return;
	if (c->got_fd >= 0)
		close(c->got_fd);
	close(c->fd);
	free(c);
}

int vfc_fd(const struct vfc *c)
{
	return c->fd;
}

void vfc_set_idle(struct vfc *c, void (*idle)(void *arg), void *arg)
{
	c->idle = idle;
	c->idle_arg = arg;
}

/*
 * Raw
 */

static int64_t now_ms(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (int64_t)ts.tv_sec * 1000 + ts.tv_nsec / 1000000;
}

/* Until the socket is ready for `events`, or `deadline`. */
static int wait_ready(struct vfc *c, short events, int64_t deadline)
{
	for (;;) {
		struct pollfd pfd = {.fd = c->fd, .events = events};
		int64_t left = deadline - now_ms();
		int n;

		if (c->idle)
			c->idle(c->idle_arg);
		if (left <= 0)
			return -ETIMEDOUT;
		n = poll(&pfd, 1, c->idle ? 0 : (int)left);
		if (n < 0 && errno != EINTR)
			return -errno;
		if (n > 0)
			return 0;
	}
}

int vfc_send(struct vfc *c, const void *bytes, size_t len, const int *fds, unsigned int nfds)
{
	const int64_t deadline = now_ms() + VFC_TIMEOUT_MS;
	union {
		char room[CMSG_SPACE(sizeof(int) * FDS_ROOM)];
		struct cmsghdr align;
	} control;
	struct iovec iov = {.iov_base = (void *)bytes, .iov_len = len};
	struct msghdr mh = {.msg_iov = &iov, .msg_iovlen = 1};

	if (nfds > FDS_ROOM)
		return -EINVAL;
	if (nfds) {
		memset(&control, 0, sizeof(control));
		mh.msg_control = &control;
		mh.msg_controllen = CMSG_SPACE(sizeof(int) * nfds);
		control.align.cmsg_level = SOL_SOCKET;
		control.align.cmsg_type = SCM_RIGHTS;
		control.align.cmsg_len = CMSG_LEN(sizeof(int) * nfds);
		memcpy(CMSG_DATA(&control.align), fds, sizeof(int) * nfds);
	}
	while (iov.iov_len > 0) {
		ssize_t n = sendmsg(c->fd, &mh, MSG_NOSIGNAL | MSG_DONTWAIT);
		int error;

		if (n >= 0) {
			iov.iov_base = (char *)iov.iov_base + n;
			iov.iov_len -= (size_t)n;
			mh.msg_control = NULL;
			mh.msg_controllen = 0;
			continue;
		}
		if (errno == EPIPE)
			return -ECONNRESET;
		if (errno != EAGAIN && errno != EINTR)
			return -errno;
		error = wait_ready(c, POLLOUT, deadline);
		if (error)
			return error;
	}
	return 0;
}

int vfc_send_message(struct vfc *c, uint16_t command, uint32_t flags, const void *payload,
	size_t len, const int *fds, unsigned int nfds, uint16_t *id)
{
	uint8_t message[sizeof(struct vu_hdr) + 2 * VU_MSG_MAX];
	const struct vu_hdr hdr = {
		.id = c->next_id++,
		.command = command,
		.size = (uint32_t)(sizeof(hdr) + len),
		.flags = flags,
	};

	if (len > sizeof(message) - sizeof(hdr))
		return -EINVAL;
	memcpy(message, &hdr, sizeof(hdr));
	if (len)
		memcpy(message + sizeof(hdr), payload, len);
	if (id)
		*id = hdr.id;
	return vfc_send(c, message, sizeof(hdr) + len, fds, nfds);
}

static void take_fds(struct vfc *c, struct msghdr *mh)
{
	struct cmsghdr *cm;

	for (cm = CMSG_FIRSTHDR(mh); cm; cm = CMSG_NXTHDR(mh, cm)) {
		size_t i, count = (cm->cmsg_len - CMSG_LEN(0)) / sizeof(int);

		if (cm->cmsg_level != SOL_SOCKET || cm->cmsg_type != SCM_RIGHTS)
			continue;
		for (i = 0; i < count; i++) {
			if (c->got_fd >= 0)
				close(c->got_fd);
			memcpy(&c->got_fd, CMSG_DATA(cm) + i * sizeof(int), sizeof(int));
		}
	}
}

static int receive_exactly(struct vfc *c, void *data, size_t len, int64_t deadline)
{
	char *to = data;

	while (len > 0) {
		char control[CMSG_SPACE(sizeof(int) * 4)] __attribute__((aligned(8)));
		struct iovec iov = {.iov_base = to, .iov_len = len};
		struct msghdr mh = {.msg_iov = &iov,
			.msg_iovlen = 1,
			.msg_control = control,
			.msg_controllen = sizeof(control)};
		int error = wait_ready(c, POLLIN, deadline);
		ssize_t n;

		if (error)
			return error;
		n = recvmsg(c->fd, &mh, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
		if (n == 0)
			return -ECONNRESET;
		if (n < 0 && errno != EAGAIN && errno != EINTR)
			return -errno;
		if (n < 0)
			continue;
		take_fds(c, &mh);
		to += n;
		len -= (size_t)n;
	}
	return 0;
}

int vfc_receive(struct vfc *c, struct vfc_reply *reply)
{
	const int64_t deadline = now_ms() + VFC_TIMEOUT_MS;
	int error = receive_exactly(c, &reply->hdr, sizeof(reply->hdr), deadline);

	reply->fd = -1;
	reply->len = 0;
	if (error)
		return error;
	if (reply->hdr.size < sizeof(reply->hdr) ||
		reply->hdr.size - sizeof(reply->hdr) > sizeof(reply->payload))
		return -EBADMSG;
	reply->len = reply->hdr.size - sizeof(reply->hdr);
	error = receive_exactly(c, reply->payload, reply->len, deadline);
	if (error)
		return error;
	reply->fd = c->got_fd;
	c->got_fd = -1;
	return 0;
}

int vfc_wait_closed(struct vfc *c)
{
	struct vfc_reply reply;
	int error;

	do {
		error = vfc_receive(c, &reply);
		if (!error && reply.fd >= 0)
			close(reply.fd);
	} while (!error || error == -EBADMSG);
	return error == -ECONNRESET ? 0 : error;
}

int vfc_call(struct vfc *c, uint16_t command, const void *payload, size_t len, const int *fds,
	unsigned int nfds, struct vfc_reply *reply)
{
	struct vfc_reply own;
	uint16_t id;
	int error = vfc_send_message(c, command, VU_TYPE_COMMAND, payload, len, fds, nfds, &id);

	if (error)
		return error;
	if (!reply)
		reply = &own;
	error = vfc_receive(c, reply);
	if (error)
		return error;
	if (reply == &own && own.fd >= 0)
		close(own.fd);
	if (reply->hdr.id != id || reply->hdr.command != command ||
		(reply->hdr.flags & ~(uint32_t)VU_FLAG_ERROR) != VU_TYPE_REPLY)
		return -EBADMSG;
	if (!(reply->hdr.flags & VU_FLAG_ERROR))
		return reply->hdr.error ? -EBADMSG : 0;
	/* "If an error occurs, the reply message must only include the reply header." */
	if (reply->len || reply->fd >= 0 || reply->hdr.error == 0 || reply->hdr.error > 4095)
		return -EBADMSG;
	return -(int)reply->hdr.error;
}

/*
 * The protocol
 */

/* As vfc_call, and the reply's payload is `bytes` long and goes to `answer`. */
static int call_for(struct vfc *c, uint16_t command, const void *payload, size_t len, void *answer,
	size_t bytes, int *fd)
{
	struct vfc_reply reply;
	int error = vfc_call(c, command, payload, len, NULL, 0, &reply);

	if (error)
		return error;
	if (reply.len != bytes || (reply.fd >= 0 && !fd)) {
		if (reply.fd >= 0)
			close(reply.fd);
		return -EBADMSG;
	}
	if (bytes)
		memcpy(answer, reply.payload, bytes);
	if (fd)
		*fd = reply.fd;
	return 0;
}

int vfc_negotiate_with(struct vfc *c, uint16_t major, uint16_t minor, const char *json)
{
	uint8_t payload[sizeof(struct vu_version) + 1024];
	struct vu_version version = {.major = major, .minor = minor};
	size_t len = sizeof(version);
	struct vfc_reply reply;
	int error;

	memcpy(payload, &version, sizeof(version));
	if (json) {
		if (strlen(json) + 1 > sizeof(payload) - len)
			return -EINVAL;
		strcpy((char *)payload + len, json);
		len += strlen(json) + 1;
	}
	error = vfc_call(c, VU_VERSION, payload, len, NULL, 0, &reply);
	if (error)
		return error;
	if (reply.len < sizeof(version) + 2 || reply.payload[reply.len - 1] != 0)
		return -EBADMSG;
	memcpy(&version, reply.payload, sizeof(version));
	return version.major == major && version.minor <= minor ? 0 : -EBADMSG;
}

int vfc_negotiate(struct vfc *c)
{
	return vfc_negotiate_with(c, VU_MAJOR, VU_MINOR,
		"{\"capabilities\": {\"pgsizes\": 4096, \"max_msg_fds\": 16, \"max_dma_maps\": 65535, "
		"\"max_data_xfer_size\": 1048576, \"migration\": {\"max_bitmap_size\": 268435456, "
		"\"pgsize\": 4096}, \"write_multiple\": true}}");
}

int vfc_device_info(struct vfc *c, struct vu_device_info *info)
{
	const struct vu_device_info ask = {.argsz = sizeof(ask)};

	return call_for(c, VU_DEVICE_GET_INFO, &ask, sizeof(ask), info, sizeof(*info), NULL);
}

int vfc_region_info(struct vfc *c, uint32_t index, struct vu_region_info_msg *info, int *fd)
{
	const struct vu_region_info_msg ask = {.argsz = sizeof(ask), .index = index};

	return call_for(c, VU_DEVICE_GET_REGION_INFO, &ask, sizeof(ask), info, sizeof(*info), fd);
}

int vfc_region_area(
	struct vfc *c, uint32_t index, struct vu_region_info_msg *info, uint64_t *bytes, int *fd)
{
	struct {
		struct vu_region_info_msg info;
		struct vu_region_area area;
	} answer;
	const struct vu_region_info_msg ask = {.argsz = sizeof(answer), .index = index};
	int error = vfc_region_info(c, index, info, fd);

	if (error)
		return error;
	*bytes = info->flags & VFIO_REGION_INFO_FLAG_MMAP ? info->size : 0;
	if (info->argsz == sizeof(*info))
		return info->flags & VFIO_REGION_INFO_FLAG_CAPS ? -EBADMSG : 0;
	if (*fd >= 0) { /* it comes with the whole answer, not with a part */
		close(*fd);
		return -EBADMSG;
	}
	error = call_for(
		c, VU_DEVICE_GET_REGION_INFO, &ask, sizeof(ask), &answer, sizeof(answer), fd);
	if (error)
		return error;
	if (memcmp(info, &answer.info, sizeof(*info)) != 0 ||
		!(info->flags & VFIO_REGION_INFO_FLAG_CAPS) || info->cap_offset != sizeof(*info) ||
		answer.area.header.id != VFIO_REGION_INFO_CAP_SPARSE_MMAP ||
		answer.area.header.version != 1 || answer.area.header.next != 0 ||
		answer.area.nr_areas != 1 || answer.area.offset != 0) {
		close(*fd);
		return -EBADMSG;
	}
	*bytes = answer.area.size;
	return 0;
}

int vfc_irq_info(struct vfc *c, uint32_t index, struct vu_irq_info_msg *info)
{
	const struct vu_irq_info_msg ask = {.argsz = sizeof(ask), .index = index};

	return call_for(c, VU_DEVICE_GET_IRQ_INFO, &ask, sizeof(ask), info, sizeof(*info), NULL);
}

int vfc_read(struct vfc *c, uint32_t region, uint64_t offset, void *data, uint32_t bytes)
{
	const struct vu_region_rw ask = {.offset = offset, .region = region, .count = bytes};
	struct vfc_reply reply;
	int error = vfc_call(c, VU_REGION_READ, &ask, sizeof(ask), NULL, 0, &reply);

	if (error)
		return error;
	if (reply.len != sizeof(ask) + bytes || memcmp(reply.payload, &ask, sizeof(ask)) != 0)
		return -EBADMSG;
	memcpy(data, reply.payload + sizeof(ask), bytes);
	return 0;
}

static size_t write_payload(
	uint8_t *payload, uint32_t region, uint64_t offset, const void *data, uint32_t bytes)
{
	const struct vu_region_rw rw = {.offset = offset, .region = region, .count = bytes};

	memcpy(payload, &rw, sizeof(rw));
	memcpy(payload + sizeof(rw), data, bytes);
	return sizeof(rw) + bytes;
}

int vfc_write(struct vfc *c, uint32_t region, uint64_t offset, const void *data, uint32_t bytes)
{
	uint8_t payload[sizeof(struct vu_region_rw) + VU_DATA_MAX];
	struct vu_region_rw done;
	size_t len;
	int error;

	if (bytes > VU_DATA_MAX)
		return -EINVAL;
	len = write_payload(payload, region, offset, data, bytes);
	error = call_for(c, VU_REGION_WRITE, payload, len, &done, sizeof(done), NULL);
	if (!error && memcmp(payload, &done, sizeof(done)) != 0)
		error = -EBADMSG;
	return error;
}

int vfc_post(struct vfc *c, uint32_t region, uint64_t offset, const void *data, uint32_t bytes)
{
	uint8_t payload[sizeof(struct vu_region_rw) + VU_DATA_MAX];
	size_t len;

	if (bytes > VU_DATA_MAX)
		return -EINVAL;
	len = write_payload(payload, region, offset, data, bytes);
	return vfc_send_message(c, VU_REGION_WRITE, VU_FLAG_NO_REPLY, payload, len, NULL, 0, NULL);
}

int vfc_read32(struct vfc *c, uint32_t bar, uint32_t offset, uint32_t *value)
{
	return vfc_read(c, bar, offset, value, sizeof(*value));
}

int vfc_write32(struct vfc *c, uint32_t bar, uint32_t offset, uint32_t value)
{
	return vfc_write(c, bar, offset, &value, sizeof(value));
}

int vfc_post32(struct vfc *c, uint32_t bar, uint32_t offset, uint32_t value)
{
	return vfc_post(c, bar, offset, &value, sizeof(value));
}

int vfc_dma_map(
	struct vfc *c, uint64_t address, uint64_t size, uint32_t flags, int fd, uint64_t offset)
{
	const struct vu_dma_map map = {.argsz = sizeof(map),
		.flags = flags,
		.offset = offset,
		.address = address,
		.size = size};

	return vfc_call(c, VU_DMA_MAP, &map, sizeof(map), &fd, fd >= 0, NULL);
}

static int dma_unmap(struct vfc *c, uint64_t address, uint64_t size, uint32_t flags)
{
	const struct vu_dma_unmap unmap = {
		.argsz = sizeof(unmap), .flags = flags, .address = address, .size = size};
	struct vu_dma_unmap done;
	int error = call_for(c, VU_DMA_UNMAP, &unmap, sizeof(unmap), &done, sizeof(done), NULL);

	if (!error && memcmp(&unmap, &done, sizeof(done)) != 0)
		error = -EBADMSG;
	return error;
}

int vfc_dma_unmap(struct vfc *c, uint64_t address, uint64_t size)
{
	return dma_unmap(c, address, size, 0);
}

int vfc_dma_unmap_all(struct vfc *c)
{
	return dma_unmap(c, 0, 0, VFIO_DMA_UNMAP_FLAG_ALL);
}

int vfc_irq_eventfds(struct vfc *c, uint32_t index, uint32_t start, uint32_t count, const int *fds)
{
	const struct vu_irq_set set = {.argsz = sizeof(set),
		.flags = VFIO_IRQ_SET_DATA_EVENTFD | VFIO_IRQ_SET_ACTION_TRIGGER,
		.index = index,
		.start = start,
		.count = count};

	return vfc_call(c, VU_DEVICE_SET_IRQS, &set, sizeof(set), fds, fds ? count : 0, NULL);
}

int vfc_irq_set(struct vfc *c, uint32_t index, uint32_t flags, uint32_t start, uint32_t count,
	const uint8_t *data)
{
	struct {
		struct vu_irq_set set;
		uint8_t data[256];
	} wire;
	const size_t len = sizeof(wire.set) + (data ? count : 0);

	if (data && count > sizeof(wire.data))
		return -EINVAL;
	wire.set = (struct vu_irq_set){.argsz = (uint32_t)len,
		.flags = flags,
		.index = index,
		.start = start,
		.count = count};
	if (data)
		memcpy(wire.data, data, count);
	return vfc_call(c, VU_DEVICE_SET_IRQS, &wire, len, NULL, 0, NULL);
}

int vfc_reset(struct vfc *c)
{
	return vfc_call(c, VU_DEVICE_RESET, NULL, 0, NULL, 0, NULL);
}
