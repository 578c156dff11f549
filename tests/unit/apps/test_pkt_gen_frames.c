/* SPDX-License-Identifier: BSD-2-Clause */
/* Frames cut into slots, and pcap files. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "frames.h"
#include "replay.h"

enum { SLOTS = 16, ROOM = 256 };

static struct {
	struct netmap_ring ring;
	struct netmap_slot slot[SLOTS];
	uint8_t buf[SLOTS][ROOM];
} __attribute__((aligned(128))) mem;
static struct gen_options o;
static struct worker w = {.o = &o};

static struct netmap_ring *make_ring(void)
{
	struct netmap_ring ring = {.num_slots = SLOTS, .nr_buf_size = ROOM};

	memset(&mem, 0, sizeof(mem));
	/* Its fields for reading are constant elsewhere. */
	memcpy(&mem.ring, &ring, sizeof(ring));
	mem.ring.buf_ofs = (char *)mem.buf - (char *)&mem.ring;
	mem.ring.tail = SLOTS - 1;
	for (uint32_t i = 0; i < SLOTS; i++) {
		mem.ring.slot[i].buf_idx = i;
		mem.ring.slot[i].flags = NS_BUF_CHANGED;
	}
	memset(mem.buf, 0xee, sizeof(mem.buf));
	return &mem.ring;
}

/* Lays a frame down, checks what lies there. */
static void put(uint32_t frags, uint32_t size, uint32_t hdr, uint32_t len, uint32_t want_slots)
{
	struct netmap_ring *ring = make_ring();
	static uint8_t frame[UINT16_MAX], got[UINT16_MAX];
	uint32_t at = 14, end, n = 0;
	struct cut cut;

	o.frags = frags;
	o.frag_size = size;
	w.hdr_len = hdr;
	for (uint32_t i = 0; i < len; i++)
		frame[i] = (uint8_t)(i * 3 + 1);
	cut = frame_cut(&w, ROOM, len);
	assert_int_equal(cut.slots, want_slots);
	assert_int_equal(cut.total, hdr + len);
	assert_true(cut_longest(&cut) <= ROOM);
	end = frame_put(&w, ring, at, frame, &cut);
	for (uint32_t i = 0; i < want_slots; i++, at = nm_ring_next(ring, at)) {
		struct netmap_slot *slot = &ring->slot[at];

		assert_int_equal(slot->flags, i + 1 < want_slots ? NS_MOREFRAG : 0);
		assert_true(slot->len > 0 && slot->len <= cut_longest(&cut));
		memcpy(got + n, NETMAP_BUF(ring, slot->buf_idx), slot->len);
		n += slot->len;
	}
	assert_int_equal(at, end);
	assert_int_equal(n, hdr + len);
	for (uint32_t i = 0; i < hdr; i++)
		assert_int_equal(got[i], 0);
	assert_memory_equal(got + hdr, frame, len);
}

static void test_cuts(void **state)
{
	(void)state;
	put(1, 0, 0, 60, 1);
	put(1, 0, 12, ROOM - 12, 1);
	put(1, 0, 12, ROOM - 11, 2); /* of a pcap file: as few as there must be */
	put(1, 0, 0, 5 * ROOM, 5);
	put(3, 0, 0, 60, 3);
	put(3, 0, 12, 61, 3);
	put(7, 0, 0, 60, 7);
	put(15, 0, 10, 60, 15);
	put(2, 20, 0, 60, 2);
	put(4, 19, 0, 60, 4);
	put(4, 5, 12, 60, 4); /* a header over three slots */
}

static void test_cut_longest(void **state)
{
	(void)state;
	o.frags = 4;
	o.frag_size = 100;
	w.hdr_len = 0;
	struct cut cut = frame_cut(&w, ROOM, 1000);
	assert_int_equal(cut_longest(&cut), 700);
	cut = frame_cut(&w, ROOM, 301);
	assert_int_equal(cut_longest(&cut), 100);
}

/* ---- pcap ------------------------------------------------------------------------------- */

static char path[] = "/tmp/app_frames-XXXXXX";

static void put32(FILE *f, uint32_t v)
{
	assert_int_equal(fwrite(&v, 4, 1, f), 1);
}

static FILE *begin_file(uint32_t magic, uint32_t link)
{
	FILE *f;

	strcpy(path, "/tmp/app_frames-XXXXXX");
	f = fdopen(mkstemp(path), "w");
	assert_non_null(f);
	put32(f, magic);
	put32(f, 2 | 4 << 16);
	put32(f, 0);
	put32(f, 0);
	put32(f, 65535);
	put32(f, link);
	return f;
}

static void put_packet(FILE *f, uint32_t caplen, uint32_t len)
{
	put32(f, 1);
	put32(f, 2);
	put32(f, caplen);
	put32(f, len);
	for (uint32_t i = 0; i < caplen; i++)
		fputc((int)(i + len) & 0xff, f);
}

static int load(struct replay *r, FILE *f, char *err)
{
	int ret;

	fclose(f);
	ret = replay_load(r, path, err);
	unlink(path);
	return ret;
}

static void test_replay(void **state)
{
	static const uint32_t lens[] = {60, 14, 1514, 9000};
	FILE *f = begin_file(0xa1b2c3d4, 1);
	char err[REPLAY_ERR];
	struct replay r;

	(void)state;
	put_packet(f, 50, 60); /* cut off */
	for (int i = 0; i < 4; i++)
		put_packet(f, lens[i], lens[i]);
	put_packet(f, 13, 13);
	assert_int_equal(load(&r, f, err), 0);
	assert_int_equal(r.count, 4);
	assert_int_equal(r.skipped, 2);
	assert_int_equal(r.longest, 9000);
	for (int i = 0; i < 4; i++) {
		assert_int_equal(r.packets[i].len, lens[i]);
		for (uint32_t k = 0; k < lens[i]; k++)
			assert_int_equal(r.bytes[r.packets[i].offset + k], (k + lens[i]) & 0xff);
	}
	replay_free(&r);
}

static void assert_fails(FILE *f, const char *text)
{
	char err[REPLAY_ERR];
	struct replay r;

	assert_int_equal(load(&r, f, err), -1);
	assert_non_null(strstr(err, text));
	assert_non_null(strstr(err, path));
	assert_null(strchr(err, '\n'));
	assert_null(r.bytes);
}

static void test_bad_files(void **state)
{
	char err[REPLAY_ERR];
	struct replay r;
	FILE *f;

	(void)state;
	assert_int_equal(replay_load(&r, "/nonexistent", err), -1);
	assert_non_null(strstr(err, "/nonexistent"));
	assert_fails(begin_file(0x12345678, 1), "");
	assert_fails(begin_file(0xa1b2c3d4, 105), "not Ethernet");
	assert_fails(begin_file(0xa1b2c3d4, 1), "no packet");
	f = begin_file(0xa1b2c3d4, 1);
	put_packet(f, 60, 60);
	put32(f, 1); /* half a header */
	assert_fails(f, "");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_cuts),
		cmocka_unit_test(test_cut_longest),
		cmocka_unit_test(test_replay),
		cmocka_unit_test(test_bad_files),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
