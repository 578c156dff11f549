/* SPDX-License-Identifier: BSD-2-Clause */
/* Packets that the data path looks into: Ethernet, tags, IP, TCP and UDP, virtio-net headers. */
#include "offload.h"
#include "world.h"

enum { STATIONS = 8, PATCHES_MAX = 4 };

static void put16(uint8_t *p, uint32_t value)
{
	p[0] = (uint8_t)(value >> 8);
	p[1] = (uint8_t)value;
}

static void put_address(uint8_t *mac, uint8_t station)
{
	memset(mac, station >= STATIONS ? 0xff : 0, 6);
	if (station < STATIONS) {
		mac[0] = 2;
		mac[5] = station;
	}
}

/* The headers of a packet of `len` bytes, at most 200 of them, IP at *l3, TCP or UDP at *l4. */
static void put_headers(struct fuzz_in *in, uint8_t *eth, uint32_t len, uint32_t *l3, uint32_t *l4)
{
	uint8_t how = fuzz_u8(in);
	bool v6 = how & 1, udp = how & 2;
	uint32_t at = 12;

	for (uint32_t tags = how >> 2 & 3; tags > 0; tags--, at += 4)
		put16(eth + at, tags == 2 ? 0x88a8 : 0x8100);
	put16(eth + at, v6 ? 0x86dd : 0x0800);
	*l3 = at + 2;
	if (v6) {
		uint32_t extensions = how >> 4 & 3;
		uint8_t *next = eth + *l3 + 6;

		eth[*l3] = 0x60;
		put16(eth + *l3 + 4, len - *l3 - 40);
		*l4 = *l3 + 40;
		for (; extensions > 0; extensions--, *l4 += 8) {
			*next = how & 0x40 ? 60 : 43;
			next = eth + *l4;
			memset(next, 0, 8);
		}
		*next = udp ? 17 : 6;
	} else {
		uint32_t words = 5 + (how >> 4 & 7);

		memset(eth + *l3, 0, 60);
		eth[*l3] = (uint8_t)(0x40 | words);
		put16(eth + *l3 + 2, len - *l3);
		eth[*l3 + 9] = udp ? 17 : 6;
		*l4 = *l3 + 4 * words;
	}
	if (udp)
		put16(eth + *l4 + 4, len - *l4);
	else
		eth[*l4 + 12] = (uint8_t)((how & 0x80 ? 8 : 5) << 4);
}

static void put_vnet(struct fuzz_in *in, uint8_t *at, uint32_t l4, bool udp)
{
	static const uint8_t types[] = {NM_VNET_GSO_NONE, NM_VNET_GSO_TCPV4, NM_VNET_GSO_TCPV6,
		NM_VNET_GSO_UDP, NM_VNET_GSO_UDP_L4, NM_VNET_GSO_TCPV4 | NM_VNET_GSO_ECN, 77, 0};
	struct nm_vnet_hdr vnet = {
		.flags = fuzz_u8(in) & 7,
		.gso_type = types[fuzz_u8(in) % sizeof(types)],
		.gso_size = (uint16_t)fuzz_edge(in, 536),
		.csum_start = (uint16_t)l4,
		.csum_offset = udp ? 6 : 16,
	};

	memcpy(at, &vnet, sizeof(vnet));
}

uint32_t world_packet(struct fuzz_in *in, uint8_t *bytes, uint32_t most, uint32_t hdr_len)
{
	uint8_t how = fuzz_u8(in), patches = how >> 6;
	uint32_t len = fuzz_u16(in) % most, l3, l4;
	uint8_t *eth = bytes + hdr_len;

	memset(bytes, how, len);
	if ((how & 7) == 0 || len < hdr_len + 260) {
		fuzz_bytes(in, bytes, len < 64 ? len : 64);
		if ((how & 7) != 1 || len < hdr_len + 14)
			return len;
	}
	if (len >= hdr_len + 260 && (how & 7) > 2) {
		put_headers(in, eth, len - hdr_len, &l3, &l4);
		if (hdr_len)
			put_vnet(in, bytes, l4, eth[l3] >> 4 == 4 ? eth[l3 + 9] == 17 : how & 8);
	}
	put_address(eth, fuzz_below(in, STATIONS + 1));
	put_address(eth + 6, fuzz_below(in, STATIONS));
	for (; patches > 0; patches--) {
		uint32_t at = fuzz_u16(in) % (len < 128 ? len : 128);

		bytes[at] = fuzz_u8(in);
	}
	return len;
}
