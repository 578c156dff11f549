/* SPDX-License-Identifier: BSD-2-Clause */
#include "common/report.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

void complain(const char *format, ...)
{
	char text[1200];
	va_list ap;

	va_start(ap, format);
	vsnprintf(text, sizeof(text), format, ap);
	va_end(ap);
	for (char *p = text; *p; p++) /* it may quote arguments, and what netmapd says */
		if (*p < ' ' || *p > '~')
			*p = '?';
	fprintf(stderr, "%s: %s\n", report_name, text);
}

void report_error(struct nmctx *ctx, const char *text)
{
	(void)ctx;
	complain("%s", text);
}

void report_nothing(struct nmctx *ctx, const char *text)
{
	(void)ctx;
	(void)text;
}

uint32_t port_header_length(struct nmport_d *d)
{
	struct nmreq_port_hdr body = {0};
	struct nmreq_header hdr;
	int ret;

	nmreq_header_init(&hdr, NETMAP_REQ_PORT_HDR_GET, &body);
	memcpy(hdr.nr_name, d->hdr.nr_name, sizeof(hdr.nr_name));
	d->ctx->error = report_nothing;
	ret = nmport_request(d, &hdr);
	d->ctx->error = report_error;
	return ret == 0 ? body.nr_hdr_len : 0;
}
