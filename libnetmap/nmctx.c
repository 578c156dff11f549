/* SPDX-License-Identifier: BSD-2-Clause */
/* Contexts: error reporting, allocation, the lock of the list of mappings. */
#include <libnetmap.h>

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "os.h"

enum { ERROR_TEXT = 512 };

static void default_error(struct nmctx *ctx, const char *text)
{
	(void)ctx;
	fprintf(stderr, "%s\n", text);
}

static void *default_malloc(struct nmctx *ctx, size_t bytes)
{
	(void)ctx;
	return malloc(bytes);
}

static void default_free(struct nmctx *ctx, void *mem)
{
	(void)ctx;
	free(mem);
}

static struct os_mutex default_mutex = OS_MUTEX_INIT;

/* One function for both, as the API has it. */
static void default_lock(struct nmctx *ctx, int lock) OS_NO_THREAD_SAFETY_ANALYSIS
{
	(void)ctx;
	if (lock)
		os_mutex_lock(&default_mutex);
	else
		os_mutex_unlock(&default_mutex);
}

static struct nmctx first_ctx = {
	.error = default_error,
	.malloc = default_malloc,
	.free = default_free,
};

static struct nmctx *current_ctx = &first_ctx;

struct nmctx *nmctx_get(void)
{
	return current_ctx;
}

struct nmctx *nmctx_set_default(struct nmctx *ctx)
{
	struct nmctx *old = current_ctx;

	current_ctx = ctx;
	return old;
}

void nmctx_set_threadsafe(void)
{
	current_ctx->lock = default_lock;
}

/* Names, and netmapd's texts, are quoted as they are: what a terminal would obey, and what would make it
 * two lines, becomes '?'. */
static void make_line(char *text)
{
	for (unsigned char *c = (unsigned char *)text; *c; c++)
		if (*c < ' ' || *c == 0x7f)
			*c = '?';
}

void nmctx_ferror(struct nmctx *ctx, const char *format, ...)
{
	char text[ERROR_TEXT];
	va_list ap;

	va_start(ap, format);
	vsnprintf(text, sizeof(text), format, ap);
	va_end(ap);
	make_line(text);
	ctx->error(ctx, text);
}

void *nmctx_malloc(struct nmctx *ctx, size_t bytes)
{
	return ctx->malloc(ctx, bytes);
}

void nmctx_free(struct nmctx *ctx, void *mem)
{
	ctx->free(ctx, mem);
}

void nmctx_lock(struct nmctx *ctx)
{
	if (ctx->lock)
		ctx->lock(ctx, 1);
}

void nmctx_unlock(struct nmctx *ctx)
{
	if (ctx->lock)
		ctx->lock(ctx, 0);
}
