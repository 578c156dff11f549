/* SPDX-License-Identifier: BSD-2-Clause */
#include "nic_settings.h"

#include <arpa/inet.h>
#include <errno.h>
#include <ctype.h>
#include <fnmatch.h>
#include <stdlib.h>
#include <string.h>

#include "nic_connect.h"

enum { WORD_MAX = 64, BUSY_US_MAX = 1000000, BUDGET_MAX = 64 /* more needs CAP_NET_ADMIN */ };

static uint32_t mode_of(const char *text)
{
	uint32_t mode = 0;

	while (mode < NIC_MODES && strcmp(text, nic_mode_name(mode)) != 0)
		mode++;
	return mode;
}

int nic_settings_mode(struct nic_settings *s, const char *text, struct nm_error *err)
{
	const char *equals = strrchr(text, '='), *interfaces = equals ? text : "*";
	size_t len = equals ? (size_t)(equals - text) : 1;
	uint32_t mode = mode_of(equals ? equals + 1 : text);

	if (mode == NIC_MODES)
		return nm_error_set(err, -EINVAL,
			"--nic-mode: \"%.60s\" is not any, zero-copy, native or generic, nor that for an interface, as in eth1=native",
			text);
	if (len == 0 || len >= NIC_NAME_MAX)
		return nm_error_set(err, -EINVAL,
			"--nic-mode: \"%.60s\": the name of an interface has 1 to %d bytes", text,
			NIC_NAME_MAX - 1);
	if (s->num_modes == NIC_MODE_RULES_MAX)
		return nm_error_set(
			err, -EINVAL, "--nic-mode: more than %d of them", NIC_MODE_RULES_MAX);
	memcpy(s->modes[s->num_modes].interfaces, interfaces, len);
	s->modes[s->num_modes].interfaces[len] = '\0';
	s->modes[s->num_modes++].mode = mode;
	return 0;
}

uint32_t nic_settings_mode_of(const struct nic_settings *s, const char *ifname)
{
	for (uint32_t i = s->num_modes; i > 0; i--)
		if (fnmatch(s->modes[i - 1].interfaces, ifname, 0) == 0)
			return s->modes[i - 1].mode;
	return NIC_MODE_ANY;
}

/* 0: it is no such word. */
static uint32_t kind_of(const char *word)
{
	static const struct {
		const char *name;
		uint32_t bit;
	} words[] = {{"arp", NIC_PASS_ARP}, {"nd", NIC_PASS_ND}, {"lldp", NIC_PASS_LLDP},
		{"sent", NIC_PASS_SENT}};

	for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++)
		if (strcmp(words[i].name, word) == 0)
			return words[i].bit;
	return 0;
}

static int add_word(struct nic_settings *s, const char *word, struct nm_error *err)
{
	uint32_t bit = kind_of(word), *count = strchr(word, ':') ? &s->num_ip6 : &s->num_ip4;
	uint8_t address[16];

	s->pass |= bit;
	if (bit)
		return 0;
	if (inet_pton(count == &s->num_ip6 ? AF_INET6 : AF_INET, word, address) != 1)
		return nm_error_set(err, -EINVAL,
			"--nic-pass: \"%.60s\" is not arp, nd, lldp, sent or an address of the host, as in arp,10.0.0.1",
			word);
	if (*count == NIC_ADDRESSES_MAX)
		return nm_error_set(err, -EINVAL, "--nic-pass: more than %d addresses of a kind",
			NIC_ADDRESSES_MAX);
	if (count == &s->num_ip6)
		memcpy(s->ip6[(*count)++], address, sizeof(s->ip6[0]));
	else
		memcpy(s->ip4[(*count)++], address, sizeof(s->ip4[0]));
	return 0;
}

int nic_settings_pass(struct nic_settings *s, const char *text, struct nm_error *err)
{
	char word[WORD_MAX];
	int error = 0;

	for (const char *p = text; !error; p++) {
		size_t len = strcspn(p, ",");

		if (len >= sizeof(word))
			return nm_error_set(err, -EINVAL, "--nic-pass: \"%.60s\" is too long", p);
		memcpy(word, p, len);
		word[len] = '\0';
		error = add_word(s, word, err);
		p += len;
		if (*p == '\0')
			break;
	}
	return error;
}

/* A number up to most at *text, which goes behind it; -1: there is none. */
static long number_at(const char **text, long most)
{
	char *end;
	long n;

	if (!isdigit((unsigned char)**text))
		return -1;
	n = strtol(*text, &end, 10);
	*text = end;
	return n <= most ? n : -1;
}

int nic_settings_busy(struct nic_settings *s, const char *text, struct nm_error *err)
{
	const char *at = text;
	long us = number_at(&at, BUSY_US_MAX), budget = 0;

	if (us >= 0 && *at == '/') {
		at++;
		budget = number_at(&at, BUDGET_MAX);
	}
	if (us < 0 || budget < 0 || *at)
		return nm_error_set(err, -EINVAL,
			"--nic-busy-poll: \"%.60s\" is not 0 to %d microseconds, or that and 1 to %d packets at a time, as in 50/32",
			text, BUSY_US_MAX, BUDGET_MAX);
	s->busy_us = (uint32_t)us;
	s->busy_budget = (uint32_t)budget;
	return 0;
}
