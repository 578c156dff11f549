/* SPDX-License-Identifier: BSD-2-Clause */
/* The older interface of netmap_user.h, on a region that the test makes itself. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#define NETMAP_WITH_LIBS
#include <net/netmap_user.h>

enum { SLOTS = 8, BUF_SIZE = 256 };

static struct nm_desc desc;

static void make_ring(char *region, int64_t at, uint32_t tail, uint32_t first_buf)
{
	struct netmap_ring *ring = (struct netmap_ring *)(void *)(region + at);

	ring->buf_ofs = 16384 - at;
	ring->num_slots = SLOTS;
	ring->nr_buf_size = BUF_SIZE;
	ring->tail = tail;
	for (uint32_t i = 0; i < SLOTS; i++)
		ring->slot[i].buf_idx = first_buf + i;
}

static int setup(void **state)
{
	char *region = aligned_alloc(4096, 65536);

	(void)state;
	memset(region, 0, 65536);
	memset(&desc, 0, sizeof(desc));
	desc.self = &desc;
	desc.fd = -1;
	desc.mem = region;
	desc.nifp = NETMAP_IF(region, 0);
	desc.nifp->ni_tx_rings = desc.nifp->ni_rx_rings = 2;
	desc.nifp->ni_host_tx_rings = desc.nifp->ni_host_rx_rings = 1;
	for (int i = 0; i < 2; i++) {
		desc.nifp->ring_ofs[i] = 4096 + i * 1024;
		desc.nifp->ring_ofs[3 + i] = 8192 + i * 1024;
		make_ring(region, 4096 + i * 1024, SLOTS - 1, 2 + (uint32_t)i * SLOTS);
		make_ring(region, 8192 + i * 1024, 0, 32 + (uint32_t)i * SLOTS);
	}
	desc.last_tx_ring = desc.last_rx_ring = 1;
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	free(desc.mem);
	return 0;
}

/* Lets a packet of some slots arrive on an rx ring. */
static void arrive(unsigned int r, const char *text, unsigned int slots)
{
	struct netmap_ring *ring = NETMAP_RXRING(desc.nifp, r);

	while (slots--) {
		struct netmap_slot *slot = &ring->slot[ring->tail];

		slot->len = (uint16_t)strlen(text);
		slot->flags = slots ? NS_MOREFRAG : 0;
		strcpy(NETMAP_BUF(ring, slot->buf_idx), text);
		ring->tail = nm_ring_next(ring, ring->tail);
	}
}

static char seen[256];
static int more;

static void collect(unsigned char *arg, const struct nm_pkthdr *hdr, const unsigned char *buf)
{
	assert_ptr_equal(arg, &desc);
	assert_ptr_equal(buf, hdr->buf);
	assert_ptr_equal(hdr->d, &desc);
	snprintf(seen + strlen(seen), sizeof(seen) - strlen(seen), "%.*s/%u ", (int)hdr->caplen,
		(const char *)buf, hdr->len);
	more += (hdr->flags & NM_MORE_PKTS) != 0;
}

static void test_dispatch(void **state)
{
	(void)state;
	seen[0] = '\0';
	more = 0;
	arrive(0, "one", 1);
	arrive(0, "two", 2);
	arrive(1, "three", 1);
	assert_int_equal(nm_dispatch(&desc, 0, collect, (unsigned char *)&desc), 3);
	assert_string_equal(seen, "one/3 two/6 three/5 ");
	assert_int_equal(more, 2);
	assert_int_equal(NETMAP_RXRING(desc.nifp, 0)->head, 3);
	assert_int_equal(nm_dispatch(&desc, 0, collect, (unsigned char *)&desc), 0);
	arrive(0, "a", 1);
	arrive(0, "b", 1);
	assert_int_equal(nm_dispatch(&desc, 1, collect, (unsigned char *)&desc), 1);
	assert_int_equal(nm_ring_space(NETMAP_RXRING(desc.nifp, 0)), 1);
}

static void test_nextpkt(void **state)
{
	struct nm_pkthdr hdr;

	(void)state;
	assert_null(nm_nextpkt(&desc, &hdr));
	arrive(1, "late", 1);
	assert_memory_equal(nm_nextpkt(&desc, &hdr), "late", 4);
	assert_int_equal(hdr.len, 4);
	assert_null(nm_nextpkt(&desc, &hdr));
	/* The rest of a packet that has not arrived is not waited for in a loop. */
	arrive(0, "half", 2);
	NETMAP_RXRING(desc.nifp, 0)->tail = 1;
	assert_null(nm_nextpkt(&desc, &hdr));
}

static void test_inject(void **state)
{
	struct netmap_ring *ring = NETMAP_TXRING(desc.nifp, 0);
	static char packet[1000];
	int n = 0;

	(void)state;
	memset(packet, 'x', sizeof(packet));
	assert_int_equal(nm_inject(&desc, packet, sizeof(packet)), sizeof(packet));
	assert_int_equal(ring->head, 4);
	assert_int_equal(ring->slot[0].len, BUF_SIZE);
	assert_int_equal(ring->slot[0].flags, NS_MOREFRAG);
	assert_int_equal(ring->slot[3].len, 1000 - 3 * BUF_SIZE);
	assert_int_equal(ring->slot[3].flags, 0);
	while (nm_inject(&desc, packet, 60) == 60)
		n++;
	/* 3 more on this ring, 7 on the other. */
	assert_int_equal(n, 10);
	assert_int_equal(desc.cur_tx_ring, 1);
	assert_true(nm_tx_pending(ring));
}

static void test_open_fails(void **state)
{
	struct nm_desc other = {0};

	(void)state;
	assert_null(nm_open("netmap:x/q", NULL, 0, NULL));
	assert_int_equal(errno, EINVAL);
	assert_int_equal(nm_close(NULL), EINVAL);
	assert_int_equal(nm_close(&other), EINVAL);
}

static void test_copy(void **state)
{
	char to[8] = "-------";

	(void)state;
	nm_pkt_copy("abc", to, 3);
	assert_string_equal(to, "abc----");
}

#define TEST(name) cmocka_unit_test_setup_teardown(test_##name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(dispatch), TEST(nextpkt), TEST(inject), TEST(open_fails), TEST(copy)};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
