/* SPDX-License-Identifier: BSD-2-Clause */
#include "seq.h"

#include <string.h>

static uint64_t *word_of(struct seq *s, uint64_t n)
{
	return &s->seen[n % SEQ_WINDOW / 64];
}

static uint64_t bit_of(uint64_t n)
{
	return 1ULL << (n % 64);
}

/* Numbers from..to - 1 come into the window and have not been seen. */
static void forget(struct seq *s, uint64_t from, uint64_t to)
{
	if (to - from >= SEQ_WINDOW) {
		memset(s->seen, 0, sizeof(s->seen));
		return;
	}
	for (; from < to; from++)
		*word_of(s, from) &= ~bit_of(from);
}

/* A number below next. */
static void add_late(struct seq *s, uint64_t n)
{
	if (s->next - n > SEQ_WINDOW) {
		s->reordered++;
		return;
	}
	if (*word_of(s, n) & bit_of(n)) {
		s->duplicate++;
		return;
	}
	*word_of(s, n) |= bit_of(n);
	s->reordered++;
	/* What came before the first was never counted as lost. */
	if (n > s->first)
		s->lost--;
}

void seq_add(struct seq *s, uint64_t number)
{
	s->received++;
	if (!s->started) {
		s->started = true;
		s->first = s->next = number;
	}
	if (number < s->next) {
		add_late(s, number);
		return;
	}
	s->lost += number - s->next;
	forget(s, s->next, number + 1);
	*word_of(s, number) |= bit_of(number);
	s->next = number + 1;
}
