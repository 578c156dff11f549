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

static char seen[2000];
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
	assert_string_equal(seen, "one/3 twotwo/6 three/5 ");
	assert_int_equal(more, 2);
	assert_int_equal(NETMAP_RXRING(desc.nifp, 0)->head, 3);
	assert_int_equal(nm_dispatch(&desc, 0, collect, (unsigned char *)&desc), 0);
	arrive(0, "a", 1);
	arrive(0, "b", 1);
	assert_int_equal(nm_dispatch(&desc, 1, collect, (unsigned char *)&desc), 1);
	assert_int_equal(nm_ring_space(NETMAP_RXRING(desc.nifp, 0)), 1);
}

/* Packets of several slots whose buffers lie anywhere come in one piece, the last one's end included. */
static void test_dispatch_whole(void **state)
{
	struct netmap_ring *ring = NETMAP_RXRING(desc.nifp, 0);
	uint32_t buf = ring->slot[1].buf_idx;

	(void)state;
	ring->slot[1].buf_idx = ring->slot[3].buf_idx;
	ring->slot[3].buf_idx = buf;
	seen[0] = '\0';
	arrive(0, "abc", 3);
	arrive(0, "de", 2);
	arrive(0, "f", 2);
	ring->tail--; /* the end of the third has not arrived */
	assert_int_equal(nm_dispatch(&desc, 0, collect, (unsigned char *)&desc), 2);
	assert_string_equal(seen, "abcabcabc/9 dede/4 ");
	assert_int_equal(nm_ring_space(ring), 1);
	ring->tail++;
	assert_int_equal(nm_dispatch(&desc, 0, collect, (unsigned char *)&desc), 1);
	assert_string_equal(seen, "abcabcabc/9 dede/4 ff/2 ");
}

/* A packet that fills the ring would never get an end: it comes as it is. */
static void test_dispatch_full(void **state)
{
	struct netmap_ring *ring = NETMAP_RXRING(desc.nifp, 0);

	(void)state;
	seen[0] = '\0';
	arrive(0, "a", SLOTS);
	ring->tail = SLOTS - 2;
	assert_int_equal(nm_dispatch(&desc, 0, collect, (unsigned char *)&desc), 0);
	ring->tail = SLOTS - 1;
	assert_int_equal(nm_dispatch(&desc, 0, collect, (unsigned char *)&desc), 1);
	assert_true(nm_ring_empty(ring));
	assert_string_equal(seen, "aaaaaaa/7 ");
}

/* A length that reaches behind the buffer is cut there: readers go by it. */
static void test_lengths(void **state)
{
	struct netmap_ring *ring = NETMAP_RXRING(desc.nifp, 0);
	struct nm_pkthdr hdr;

	(void)state;
	arrive(0, "a", 1);
	ring->slot[0].len = UINT16_MAX;
	assert_non_null(nm_nextpkt(&desc, &hdr));
	assert_int_equal(hdr.caplen, BUF_SIZE);
	assert_int_equal(hdr.len, BUF_SIZE);
}

/* One slot at a time; no more than what lies in its buffer is promised. */
static void test_nextpkt_slots(void **state)
{
	struct nm_pkthdr hdr;

	(void)state;
	arrive(0, "one", 2);
	assert_memory_equal(nm_nextpkt(&desc, &hdr), "one", 3);
	assert_int_equal(hdr.len, 3);
	assert_int_equal(hdr.caplen, 3);
	assert_true(hdr.slot->flags & NS_MOREFRAG);
	assert_memory_equal(nm_nextpkt(&desc, &hdr), "one", 3);
	assert_int_equal(hdr.len, 3);
	assert_false(hdr.slot->flags & NS_MOREFRAG);
	assert_null(nm_nextpkt(&desc, &hdr));
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

/* What is no name of netmap's is left to others without a word: errno 0, and nothing on stderr. */
static void test_open_others(void **state)
{
	static const char *const names[] = {
		"eth0", "pcap:eth0", "", "vale", "vale-x:1", "netmapx:1", "file:/tmp/x.pcap"};
	int keep = dup(2), pipefd[2];
	char said[8];

	(void)state;
	assert_int_equal(pipe(pipefd), 0);
	assert_int_equal(fcntl(pipefd[0], F_SETFL, O_NONBLOCK), 0);
	assert_int_equal(dup2(pipefd[1], 2), 2);
	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		errno = EIO;
		assert_null(nm_open(names[i], NULL, 0, NULL));
		assert_int_equal(errno, 0);
	}
	fflush(stderr);
	assert_int_equal(dup2(keep, 2), 2);
	assert_int_equal(read(pipefd[0], said, sizeof(said)), -1);
	assert_int_equal(errno, EAGAIN);
	close(keep);
	close(pipefd[0]);
	close(pipefd[1]);
}

/* However long the name, err has MAXERRMSG bytes; and 64 do for what is usual. */
static void test_parse_error(void **state)
{
	static const char *const bad[] = {
		"netmap:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa-70000",
		"netmap:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa@70000",
		"netmap:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa@1/R@2",
		"netmap:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa/Q",
		"netmap:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa^x",
		"netmap:@aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
		"vale-aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
		"eaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
	};
	char name[400] = "netmap:", err[MAXERRMSG + 1];
	struct nm_desc d = {0};

	(void)state;
	memset(name + 7, 'n', sizeof(name) - 8);
	memset(err, '#', sizeof(err));
	assert_int_equal(nm_parse(name, &d, err), -1);
	assert_non_null(memchr(err, '\0', 64));
	assert_int_equal(err[MAXERRMSG], '#');
	assert_non_null(strstr(err, "longer than 63 bytes"));
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		memset(err, '#', sizeof(err));
		assert_int_equal(nm_parse(bad[i], &d, err), -1);
		assert_non_null(memchr(err, '\0', 64));
		assert_int_equal(err[64], '#');
	}
}

/* Which name NM_OPEN_IFNAME means: /dev/netmap or the lack of it is told with that name. */
static void name_of(const struct nmreq *req, const struct nm_desc *arg, const char *expected)
{
	struct nm_desc d = {0};

	if (arg)
		nm_import_(&d, arg, NM_OPEN_IFNAME);
	else
		nm_import_name_(&d, req, NULL);
	assert_string_equal(d.port, expected);
}

static void test_ifname(void **state)
{
	struct nm_desc parent = {0}, copy;
	struct nmreq req = {.nr_name = "eth9"};

	(void)state;
	assert_int_equal(nm_parse("netmap:a_name_of_more_than_15_bytes-1", &parent, parent.msg), 0);
	parent.self = &parent;
	name_of(NULL, &parent, "a_name_of_more_than_15_bytes");
	copy = parent; /* as programs with threads do */
	copy.self = &copy;
	strcpy(copy.req.nr_name, "other");
	name_of(NULL, &copy, "other");
	memset(&copy, 'x', sizeof(copy)); /* on the stack, filled in as far as it is documented */
	memset(&copy.req, 0, sizeof(copy.req));
	strcpy(copy.req.nr_name, "a_name_of_more_");
	name_of(NULL, &copy, "a_name_of_more_");
	name_of(&req, NULL, "eth9");
}

static void test_identifier(void **state)
{
	const char *s = "aZ_09-";

	(void)state;
	assert_true(nm_is_identifier(s, s + 5));
	assert_false(nm_is_identifier(s, s + 6));
	assert_true(nm_is_identifier(s, s));
}

static void test_csb_helpers(void **state)
{
	struct nm_csb_atok atok = {0};
	struct nm_csb_ktoa ktoa = {.hwcur = 3, .hwtail = 7};
	uint32_t hwcur, hwtail;

	(void)state;
	nm_sync_kloop_appl_write(&atok, 5, 4);
	assert_int_equal(atok.cur, 5);
	assert_int_equal(atok.head, 4);
	nm_sync_kloop_appl_read(&ktoa, &hwtail, &hwcur);
	assert_int_equal(hwcur, 3);
	assert_int_equal(hwtail, 7);
	nm_ldld_barrier();
	nm_stld_barrier();
	nm_stst_barrier();
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
	const struct CMUnitTest tests[] = {TEST(dispatch), TEST(nextpkt), TEST(inject),
		TEST(open_fails), TEST(copy), TEST(dispatch_whole), TEST(dispatch_full),
		TEST(lengths), TEST(nextpkt_slots), TEST(open_others), TEST(parse_error),
		TEST(ifname), TEST(identifier), TEST(csb_helpers)};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
