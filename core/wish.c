/* SPDX-License-Identifier: BSD-2-Clause */
#include "wish.h"

void nm_wish_lock(struct nm_core *core, struct nm_wish *wish)
{
	nm_core_lock(core);
	core->wish = wish;
	wish->wanted = 0;
}

static void drop(struct nm_wish *wish)
{
	os_mem_free(wish->mem);
	wish->mem = NULL;
}

/* With its turn comes another look; then the memory. One of another size than was wanted in the end goes first. */
static void come_true(struct nm_core *core, struct nm_wish *wish) OS_NO_THREAD_SAFETY_ANALYSIS
{
	if (!wish->turn) {
		os_mutex_lock(&core->making);
		wish->turn = true;
		return;
	}
	drop(wish);
	wish->tries++;
	wish->bytes = wish->wanted;
	wish->mem = os_mem_alloc(wish->bytes, &wish->why);
	if (!wish->mem)
		wish->denied = wish->bytes;
}

static void end(struct nm_core *core, struct nm_wish *wish) OS_NO_THREAD_SAFETY_ANALYSIS
{
	drop(wish);
	if (wish->turn)
		os_mutex_unlock(&core->making);
	wish->turn = false;
}

bool nm_wish_unlock(struct nm_core *core, struct nm_wish *wish, int error)
{
	core->wish = NULL;
	nm_core_unlock(core);
	if (error && wish->wanted > 0) {
		come_true(core, wish);
		return true;
	}
	end(core, wish);
	return false;
}

static bool takes_long(const struct nm_core *core, uint64_t bytes)
{
	const struct nm_platform_ops *platform = core->platform_ops;

	return platform && platform->mem_takes_long && platform->mem_takes_long(bytes);
}

struct os_mem *nm_wish_take(struct nm_core *core, uint64_t bytes, struct nm_error *err)
{
	struct nm_wish *wish = core->wish;

	if (wish && wish->mem && wish->bytes == bytes) {
		struct os_mem *mem = wish->mem;

		wish->mem = NULL;
		return mem;
	}
	if (wish && wish->denied > 0 && bytes >= wish->denied) {
		nm_error_set(err, wish->why.code, "%s", wish->why.text);
		return NULL;
	}
	if (!wish)
		return os_mem_alloc(bytes, err);
	if (wish->tries == NM_WISH_TRIES || !takes_long(core, bytes)) {
		drop(wish); /* what nobody wants any more counts as well */
		return os_mem_alloc(bytes, err);
	}
	wish->wanted = bytes;
	nm_error_set(err, -EAGAIN, "%llu bytes of memory are being made ready",
		(unsigned long long)bytes);
	return NULL;
}
