/* SPDX-License-Identifier: BSD-2-Clause */
#include "values.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int value_bad(const struct value *v, const char *format, ...)
{
	char why[160];
	va_list ap;

	va_start(ap, format);
	vsnprintf(why, sizeof(why), format, ap);
	va_end(ap);
	snprintf(v->err, OPTIONS_ERR, "%s '%.60s': %s", v->name, v->text, why);
	return -1;
}

/* ---- numbers -------------------------------------------------------------------------- */

int value_number(const struct value *v, double min, double max, bool whole, double *out)
{
	double scale = 1, x;
	char *end;

	errno = 0;
	/* Only plain decimal numbers: strtod() would also take hexadecimal, inf and nan. */
	if (!v->text[0] || strspn(v->text, "0123456789.kKMG") != strlen(v->text))
		return value_bad(v, "not a number");
	x = strtod(v->text, &end);
	if (end == v->text || errno)
		return value_bad(v, "not a number");
	if (*end == 'k' || *end == 'K')
		scale = 1e3;
	else if (*end == 'M')
		scale = 1e6;
	else if (*end == 'G')
		scale = 1e9;
	end += scale != 1;
	if (*end)
		return value_bad(v, "'%s' behind the number", end);
	x *= scale;
	if (x < min || x > max)
		return value_bad(v, "not in %.15g..%.15g", min, max);
	if (whole && x != (double)(uint64_t)x)
		return value_bad(v, "not a whole number");
	*out = x;
	return 0;
}

int value_uint(const struct value *v, uint32_t min, uint32_t max, uint32_t *out)
{
	double x = 0;

	if (value_number(v, min, max, true, &x))
		return -1;
	*out = (uint32_t)x;
	return 0;
}

int value_int(const struct value *v, int min, int max, int *out)
{
	uint32_t x;

	if (value_uint(v, (uint32_t)min, (uint32_t)max, &x))
		return -1;
	*out = (int)x;
	return 0;
}

int value_count(const struct value *v, uint64_t *out)
{
	double x = 0;

	if (value_number(v, 0, 1e15, true, &x))
		return -1;
	*out = (uint64_t)x;
	return 0;
}

int value_conf(const struct value *v, uint32_t conf[4])
{
	const char *p = v->text;

	for (unsigned int i = 0; i < 4; i++) {
		unsigned long n;
		char *end;

		errno = 0;
		n = strtoul(p, &end, 10);
		if (*p < '0' || *p > '9' || errno || n > (i < 2 ? UINT32_MAX : UINT16_MAX))
			break;
		conf[i] = (uint32_t)n;
		if (!*end) {
			/* One number: both slots. No fourth one: both rings. */
			if (i == 0)
				conf[1] = conf[0];
			if (i == 2)
				conf[3] = conf[2];
			return 0;
		}
		if (*end != ',')
			break;
		p = end + 1;
	}
	return value_bad(v, "not TXSLOTS[,RXSLOTS[,TXRINGS[,RXRINGS]]]");
}

/* ---- addresses ------------------------------------------------------------------------ */

int value_mac(const struct value *v, uint8_t mac[6])
{
	unsigned int b[6];
	int i, used = 0;

	/* NOLINTNEXTLINE(cert-err34-c): two digits can't overflow */
	if (sscanf(v->text, "%2x:%2x:%2x:%2x:%2x:%2x%n", &b[0], &b[1], &b[2], &b[3], &b[4], &b[5],
		    &used) != 6 ||
		v->text[used] || strspn(v->text, "0123456789abcdefABCDEF:") != (size_t)used)
		return value_bad(v, "not a MAC address like 00:11:22:aa:bb:cc");
	for (i = 0; i < 6; i++)
		mac[i] = (uint8_t)b[i];
	return 0;
}

static int get_port(const struct value *v, const char *text, uint16_t *port)
{
	unsigned long number;
	char *end;

	number = strtoul(text, &end, 10);
	if (*text < '0' || *text > '9' || *end || number > UINT16_MAX)
		return value_bad(v, "port '%s' is not in 0..65535", text);
	*port = (uint16_t)number;
	return 0;
}

static gen_ip from_bytes(const uint8_t *b, unsigned int n)
{
	gen_ip ip = 0;

	while (n--)
		ip = ip << 8 | *b++;
	return ip;
}

/* IP[:PORT] or [IP6]:PORT, len bytes of it. The port stays what it is when there is none. */
static int get_endpoint(
	const struct value *v, const char *text, size_t len, gen_ip *ip, uint16_t *port, bool *v6)
{
	char copy[80], *address = copy, *colon = NULL;
	uint8_t b[16];

	if (len >= sizeof(copy))
		return value_bad(v, "too long for IP:PORT");
	memcpy(copy, text, len);
	copy[len] = '\0';
	if (copy[0] == '[') {
		char *close = strchr(copy, ']');

		if (!close || (close[1] && close[1] != ':'))
			return value_bad(v, "'%s' is not [IPv6]:PORT", copy);
		address = copy + 1;
		colon = close[1] ? close + 2 : NULL;
		*close = '\0';
		*v6 = true;
	} else {
		colon = strchr(copy, ':');
		*v6 = colon && strchr(colon + 1, ':'); /* two: an IPv6 address without a port */
		if (*v6)
			colon = NULL;
		if (colon)
			*colon++ = '\0';
	}
	if (inet_pton(*v6 ? AF_INET6 : AF_INET, address, b) != 1)
		return value_bad(v, "'%s' is not an IPv%d address", address, *v6 ? 6 : 4);
	*ip = from_bytes(b, *v6 ? 16 : 4);
	return colon ? get_port(v, colon, port) : 0;
}

int value_range(const struct value *v, struct gen_range *r)
{
	size_t first = strcspn(v->text, "-");
	bool v6 = false;

	if (get_endpoint(v, v->text, first, &r->ip[0], &r->port[0], &r->v6))
		return -1;
	r->given = true;
	r->ip[1] = r->ip[0];
	r->port[1] = r->port[0];
	if (!v->text[first])
		return 0;
	if (get_endpoint(v, v->text + first + 1, strlen(v->text + first + 1), &r->ip[1],
		    &r->port[1], &v6))
		return -1;
	if (v6 != r->v6)
		return value_bad(v, "one IPv4 and one IPv6 address");
	if (r->ip[1] < r->ip[0])
		return value_bad(v, "the last address is below the first");
	if (r->port[1] < r->port[0])
		return value_bad(v, "the last port is below the first");
	return 0;
}
