/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * fuzz.h - what all fuzz targets share: taking an input apart, and what must hold after each.
 *
 * A target is one file, fuzz_NAME.c, with fuzz_one(). libFuzzer brings main(), makes inputs, and keeps
 * those that reach new code. An input is a program: its bytes say what is done next, and with what; when it
 * has ended all its bytes are 0.
 *
 *      void fuzz_one(struct fuzz_in *in)
 *      {
 *              while (fuzz_more(in))
 *                      switch (fuzz_below(in, 3)) { … }
 *              … everything goes …
 *      }
 *
 * After each input as many descriptors are open as before it; memory that is lost is found by
 * LeakSanitizer. Random numbers and the coarse clock begin anew with each input, so that one does the
 * same every time.
 *
 * Thread safety: the main thread's; fuzz_check() any.
 */
#ifndef TESTS_FUZZ_FUZZ_H
#define TESTS_FUZZ_FUZZ_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* For functions of threads beside the main one: what they do doesn't count as reached. */
#define FUZZ_NOT_COVERED __attribute__((no_sanitize("coverage")))

/* What is left of an input. */
struct fuzz_in {
	const uint8_t *at;
	size_t left; /* bytes */
};

/* ---- the target's ---------------------------------------------------------------------------- */

/* Runs one input. */
void fuzz_one(struct fuzz_in *in);
/* Before the first input. */
void fuzz_begin(void);

/* ---- taking an input apart ------------------------------------------------------------------- */

static inline bool fuzz_more(const struct fuzz_in *in)
{
	return in->left > 0;
}

/* Up to `bytes` of it into dst; what is missing is 0. */
void fuzz_bytes(struct fuzz_in *in, void *dst, size_t bytes);
uint8_t fuzz_u8(struct fuzz_in *in);
uint16_t fuzz_u16(struct fuzz_in *in);
uint32_t fuzz_u32(struct fuzz_in *in);
uint64_t fuzz_u64(struct fuzz_in *in);
/* 0 to limit - 1; 0 for 0. */
uint32_t fuzz_below(struct fuzz_in *in, uint32_t limit);
/* Mostly what programs forget: small, near `about` or a power of two; or any. */
uint64_t fuzz_edge(struct fuzz_in *in, uint64_t about);
/* Text of any bytes but 0, with its final 0 within `size`. */
void fuzz_text(struct fuzz_in *in, char *dst, size_t size);

/* ---- what must hold --------------------------------------------------------------------------- */

/* Ends the program, with a line that says what was seen. */
#define fuzz_check(cond, ...)                                                \
	do {                                                                 \
		if (!(cond))                                                 \
			fuzz_failed(__FILE__, __LINE__, #cond, __VA_ARGS__); \
	} while (0)
void fuzz_failed(const char *file, int line, const char *cond, const char *fmt, ...)
	__attribute__((noreturn, format(printf, 4, 5)));

/* The result of a call, 0 or a negative errno, and its text: an error has one, of one printable line. */
void fuzz_check_error(int error, const char *text);

/* Descriptors that are open. */
int fuzz_fds(void);

#endif
