/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * one_line.h - text that quotes others, for one line of a terminal.
 *
 * A control character becomes '?', so that nothing that a name holds begins a line or moves the cursor. Other bytes
 * stay, UTF-8 among them; for plain ASCII there is os_make_printable().
 *
 * Thread safety: pure functions on the caller's memory.
 */
#ifndef PROTO_ONE_LINE_H
#define PROTO_ONE_LINE_H

static inline char one_line_char(char c)
{
	return (unsigned char)c < ' ' || c == 0x7f ? '?' : c;
}

static inline void one_line(char *text)
{
	for (; *text; text++)
		*text = one_line_char(*text);
}

#endif
