/* SPDX-License-Identifier: BSD-2-Clause */
#include "fake_port_service.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

void fake_port_service_init(struct port_service *s, uint32_t tx_rings, uint32_t rx_rings)
{
	int i;

	memset(s, 0, sizeof(*s));
	s->geo = (struct port_service_geometry){.tx_rings = tx_rings,
		.rx_rings = rx_rings,
		.tx_slots = 1024,
		.rx_slots = 512,
		.nifp_offset = 0x1240,
		.region_id = 77};
	s->socket = -1;
	for (i = 0; i < PORT_SERVICE_RINGS_MAX; i++)
		s->irq[i] = s->replaced[i] = -1;
}

bool fake_port_service_interrupt(struct port_service *s, uint32_t ring)
{
	const uint64_t one = 1;

	return s->irq[ring] >= 0 && write(s->irq[ring], &one, sizeof(one)) == sizeof(one);
}

enum port_service_state port_service_state(const struct port_service *s)
{
	return s->state;
}

void port_service_geometry(const struct port_service *s, struct port_service_geometry *geo)
{
	*geo = s->geo;
}

uint32_t port_service_hdr_len(const struct port_service *s)
{
	return s->hdr_len;
}

int port_service_set_hdr_len(struct port_service *s, uint32_t bytes)
{
	if (s->state != PORT_STOPPED)
		return -EBUSY;
	if (bytes != 0 && bytes != 10 && bytes != 12)
		return -EINVAL;
	s->hdr_len = bytes;
	return 0;
}

void port_service_set_knows(struct port_service *s, uint32_t knows)
{
	s->knows = knows;
}

int port_service_set_rss(struct port_service *s, const struct nm_rss_config *config)
{
	if (config && s->rss_error)
		return s->rss_error;
	s->rss_on = config != NULL;
	if (config)
		s->rss = *config;
	return 0;
}

int port_service_start(struct port_service *s, struct nm_csb_atok *atok, struct nm_csb_ktoa *ktoa)
{
	uint32_t i;

	if (s->state != PORT_STOPPED)
		return -EBUSY;
	if (s->start_error)
		return s->start_error;
	for (i = 0; i < s->geo.tx_rings + s->geo.rx_rings; i++) {
		atok[i].head = 5;
		atok[i].cur = 6;
		ktoa[i].hwcur = FAKE_HWCUR;
		ktoa[i].hwtail = FAKE_HWTAIL;
	}
	s->atok = atok;
	s->ktoa = ktoa;
	s->state = PORT_RUNNING;
	s->starts++;
	return 0;
}

void port_service_stop(struct port_service *s)
{
	s->stops += s->state != PORT_STOPPED;
	s->state = PORT_STOPPED;
	s->atok = NULL;
	s->ktoa = NULL;
}

void port_service_reset(struct port_service *s)
{
	port_service_stop(s);
	s->resets++;
}

void port_service_suspend(struct port_service *s)
{
	assert(s->state == PORT_RUNNING);
	/* Still mapped here: a last write to both, as a worker might be doing. */
	s->atok[0].head = 5;
	s->ktoa[0].hwcur = FAKE_HWCUR;
	s->state = PORT_SUSPENDED;
	s->atok = NULL;
	s->ktoa = NULL;
	s->suspends++;
}

void port_service_resume(struct port_service *s, struct nm_csb_atok *atok, struct nm_csb_ktoa *ktoa)
{
	assert(s->state == PORT_SUSPENDED);
	s->atok = atok;
	s->ktoa = ktoa;
	s->state = PORT_RUNNING;
	s->resumes++;
}

void port_service_kick(struct port_service *s, uint32_t ring)
{
	assert(s->state != PORT_STOPPED && ring < PORT_SERVICE_RINGS_MAX);
	s->kicks[ring]++;
}

void port_service_set_socket(struct port_service *s, int socket)
{
	assert(socket < 0 || s->socket < 0);
	assert(fcntl(socket < 0 ? s->socket : socket, F_GETFD) >= 0);
	s->socket = socket;
}

void port_service_set_irq(struct port_service *s, uint32_t ring, int eventfd)
{
	assert(ring < PORT_SERVICE_RINGS_MAX);
	if (s->irq[ring] >= 0)
		s->replaced[ring] = s->irq[ring];
	s->irq[ring] = eventfd;
}

void port_service_sync_irqs(struct port_service *s)
{
	for (uint32_t i = 0; i < PORT_SERVICE_RINGS_MAX; i++) {
		assert(s->replaced[i] < 0 || fcntl(s->replaced[i], F_GETFD) >= 0);
		s->replaced[i] = -1;
	}
}

void port_service_notify(struct port_service *s, uint32_t ring, int eventfd)
{
	const uint64_t one = 1;
	ssize_t n = write(eventfd, &one, sizeof(one));

	assert(ring <= s->geo.tx_rings + s->geo.rx_rings);
	assert(n == sizeof(one) || errno == EAGAIN);
}
