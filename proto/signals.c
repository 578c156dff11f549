/* SPDX-License-Identifier: BSD-2-Clause */
#include "signals.h"

sigset_t signals_block(const int *signals)
{
	sigset_t set;

	sigemptyset(&set);
	for (; *signals; signals++)
		sigaddset(&set, *signals);
	pthread_sigmask(SIG_BLOCK, &set, NULL);
	return set;
}
