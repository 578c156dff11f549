/* SPDX-License-Identifier: BSD-2-Clause */
#include "api.h"

#include <signal.h>
#include <stdarg.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum outcome { PASSED, FAILED, SKIPPED };

/* Of the running test: shared with its processes. */
static struct {
	enum outcome outcome;
	char text[900];
} * report;

static struct api_test *tests, **last_test = &tests;
static char last_error[512];

void api_add(struct api_test *test)
{
	*last_test = test;
	last_test = &test->next;
}

/* ---- outcomes ------------------------------------------------------------------------- */

void api_fail(const char *file, int line, const char *format, ...)
{
	char text[700];
	va_list ap;

	va_start(ap, format);
	vsnprintf(text, sizeof(text), format, ap);
	va_end(ap);
	/* The first failure is the one that tells. */
	if (report->outcome == PASSED)
		snprintf(report->text, sizeof(report->text), "%s:%d: %s",
			strrchr(file, '/') ? strrchr(file, '/') + 1 : file, line, text);
	report->outcome = FAILED;
	_exit(1);
}

void api_skip(const char *format, ...)
{
	va_list ap;

	va_start(ap, format);
	vsnprintf(report->text, sizeof(report->text), format, ap);
	va_end(ap);
	report->outcome = SKIPPED;
	_exit(0);
}

int part_begin(void)
{
	int pid = fork();

	CHECK(pid >= 0);
	if (pid == 0)
		alarm(API_SECONDS);
	return pid;
}

void part_end(void)
{
	_exit(0);
}

void part_join(int pid)
{
	int status;

	CHECK(waitpid(pid, &status, 0) == pid);
	if (WIFEXITED(status) && WEXITSTATUS(status) == 0)
		return;
	api_fail(__FILE__, __LINE__, "a process of the test ended with status %#x", status);
}

const char *api_last_error(void)
{
	return last_error[0] ? last_error : "no report";
}

static void on_error(struct nmctx *ctx, const char *text)
{
	(void)ctx;
	snprintf(last_error, sizeof(last_error), "%s", text);
}

bool in_kernel(void)
{
	struct nmport_d *d = nmport_new();
	const char *name;
	bool kernel;

	CHECK(d != NULL);
	name = nmport_backend(d);
	kernel = name && strcmp(name, "kernel") == 0;
	nmport_close(d);
	return kernel;
}

uint64_t now_ms(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000 + (uint64_t)ts.tv_nsec / 1000000;
}

void sleep_ms(unsigned int ms)
{
	struct timespec ts = {ms / 1000, (long)(ms % 1000) * 1000000};

	nanosleep(&ts, NULL);
}

/* ---- requests ------------------------------------------------------------------------- */

int request_header(struct nmport_d *d, struct nmreq_header *hdr)
{
	struct nmport_d *own = NULL;
	int ret;

	if (!d)
		d = own = nmport_new();
	CHECK(d != NULL);
	last_error[0] = '\0';
	ret = nmport_request(d, hdr) < 0 ? -errno : 0;
	if (own)
		nmport_close(own);
	return ret;
}

int request_on(struct nmport_d *d, uint16_t type, const char *name, void *body)
{
	struct nmreq_header hdr;

	nmreq_header_init(&hdr, type, body);
	memcpy(hdr.nr_name, name, strlen(name));
	return request_header(d, &hdr);
}

int request(uint16_t type, const char *name, void *body)
{
	return request_on(NULL, type, name, body);
}

int request_when_free(uint16_t type, const char *name, void *body)
{
	uint64_t limit = now_ms() + WAIT_MS;
	int ret;

	while ((ret = request(type, name, body)) == -EBUSY && now_ms() < limit)
		sleep_ms(1);
	return ret;
}

/* ---- ports ---------------------------------------------------------------------------- */

struct nmport_d *prepare(const char *name)
{
	struct nmport_d *d = nmport_new();

	CHECK(d != NULL);
	memcpy(d->hdr.nr_name, name, strlen(name));
	d->reg.nr_mode = NR_REG_ALL_NIC;
	return d;
}

int finish(struct nmport_d *d)
{
	last_error[0] = '\0';
	if (nmport_register(d) < 0)
		return -errno;
	return nmport_mmap(d) < 0 ? -errno : 0;
}

struct nmport_d *open_flags(const char *name, uint64_t flags)
{
	struct nmport_d *d = prepare(name);

	d->reg.nr_flags = flags;
	CHECK_EQ(finish(d), 0);
	return d;
}

struct nmport_d *open_shape(const char *name, uint16_t rings, uint32_t tx_slots, uint32_t rx_slots)
{
	struct nmport_d *d = prepare(name);

	d->reg.nr_tx_rings = d->reg.nr_rx_rings = rings;
	d->reg.nr_tx_slots = tx_slots;
	d->reg.nr_rx_slots = rx_slots;
	CHECK_EQ(finish(d), 0);
	return d;
}

struct nmport_d *open_spec(const char *spec)
{
	struct nmport_d *d;

	last_error[0] = '\0';
	d = nmport_open(spec);
	CHECK(d != NULL);
	return d;
}

int try_register(const char *name, struct nmreq_register *reg)
{
	struct nmport_d *d = prepare(name);
	int ret;

	d->reg = *reg;
	ret = finish(d);
	*reg = d->reg;
	nmport_close(d);
	return ret;
}

int try_mode(const char *name, uint32_t mode, uint64_t flags)
{
	struct nmreq_register reg = {.nr_mode = mode, .nr_flags = flags};

	return try_register(name, &reg);
}

uint32_t tx_count(const struct nmport_d *d)
{
	return d->first_tx_ring > d->last_tx_ring ? 0 : d->last_tx_ring - d->first_tx_ring + 1u;
}

uint32_t rx_count(const struct nmport_d *d)
{
	return d->first_rx_ring > d->last_rx_ring ? 0 : d->last_rx_ring - d->first_rx_ring + 1u;
}

struct netmap_ring *tx_ring(struct nmport_d *d, uint32_t i)
{
	CHECK(i < tx_count(d));
	return NETMAP_TXRING(d->nifp, d->first_tx_ring + i);
}

struct netmap_ring *rx_ring(struct nmport_d *d, uint32_t i)
{
	CHECK(i < rx_count(d));
	return NETMAP_RXRING(d->nifp, d->first_rx_ring + i);
}

/* ---- packets -------------------------------------------------------------------------- */

static void make_mac(uint8_t *mac, uint8_t station)
{
	if (!station) {
		memset(mac, 0xff, 6);
		return;
	}
	memset(mac, 0, 6);
	mac[0] = 2;
	mac[5] = station;
}

void make_frame(uint8_t *frame, uint32_t len, uint8_t to, uint8_t from, uint32_t number)
{
	uint32_t state = number * 2654435761u + 1;

	CHECK(len >= 14);
	make_mac(frame, to);
	make_mac(frame + 6, from);
	frame[12] = 0x88;
	frame[13] = 0xb5; /* for experiments */
	for (uint32_t i = 14; i < len; i++) {
		state = state * 1664525 + 1013904223;
		frame[i] = (uint8_t)(state >> 24);
	}
}

bool put_parts(struct netmap_ring *ring, const uint8_t *data, uint32_t len, uint32_t part)
{
	uint32_t at = ring->head, space = nm_ring_space(ring), limit = ring->nr_buf_size;

	if (limit > UINT16_MAX)
		limit = UINT16_MAX;
	if (part && part < limit)
		limit = part;
	if ((len + limit - 1) / limit > space)
		return false;
	do {
		struct netmap_slot *slot = &ring->slot[at];
		uint32_t n = len < limit ? len : limit;

		memcpy(NETMAP_BUF_OFFSET(ring, slot), data, n);
		data += n;
		len -= n;
		slot->len = (uint16_t)n;
		slot->flags = len ? NS_MOREFRAG : 0;
		at = nm_ring_next(ring, at);
	} while (len);
	ring->head = ring->cur = at;
	return true;
}

void send_frame(struct nmport_d *d, uint8_t to, uint8_t from, uint32_t number)
{
	uint8_t frame[FRAME_LEN];

	make_frame(frame, sizeof(frame), to, from, number);
	CHECK(put_parts(tx_ring(d, 0), frame, sizeof(frame), 0));
	CHECK_EQ(nmport_txsync(d), 0);
}

/* Between two looks at a ring. */
static void pause_briefly(void)
{
	struct timespec ts = {0, 100000};

	nanosleep(&ts, NULL);
}

bool wait_slots(struct nmport_d *d, struct netmap_ring *ring, uint32_t n)
{
	uint64_t limit = now_ms() + WAIT_MS;

	while (nm_ring_space(ring) < n) {
		if (now_ms() > limit)
			return false;
		CHECK_EQ(nmport_rxsync(d), 0);
		if (nm_ring_space(ring) < n)
			pause_briefly();
	}
	return true;
}

bool wait_sent(struct nmport_d *d, struct netmap_ring *ring)
{
	uint64_t limit = now_ms() + WAIT_MS;

	while (nm_tx_pending(ring)) {
		if (now_ms() > limit)
			return false;
		CHECK_EQ(nmport_txsync(d), 0);
		if (nm_tx_pending(ring))
			pause_briefly();
	}
	return true;
}

uint32_t take_packet(
	struct nmport_d *d, struct netmap_ring *ring, uint8_t *data, uint32_t max, uint32_t *slots)
{
	uint32_t len = 0;
	bool more = true;

	*slots = 0;
	while (more) {
		struct netmap_slot *slot;

		CHECK(wait_slots(d, ring, 1));
		slot = &ring->slot[ring->head];
		more = slot->flags & NS_MOREFRAG;
		CHECK(slot->len <= ring->nr_buf_size && len + slot->len <= max);
		memcpy(data + len, NETMAP_BUF_OFFSET(ring, slot), slot->len);
		len += slot->len;
		(*slots)++;
		ring->head = ring->cur = nm_ring_next(ring, ring->head);
	}
	return len;
}

void take_frame(struct nmport_d *d, uint8_t to, uint8_t from, uint32_t number)
{
	uint8_t got[FRAME_LEN], want[FRAME_LEN];
	uint32_t slots;

	make_frame(want, sizeof(want), to, from, number);
	CHECK_EQ(take_packet(d, rx_ring(d, 0), got, sizeof(got), &slots), FRAME_LEN);
	CHECK_EQ(slots, 1);
	if (memcmp(got, want, sizeof(got)) != 0)
		api_fail(__FILE__, __LINE__, "not the frame %u from %u to %u", number, from, to);
}

void expect_empty(struct nmport_d *d)
{
	for (int round = 0; round < 2; round++) {
		CHECK_EQ(nmport_rxsync(d), 0);
		for (uint32_t i = 0; i < rx_count(d); i++)
			CHECK_EQ(nm_ring_space(rx_ring(d, i)), 0);
		if (!round)
			sleep_ms(30);
	}
}

/* ---- main ----------------------------------------------------------------------------- */

static enum outcome run(const struct api_test *test)
{
	int pid, status;

	report->outcome = PASSED;
	report->text[0] = '\0';
	fflush(stdout);
	pid = fork();
	if (pid == 0) {
		alarm(API_SECONDS);
		nmctx_get()->error = on_error;
		test->run();
		_exit(0);
	}
	if (pid < 0 || waitpid(pid, &status, 0) != pid) {
		perror("nmapi");
		exit(2);
	}
	if (WIFSIGNALED(status) || (WEXITSTATUS(status) && report->outcome != FAILED)) {
		report->outcome = FAILED;
		snprintf(report->text, sizeof(report->text), "%s",
			WIFSIGNALED(status) && WTERMSIG(status) == SIGALRM ? "it takes too long"
									   : "its process crashed");
	}
	return report->outcome;
}

static void print(int number, const char *name, enum outcome outcome)
{
	printf("%s %d - %s%s%s%s%s\n", outcome == FAILED ? "not ok" : "ok", number, name,
		outcome == SKIPPED ? " # SKIP " : "", outcome == SKIPPED ? report->text : "",
		outcome == FAILED ? "\n# " : "", outcome == FAILED ? report->text : "");
}

static bool wanted(const char *name, int argc, char **argv)
{
	for (int i = 1; i < argc; i++)
		if (strcmp(argv[i], name) == 0)
			return true;
	return argc < 2;
}

int main(int argc, char **argv)
{
	int count = 0, failures = 0;

	report = mmap(
		NULL, sizeof(*report), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (report == MAP_FAILED) {
		perror("nmapi: mmap");
		return 2;
	}
	for (struct api_test *test = tests; test; test = test->next) {
		enum outcome outcome;

		if (argc > 1 && strcmp(argv[1], "--list") == 0) {
			puts(test->name);
			continue;
		}
		if (!wanted(test->name, argc, argv))
			continue;
		outcome = run(test);
		print(++count, test->name, outcome);
		failures += outcome == FAILED;
	}
	if (count)
		printf("1..%d\n", count);
	else if (argc > 1 && strcmp(argv[1], "--list") != 0)
		fprintf(stderr, "nmapi: no such test; --list names them\n");
	return failures ? 1 : count || argc > 1 ? 0 : 2;
}
