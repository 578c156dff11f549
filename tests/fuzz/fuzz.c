/* SPDX-License-Identifier: BSD-2-Clause */
#include "fuzz.h"

#include <poll.h>
#include <stdarg.h>
#include <sys/resource.h>
#include <unistd.h>

enum { FDS_MAX = 1024, WAIT_MS = 5000 };

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
/* Called before any sanitizer is ready. */
#define EARLY __attribute__((disable_sanitizer_instrumentation, no_sanitize("coverage")))
EARLY const char *__asan_default_options(void);
EARLY const char *__ubsan_default_options(void);

const char *__asan_default_options(void)
{
	/* An allocation of any size may be asked for: it fails. */
	return "allocator_may_return_null=1:quarantine_size_mb=8";
}

const char *__ubsan_default_options(void)
{
	return "halt_on_error=1:print_stacktrace=1";
}

/* ---- taking an input apart ------------------------------------------------------------------- */

void fuzz_bytes(struct fuzz_in *in, void *dst, size_t bytes)
{
	size_t n = bytes < in->left ? bytes : in->left;

	if (n > 0)
		memcpy(dst, in->at, n);
	memset((char *)dst + n, 0, bytes - n);
	in->at += n;
	in->left -= n;
}

uint8_t fuzz_u8(struct fuzz_in *in)
{
	uint8_t value;

	fuzz_bytes(in, &value, sizeof(value));
	return value;
}

uint16_t fuzz_u16(struct fuzz_in *in)
{
	uint16_t value;

	fuzz_bytes(in, &value, sizeof(value));
	return value;
}

uint32_t fuzz_u32(struct fuzz_in *in)
{
	uint32_t value;

	fuzz_bytes(in, &value, sizeof(value));
	return value;
}

uint64_t fuzz_u64(struct fuzz_in *in)
{
	uint64_t value;

	fuzz_bytes(in, &value, sizeof(value));
	return value;
}

uint32_t fuzz_below(struct fuzz_in *in, uint32_t limit)
{
	if (limit <= 1)
		return 0;
	return (limit <= 256 ? fuzz_u8(in) : fuzz_u32(in)) % limit;
}

uint64_t fuzz_edge(struct fuzz_in *in, uint64_t about)
{
	uint8_t how = fuzz_u8(in);
	uint64_t near = (how & 3) - 1ULL;

	switch (how >> 6) {
	case 0:
		return how & 63;
	case 1:
		return (how & 32 ? about : 0) + near;
	case 2:
		return (1ULL << fuzz_below(in, 64)) + near;
	default:
		return how & 32 ? fuzz_u64(in) : how & 16 ? fuzz_u16(in) : fuzz_u8(in);
	}
}

void fuzz_text(struct fuzz_in *in, char *dst, size_t size)
{
	size_t length = fuzz_below(in, size < 256 ? (uint32_t)size : 256);

	fuzz_bytes(in, dst, length);
	dst[length] = '\0';
}

/* ---- what must hold --------------------------------------------------------------------------- */

void fuzz_failed(const char *file, int line, const char *cond, const char *fmt, ...)
{
	va_list ap;

	fprintf(stderr, "%s:%d: %s: ", file, line, cond);
	va_start(ap, fmt);
	vfprintf(stderr, fmt, ap);
	va_end(ap);
	fputc('\n', stderr);
	abort();
}

void fuzz_check_error(int error, const char *text)
{
	fuzz_check(error <= 0 && error > -4096, "%d", error);
	fuzz_check(!error || text[0], "error %d has no text", error);
	for (const char *c = text; error && *c; c++)
		fuzz_check(*c >= ' ' && *c <= '~', "character %d in \"%s\"", *c, text);
}

/* One call for all that could be open. */
int fuzz_fds(void)
{
	static struct pollfd fds[FDS_MAX];
	struct rlimit limit;
	nfds_t most;
	int open = 0;

	fuzz_check(getrlimit(RLIMIT_NOFILE, &limit) == 0, "no limit");
	most = limit.rlim_cur < FDS_MAX ? limit.rlim_cur : FDS_MAX;
	for (nfds_t i = 0; i < most; i++)
		fds[i] = (struct pollfd){.fd = (int)i};
	fuzz_check(poll(fds, most, 0) >= 0, "poll");
	for (nfds_t i = 0; i < most; i++)
		open += !(fds[i].revents & POLLNVAL);
	return open;
}

/* Threads of what is tested may close some a little later. */
static void check_fds(int expected)
{
	for (int ms = 0; ms < WAIT_MS && fuzz_fds() != expected; ms++)
		usleep(1000);
	fuzz_check(fuzz_fds() == expected, "%d descriptors were open, %d are left", expected,
		fuzz_fds());
}

/* ---- one input ------------------------------------------------------------------------------- */

/* fuzz_core.c, where the core is linked. */
void __attribute__((weak)) fuzz_core_reset(void);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct fuzz_in in = {data, size};
	static bool begun;
	int open;

	if (fuzz_core_reset)
		fuzz_core_reset();
	if (!begun)
		fuzz_begin();
	begun = true;
	open = fuzz_fds();
	fuzz_one(&in);
	check_fds(open);
	return 0;
}
