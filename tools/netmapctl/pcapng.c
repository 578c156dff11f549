/* SPDX-License-Identifier: BSD-2-Clause */
/* Blocks of a pcapng file: type, length, body, options, and the length once more; all on boundaries of four bytes. */
#include "pcapng.h"

#include <string.h>

enum {
	BLOCK_SECTION = 0x0A0D0D0A,
	BLOCK_INTERFACE = 1,
	BLOCK_STATISTICS = 5,
	BLOCK_PACKET = 6,
	BYTE_ORDER_MAGIC = 0x1A2B3C4D,
	LINK_ETHERNET = 1,
	BLOCK_HEAD = 8, /* type and length */
	BLOCK_TAIL = 4,
	BODY_MAX = 2048, /* of all but packets' data */
	TEXT_MAX = 400,
};

enum option {
	OPT_END = 0,
	SHB_PROGRAM = 4,
	IF_NAME = 2,
	IF_DESCRIPTION = 3,
	IF_TSRESOL = 9,
	IF_FILTER = 11,
	EPB_FLAGS = 2,
	EPB_QUEUE = 6,
	ISB_START = 2,
	ISB_END = 3,
	ISB_RECEIVED = 4,
	ISB_DROPPED = 5,
	ISB_ACCEPTED = 6,
	ISB_DELIVERED = 8,
};

enum { FLAG_INBOUND = 1, FLAG_OUTBOUND = 2, TS_NANOSECONDS = 9 };

/* Body and options while they are put together. */
struct block {
	uint8_t bytes[BODY_MAX];
	uint32_t length;
};

static void put(struct block *b, const void *data, uint32_t length)
{
	if (length > 0)
		memcpy(b->bytes + b->length, data, length);
	b->length += length;
	while (b->length % 4)
		b->bytes[b->length++] = 0;
}

static void put_u32(struct block *b, uint32_t value)
{
	put(b, &value, sizeof(value));
}

static void put_option(struct block *b, enum option code, const void *data, uint16_t length)
{
	uint16_t head[2] = {(uint16_t)code, length};

	put(b, head, sizeof(head));
	put(b, data, length);
}

static void put_text(struct block *b, enum option code, const char *text)
{
	if (text)
		put_option(b, code, text, (uint16_t)strnlen(text, TEXT_MAX));
}

/* Times are the high word, then the low one, in any byte order. */
static void put_time(struct block *b, enum option code, uint64_t ns)
{
	uint32_t words[2] = {(uint32_t)(ns >> 32), (uint32_t)ns};

	put_option(b, code, words, sizeof(words));
}

static void put_count(struct block *b, enum option code, uint64_t count)
{
	put_option(b, code, &count, sizeof(count));
}

/* `data` stands between the body and the options, which begin at `options`. */
static uint64_t write_block(FILE *out, uint32_t type, const struct block *b, uint32_t options,
	const void *data, uint32_t data_length)
{
	static const uint8_t zero[4];
	uint32_t padding = -data_length & 3;
	uint32_t total = BLOCK_HEAD + b->length + data_length + padding + BLOCK_TAIL;
	uint32_t head[2] = {type, total};

	fwrite(head, sizeof(head), 1, out);
	fwrite(b->bytes, 1, options, out);
	fwrite(data ? data : zero, 1, data_length, out);
	fwrite(zero, 1, padding, out);
	fwrite(b->bytes + options, 1, b->length - options, out);
	fwrite(&total, sizeof(total), 1, out);
	return total;
}

static uint64_t begin_section(FILE *out, const struct pcapng_interface *interface)
{
	static const uint16_t version[2] = {1, 0};
	int64_t length = -1; /* not known yet */
	struct block b = {.length = 0};

	put_u32(&b, BYTE_ORDER_MAGIC);
	put(&b, version, sizeof(version));
	put(&b, &length, sizeof(length));
	put_text(&b, SHB_PROGRAM, interface->program);
	put_option(&b, OPT_END, NULL, 0);
	return write_block(out, BLOCK_SECTION, &b, b.length, NULL, 0);
}

static void put_filter(struct block *b, const char *filter)
{
	char text[TEXT_MAX + 1] = {0}; /* the first byte: a filter as text */
	size_t length = strnlen(filter, TEXT_MAX);

	memcpy(text + 1, filter, length);
	put_option(b, IF_FILTER, text, (uint16_t)(length + 1));
}

uint64_t pcapng_begin(FILE *out, const struct pcapng_interface *interface)
{
	static const uint8_t resolution = TS_NANOSECONDS;
	static const uint16_t link[2] = {LINK_ETHERNET, 0};
	struct block b = {.length = 0};
	uint64_t bytes = begin_section(out, interface);

	put(&b, link, sizeof(link));
	put_u32(&b, interface->snaplen);
	put_text(&b, IF_NAME, interface->name);
	put_text(&b, IF_DESCRIPTION, interface->description);
	put_option(&b, IF_TSRESOL, &resolution, sizeof(resolution));
	if (interface->filter)
		put_filter(&b, interface->filter);
	put_option(&b, OPT_END, NULL, 0);
	return bytes + write_block(out, BLOCK_INTERFACE, &b, b.length, NULL, 0);
}

uint64_t pcapng_packet(FILE *out, const struct pcapng_packet *packet)
{
	uint32_t flags = packet->outbound ? FLAG_OUTBOUND : FLAG_INBOUND;
	struct block b = {.length = 0};
	uint32_t options;

	put_u32(&b, 0); /* the interface */
	put_u32(&b, (uint32_t)(packet->time_ns >> 32));
	put_u32(&b, (uint32_t)packet->time_ns);
	put_u32(&b, packet->captured);
	put_u32(&b, packet->length);
	options = b.length;
	put_option(&b, EPB_FLAGS, &flags, sizeof(flags));
	put_option(&b, EPB_QUEUE, &packet->ring, sizeof(packet->ring));
	put_option(&b, OPT_END, NULL, 0);
	return write_block(out, BLOCK_PACKET, &b, options, packet->data, packet->captured);
}

uint64_t pcapng_end(FILE *out, const struct pcapng_statistics *s)
{
	struct block b = {.length = 0};

	put_u32(&b, 0);
	put_u32(&b, (uint32_t)(s->end_ns >> 32));
	put_u32(&b, (uint32_t)s->end_ns);
	put_time(&b, ISB_START, s->start_ns);
	put_time(&b, ISB_END, s->end_ns);
	if (s->dropped_known) {
		put_count(&b, ISB_RECEIVED, s->received);
		put_count(&b, ISB_DROPPED, s->dropped);
	}
	put_count(&b, ISB_ACCEPTED, s->accepted);
	put_count(&b, ISB_DELIVERED, s->written);
	put_option(&b, OPT_END, NULL, 0);
	return write_block(out, BLOCK_STATISTICS, &b, b.length, NULL, 0);
}
