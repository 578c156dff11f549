/* SPDX-License-Identifier: BSD-2-Clause */
/* Files that pkt-gen replays (-P FILE), and frames that it recognises: libpcap is not instrumented. */
#include "fuzz.h"
#include "options.h"
#include "packet.h"
#include "replay.h"

#include <sys/mman.h>
#include <unistd.h>

static char path[64];
static int file;

void fuzz_begin(void)
{
	file = memfd_create("pcap", MFD_CLOEXEC);
	fuzz_check(file >= 0, "no file");
	snprintf(path, sizeof(path), "/proc/self/fd/%d", file);
}

/* Ethernet, in the byte order of the machine: what inputs need not spell. */
static void write_header(void)
{
	const struct {
		uint32_t magic;
		uint16_t major, minor;
		uint32_t zone, digits, most, link;
	} header = {0xa1b2c3d4, 2, 4, 0, 0, 65535, 1};

	fuzz_check(write(file, &header, sizeof(header)) == sizeof(header), "write");
}

/* A packet, whole but where the input says otherwise. */
static void write_packet(struct fuzz_in *in)
{
	uint8_t bytes[256], how = fuzz_u8(in);
	uint32_t len = fuzz_u8(in), record[4] = {0, 0, len, len};

	if (how & 1)
		record[how >> 1 & 3] = (uint32_t)fuzz_edge(in, GEN_LEN_MAX);
	fuzz_bytes(in, bytes, len);
	fuzz_check(write(file, record, sizeof(record)) == sizeof(record), "write");
	fuzz_check(write(file, bytes, len) == (ssize_t)len, "write");
}

static void check_packets(const struct replay *r)
{
	struct packet_info info = {0};

	fuzz_check(r->count > 0, "no packets");
	for (size_t i = 0; i < r->count; i++) {
		const struct replay_packet *p = &r->packets[i];
		uint8_t *frame = malloc(p->len);

		fuzz_check(p->len >= 14 && p->len <= GEN_LEN_MAX && p->len <= r->longest,
			"%u bytes", p->len);
		memcpy(frame, r->bytes + p->offset, p->len);
		if (packet_read(frame, p->len, NULL, &info) == PACKET_GOOD &&
			info.kind == STAMP_PING) {
			packet_turn(frame, p->len, &info);
			fuzz_check(packet_read(frame, p->len, NULL, &info) == PACKET_GOOD &&
					   info.kind == STAMP_PONG,
				"a ping turns into no pong");
		}
		free(frame);
	}
}

void fuzz_one(struct fuzz_in *in)
{
	char err[REPLAY_ERR] = "";
	struct replay r;
	uint8_t how = fuzz_u8(in);

	fuzz_check(ftruncate(file, 0) == 0 && lseek(file, 0, SEEK_SET) == 0, "no file");
	if (how & 1) {
		write_header();
		while (fuzz_more(in))
			write_packet(in);
	} else {
		fuzz_check(write(file, in->at, in->left) == (ssize_t)in->left, "write");
	}
	if (replay_load(&r, path, err) == 0) {
		check_packets(&r);
		replay_free(&r);
	} else {
		fuzz_check(err[0], "an error has no text");
		fuzz_check(!strchr(err, '\n'), "a text of two lines: %s", err);
	}
}
