/* SPDX-License-Identifier: BSD-2-Clause */
#include "replay.h"

#include <pcap/pcap.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "options.h"

/* Room for one more of `size` bytes behind `used`; the capacity doubles. NULL: no memory. */
static void *grow(void *mem, size_t *capacity, size_t used, size_t more, size_t size)
{
	size_t want = *capacity;
	void *bigger;

	while (want < used + more)
		want = want ? 2 * want : 4096;
	if (want == *capacity)
		return mem;
	bigger = realloc(mem, want * size);
	if (bigger)
		*capacity = want;
	return bigger;
}

struct loader {
	struct replay *r;
	size_t bytes, byte_room, packet_room;
};

static int add(struct loader *l, const uint8_t *data, uint32_t len)
{
	struct replay *r = l->r;
	void *bytes = grow(r->bytes, &l->byte_room, l->bytes, len, 1), *packets;

	if (!bytes)
		return -1;
	r->bytes = bytes;
	packets = grow(r->packets, &l->packet_room, r->count, 1, sizeof(*r->packets));
	if (!packets)
		return -1;
	r->packets = packets;
	r->packets[r->count++] = (struct replay_packet){l->bytes, len};
	memcpy(r->bytes + l->bytes, data, len);
	l->bytes += len;
	if (len > r->longest)
		r->longest = len;
	return 0;
}

/* All packets of an open file. Returns what is wrong, or NULL. */
static const char *read_all(struct loader *l, pcap_t *pcap)
{
	struct pcap_pkthdr *hdr;
	const u_char *data;
	int ret;

	while ((ret = pcap_next_ex(pcap, &hdr, &data)) == 1) {
		if (hdr->caplen != hdr->len || hdr->len < 14 || hdr->len > GEN_LEN_MAX)
			l->r->skipped++;
		else if (add(l, data, hdr->len))
			return "out of memory";
	}
	if (ret == PCAP_ERROR)
		return pcap_geterr(pcap);
	return l->r->count ? NULL : "no packet in it can be sent";
}

int replay_load(struct replay *r, const char *file, char err[REPLAY_ERR])
{
	char why[PCAP_ERRBUF_SIZE];
	struct loader l = {.r = r};
	const char *wrong = NULL;
	pcap_t *pcap;

	memset(r, 0, sizeof(*r));
	pcap = pcap_open_offline(file, why);
	if (!pcap) {
		/* Some of its messages begin with the name of the file. */
		snprintf(err, REPLAY_ERR, "%s%.200s%s%.200s", "-P ",
			strncmp(why, file, strlen(file)) == 0 ? "" : file,
			strncmp(why, file, strlen(file)) == 0 ? "" : ": ", why);
		return -1;
	}
	if (pcap_datalink(pcap) != DLT_EN10MB)
		wrong = "not Ethernet packets";
	else
		wrong = read_all(&l, pcap);
	if (wrong)
		snprintf(err, REPLAY_ERR, "-P %.200s: %.200s", file, wrong);
	pcap_close(pcap);
	if (!wrong)
		return 0;
	replay_free(r);
	return -1;
}

void replay_free(struct replay *r)
{
	free(r->bytes);
	free(r->packets);
	memset(r, 0, sizeof(*r));
}
