/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * attachment_ends.h - what the tests of attachments share: a core with a device that the test plays
 * (fake_nic.h), attached to a switch, and an application on that switch.
 *
 *      fake_nic_receive() -> device rx ring -> step -> vale0:dev ~ switch ~ vale0:app -> app_take()
 *      fake_nic_sent()    <- device tx ring <- step <- vale0:dev ~ switch ~ vale0:app <- app_put()
 *
 * The platform, which runs the attachment, is the test's own.
 *
 * Thread safety: as util.h and fake_nic.h.
 */
#ifndef TESTS_UNIT_ATTACHMENT_ENDS_H
#define TESTS_UNIT_ATTACHMENT_ENDS_H

#include "attachment.h"
#include "vale.h"
#include "fake_nic.h"
#include "fixture.h"

enum { DEV = 1, APP = 2 }; /* stations */

static struct prng r;
static uint8_t frame[FAKE_NIC_PACKET_MAX], got[70000];

static inline int begin_core(const struct nm_platform_ops *platform)
{
	r = prng_new(1);
	nm_core_init(&core);
	core.platform_ops = platform;
	core.region_params.count[NM_POOL_BUF] = 4096;
	core.shared_params = core.region_params;
	fake_nic_begin();
	return 0;
}

static inline int end(void **state)
{
	fake_nic_remove(&core);
	fake_nic_end();
	assert_null(core.attachments);
	return core_end(state);
}

static const struct nm_shape one_ring = {.rings = {1, 1}, .slots = {64, 64}};

static inline int attach(const char *name, uint32_t mode)
{
	const struct nm_bind bind = {.mode = mode};
	struct nm_error err = {0};
	uint32_t index;
	int error = nm_attachment_add(&core, NULL, name, &bind, &index, &err);

	if (error)
		assert_int_not_equal(err.text[0], '\0');
	return error;
}

static inline int detach(const char *name)
{
	struct nm_error err = {0};
	uint32_t index;

	return nm_attachment_remove(&core, NULL, name, &index, &err);
}

static inline void open_app(struct app *app, uint32_t slots, uint32_t rings, uint32_t hdr_len)
{
	app_open(&core, app,
		&(struct app_config){"vale0:app", 2048, slots, rings, .hdr_len = hdr_len});
}

/* A packet with its number behind the addresses; its length. */
static inline uint32_t make_numbered(uint32_t dst, uint32_t src, uint32_t number)
{
	uint32_t len = prng_range(&r, 40, 1500);

	make_frame(frame, len, 0, dst, src, &r);
	memcpy(frame + 16, &number, 4);
	return len;
}

static inline uint32_t number_in(const void *bytes)
{
	uint32_t number;

	memcpy(&number, (const char *)bytes + 16, 4);
	return number;
}

#endif
