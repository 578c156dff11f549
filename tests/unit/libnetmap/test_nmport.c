/* SPDX-License-Identifier: BSD-2-Clause */
/* The steps of opening, each with its undo, and contexts: against a netmapd that the test plays. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <libnetmap.h>

#include "fake_netmapd.h"

static struct fake_netmapd fake;

/* A context that counts. */
static int allocated, locked, errors, deepest;
static char last_error[600];

static void *count_malloc(struct nmctx *ctx, size_t bytes)
{
	(void)ctx;
	allocated++;
	return malloc(bytes);
}

static void count_free(struct nmctx *ctx, void *mem)
{
	(void)ctx;
	allocated--;
	free(mem);
}

static void count_lock(struct nmctx *ctx, int lock)
{
	(void)ctx;
	locked += lock ? 1 : -1;
	deepest = locked > deepest ? locked : deepest;
}

static void count_error(struct nmctx *ctx, const char *text)
{
	(void)ctx;
	errors++;
	snprintf(last_error, sizeof(last_error), "%s", text);
}

static struct nmctx own;

static int setup(void **state)
{
	(void)state;
	fake_start(&fake);
	own = (struct nmctx){.error = count_error,
		.malloc = count_malloc,
		.free = count_free,
		.lock = count_lock};
	allocated = locked = errors = deepest = 0;
	nmctx_set_default(&own);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	fake_stop(&fake);
	/* Whatever a test did, nothing is left of it. */
	assert_int_equal(allocated, 0);
	assert_int_equal(locked, 0);
	return 0;
}

static void test_steps(void **state)
{
	struct nmport_d *d = nmport_new();

	(void)state;
	/* In the wrong order. */
	assert_int_equal(nmport_mmap(d), -1);
	assert_int_equal(errno, EINVAL);
	nmport_undo_mmap(d);
	nmport_undo_register(d);
	nmport_undo_parse(d);
	/* In the right one, and back. */
	for (int i = 0; i < 2; i++) {
		assert_int_equal(nmport_parse(d, "vale1:a"), 0);
		assert_int_equal(nmport_register(d), 0);
		assert_true(d->register_done && d->fd >= 0);
		assert_int_equal(nmport_register(d), -1);
		assert_int_equal(errno, EBUSY);
		assert_int_equal(nmport_mmap(d), 0);
		assert_true(d->mmap_done && d->nifp && d->mem);
		assert_int_equal(nmport_mmap(d), -1);
		assert_int_equal(errno, EBUSY);
		assert_int_equal(deepest, 1); /* the list of mappings was changed under the lock */
		nmport_undo_mmap(d);
		assert_false(d->mmap_done || d->nifp || d->mem);
		assert_int_equal(nmport_rxsync(d), -1);
		assert_int_equal(errno, EINVAL);
		nmport_undo_register(d);
		assert_false(d->register_done || d->fd >= 0);
		nmport_undo_parse(d);
		assert_int_equal(d->hdr.nr_name[0], 0);
		fake_settle(&fake);
	}
	assert_int_equal(nmport_parse(d, "vale1:a"), 0);
	assert_int_equal(nmport_open_desc(d), 0);
	nmport_undo_open_desc(d);
	assert_false(d->register_done || d->mmap_done);
	nmport_undo_prepare(d);
	nmport_undo_prepare(NULL);
	nmport_delete(NULL);
	nmport_close(NULL);
}

static void test_context(void **state)
{
	struct nmctx other = own, *before = nmctx_set_default(&other);
	struct nmport_d *d = nmport_new();
	void *mem;

	(void)state;
	assert_ptr_equal(before, &own);
	assert_ptr_equal(nmctx_get(), &other);
	assert_ptr_equal(d->ctx, &other);
	assert_ptr_equal(nmctx_set_default(&own), &other);
	mem = nmctx_malloc(&own, 100);
	assert_non_null(mem);
	assert_int_equal(allocated, 2);
	nmctx_free(&own, mem);
	nmctx_lock(&own);
	assert_int_equal(locked, 1);
	nmctx_unlock(&own);
	nmctx_ferror(&own, "%s and %d", "text", 3);
	assert_string_equal(last_error, "text and 3");
	nmctx_ferror(&own, "%0800d", 7); /* longer than a line can be */
	assert_int_equal(strlen(last_error), 511);
	own.lock = NULL; /* one thread */
	nmctx_lock(&own);
	nmctx_unlock(&own);
	nmctx_set_threadsafe();
	assert_non_null(own.lock);
	nmctx_lock(&own);
	nmctx_unlock(&own);
	nmport_delete(d);
}

static void test_verbose(void **state)
{
	(void)state;
	own.verbose = 1;
	nmport_close(nmport_open("vale1:a"));
	assert_int_equal(errors, 1);
	assert_non_null(strstr(last_error, "vale1:a: registered over daemon"));
}

/* Memory runs out at each place where it is taken. */
static int left;

static void *short_malloc(struct nmctx *ctx, size_t bytes)
{
	return left-- > 0 ? count_malloc(ctx, bytes) : NULL;
}

static void test_no_memory(void **state)
{
	struct nmport_d *d = NULL;
	int n;

	(void)state;
	own.malloc = short_malloc;
	for (n = 0; n < 20; n++) {
		left = n;
		d = nmport_open("vale1:a@offset:initial=64");
		if (d)
			break;
		assert_int_equal(errno, ENOMEM);
		fake_settle(&fake);
		assert_int_equal(allocated, 0);
	}
	assert_non_null(d);
	assert_true(n >= 3);
	nmport_close(d);
}

static void test_offset(void **state)
{
	struct nmport_d *d = nmport_prepare("vale1:a");

	(void)state;
	assert_int_equal(nmport_offset(d, 32, 128, 65, 0), -1);
	assert_int_equal(errno, EINVAL);
	assert_int_equal(nmport_offset(d, 32, 128, 16, 64), 0);
	assert_int_equal(nmport_offset(d, 32, 128, 16, 64), -1);
	assert_int_equal(errno, EBUSY);
	assert_int_equal(nmport_open_desc(d), 0);
	assert_int_equal(fake.offsets.nro_initial_offset, 32);
	assert_int_equal(fake.offsets.nro_max_offset, 128);
	assert_int_equal(fake.offsets.nro_offset_bits, 16);
	assert_int_equal(fake.offsets.nro_min_gap, 64);
	nmport_close(d);
	d = nmport_prepare("vale1:a");
	assert_int_equal(nmport_open_desc(d), 0);
	assert_int_equal(nmport_offset(d, 0, 0, 0, 0), -1); /* too late */
	assert_int_equal(errno, EBUSY);
	nmport_close(d);
}

static void test_extmem_file(void **state)
{
	char path[] = "/tmp/lib-steps-XXXXXX";
	struct nmport_d *d = nmport_prepare("vale1:a");
	int fd = mkstemp(path);

	(void)state;
	assert_null(nmport_extmem_getinfo(d));
	assert_int_equal(nmport_extmem_from_file(d, "/no/such/file"), -1);
	assert_int_equal(errno, ENOENT);
	assert_int_equal(nmport_extmem_from_file(d, path), -1);
	assert_int_equal(errno, EINVAL);
	assert_non_null(strstr(last_error, "the file is empty"));
	assert_int_equal(ftruncate(fd, 8192), 0);
	assert_int_equal(nmport_extmem_from_file(d, path), 0);
	assert_int_equal(nmport_extmem_getinfo(d)->nr_memsize, 8192);
	assert_int_equal(nmport_extmem_from_file(d, path), -1);
	assert_int_equal(errno, EBUSY);
	nmport_undo_prepare(d);
	close(fd);
	unlink(path);
}

static void test_free_options(void **state)
{
	struct nmreq_header hdr;

	(void)state;
	nmreq_header_init(&hdr, NETMAP_REQ_REGISTER, NULL);
	for (uint32_t i = 1; i < 4; i++) {
		struct nmreq_option *opt = calloc(1, sizeof(*opt));

		opt->nro_reqtype = i;
		nmreq_push_option(&hdr, opt);
	}
	nmreq_free_options(&hdr); /* the leak checker counts */
	assert_int_equal(hdr.nr_options, 0);
	nmreq_free_options(&hdr);
}

/* Which rings are the descriptor's, for each way to register; host rings are behind the others. */
static void test_ranges(void **state)
{
	static const struct {
		const char *name;
		uint16_t first_tx, last_tx, first_rx, last_rx; /* 1, 0: none */
	} cases[] = {
		{"netmap:a", 0, 2, 0, 2},
		{"netmap:a-2", 2, 2, 2, 2},
		{"netmap:a^", 3, 4, 3, 4},
		{"netmap:a^1", 4, 4, 4, 4},
		{"netmap:a*", 0, 4, 0, 4},
		{"netmap:a/T", 0, 2, 1, 0},
		{"netmap:a*/R", 1, 0, 0, 4},
		{"netmap:a^1/T", 4, 4, 1, 0},
	};

	(void)state;
	fake.rings = 3;
	fake.host_rings = 2;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct nmport_d *d = nmport_prepare(cases[i].name);

		assert_non_null(d);
		assert_int_equal(nmport_register(d), 0);
		assert_int_equal(d->first_tx_ring, cases[i].first_tx);
		assert_int_equal(d->last_tx_ring, cases[i].last_tx);
		assert_int_equal(d->first_rx_ring, cases[i].first_rx);
		assert_int_equal(d->last_rx_ring, cases[i].last_rx);
		assert_int_equal(d->cur_tx_ring, d->first_tx_ring);
		nmport_close(d);
		fake_settle(&fake);
	}
}

/* A registration that fails leaves a descriptor that can be used again. */
static void test_try_again(void **state)
{
	struct nmport_d *d = nmport_prepare("vale1:a");

	(void)state;
	fake.status = -EBUSY;
	assert_int_equal(nmport_open_desc(d), -1);
	assert_int_equal(errno, EBUSY);
	fake_settle(&fake);
	fake.status = 0;
	assert_int_equal(nmport_open_desc(d), 0);
	nmport_close(d);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_steps, setup, teardown),
		cmocka_unit_test_setup_teardown(test_context, setup, teardown),
		cmocka_unit_test_setup_teardown(test_verbose, setup, teardown),
		cmocka_unit_test_setup_teardown(test_no_memory, setup, teardown),
		cmocka_unit_test_setup_teardown(test_offset, setup, teardown),
		cmocka_unit_test_setup_teardown(test_extmem_file, setup, teardown),
		cmocka_unit_test_setup_teardown(test_free_options, setup, teardown),
		cmocka_unit_test_setup_teardown(test_ranges, setup, teardown),
		cmocka_unit_test_setup_teardown(test_try_again, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
