/* SPDX-License-Identifier: BSD-2-Clause */
#include "ptnet_irq.h"

#include <errno.h>
#include <fcntl.h>

#include "closer.h"
#include "os_user.h"
#include "ptnet_regs.h"

void ptnet_irq_init(struct ptnet_irq *irq, struct port_service *service, uint32_t count)
{
	*irq = (struct ptnet_irq){.service = service, .count = count, .request = -1};
	for (uint32_t i = 0; i < PTNET_MAX_RINGS; i++)
		irq->vectors[i].fd = -1;
}

void ptnet_irq_info(const struct ptnet_irq *irq, uint32_t index, struct vu_irq *info)
{
	ptnet_notice_irq(index, info);
	if (index == VFIO_PCI_MSIX_IRQ_INDEX)
		*info = (struct vu_irq){.count = irq->count,
			.flags = VFIO_IRQ_INFO_EVENTFD | VFIO_IRQ_INFO_MASKABLE};
}

static void trigger(struct ptnet_irq *irq, uint32_t i)
{
	if (irq->vectors[i].fd >= 0)
		port_service_notify(irq->service, i, irq->vectors[i].fd);
}

static void trigger_request(struct ptnet_irq *irq)
{
	if (irq->request >= 0)
		port_service_notify(irq->service, irq->count, irq->request);
}

/* A duplicate of ours; -1 for -1. */
static int duplicate(int fd, int *copy)
{
	*copy = fd < 0 ? -1 : os_fd_keep(fcntl(fd, F_DUPFD_CLOEXEC, 3));
	return fd >= 0 && *copy < 0 ? -errno : 0;
}

static int set_request(struct ptnet_irq *irq, int fd)
{
	int copy, error = duplicate(fd, &copy);

	if (error)
		return error;
	closer_later(irq->request);
	irq->request = copy;
	if (irq->unplug)
		trigger_request(irq);
	return 0;
}

/* The service signals it, or not while masked. */
static void apply(struct ptnet_irq *irq, uint32_t i)
{
	const struct ptnet_vector *vector = &irq->vectors[i];

	port_service_set_irq(irq->service, i, vector->masked ? -1 : vector->fd);
}

/* Vectors before one whose eventfd can't be duplicated keep what they have got. */
static int set_vectors(struct ptnet_irq *irq, uint32_t start, uint32_t count, const int *fds)
{
	int replaced[PTNET_MAX_RINGS], error = 0;
	uint32_t n;

	for (n = 0; n < count; n++) {
		struct ptnet_vector *vector = &irq->vectors[start + n];
		int copy;

		error = duplicate(fds ? fds[n] : -1, &copy);
		if (error)
			break;
		replaced[n] = vector->fd;
		vector->fd = copy;
		apply(irq, start + n);
		if (replaced[n] < 0 && port_service_state(irq->service) != PORT_STOPPED)
			trigger(irq, start + n);
	}
	port_service_sync_irqs(irq->service);
	while (n > 0)
		closer_later(replaced[--n]);
	return error;
}

int ptnet_irq_set(
	struct ptnet_irq *irq, uint32_t index, uint32_t start, uint32_t count, const int *fds)
{
	if (index == VFIO_PCI_REQ_IRQ_INDEX)
		return set_request(irq, fds ? fds[0] : -1);
	if (index == VFIO_PCI_MSIX_IRQ_INDEX)
		return set_vectors(irq, start, count, fds);
	return 0; /* nothing is ever signalled */
}

static void act(struct ptnet_irq *irq, uint32_t i, enum vu_irq_action action)
{
	struct ptnet_vector *vector = &irq->vectors[i];
	const bool was_masked = vector->masked;

	if (action != VU_IRQ_TRIGGER) {
		vector->masked = action == VU_IRQ_MASK;
		apply(irq, i);
	}
	if (action == VU_IRQ_TRIGGER || (was_masked && !vector->masked))
		trigger(irq, i);
}

int ptnet_irq_action(struct ptnet_irq *irq, uint32_t index, uint32_t start, uint32_t count,
	enum vu_irq_action action, const uint8_t *which)
{
	if (index != VFIO_PCI_MSIX_IRQ_INDEX)
		return -EOPNOTSUPP;
	for (uint32_t i = 0; i < count; i++)
		if (!which || which[i])
			act(irq, start + i, action);
	return 0;
}

void ptnet_irq_reset(struct ptnet_irq *irq)
{
	for (uint32_t i = 0; i < irq->count; i++)
		act(irq, i, VU_IRQ_UNMASK);
}

void ptnet_irq_disconnect(struct ptnet_irq *irq)
{
	for (uint32_t i = 0; i < irq->count; i++)
		irq->vectors[i].masked = false;
	(void)set_vectors(irq, 0, irq->count, NULL); /* to take one away can't fail */
	(void)set_request(irq, -1);
}

void ptnet_irq_request_unplug(struct ptnet_irq *irq)
{
	irq->unplug = true;
	trigger_request(irq);
}
