/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A signal is an asynchronous poll of a descriptor that is always ready, with the eventfd as the
 * one to tell. Completions nobody reads fill the kernel's queue, so every REAP_EVERY signals they
 * are taken out; when the kernel is out of requests all the same, the signal is written directly
 * rather than lost.
 */
#include "notify.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/aio_abi.h>
#include <poll.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

enum {
	REQUESTS = 256, /* completed ones that the kernel keeps for us */
	REAP_EVERY = 64,
	TRIES = 100,
};

static struct {
	aio_context_t aio; /* 0: none */
	int ready;         /* an eventfd that can always be read */
	unsigned int signals;
} notify = {.ready = -1};

int notify_init(void)
{
	int error;

	if (syscall(SYS_io_setup, REQUESTS, &notify.aio) < 0) {
		notify.aio = 0;
		return -errno;
	}
	notify.ready = eventfd(1, EFD_CLOEXEC | EFD_NONBLOCK);
	if (notify.ready >= 0)
		return 0;
	error = -errno;
	notify_exit();
	return error;
}

void notify_exit(void)
{
	if (notify.aio)
		syscall(SYS_io_destroy, notify.aio);
	if (notify.ready >= 0)
		close(notify.ready);
	notify.aio = 0;
	notify.ready = -1;
}

/* Makes room for the next completions; what they say is of no interest. */
static void reap(void)
{
	const struct timespec at_once = {0};
	struct io_event done[REAP_EVERY];

	while (syscall(SYS_io_getevents, notify.aio, 0, REAP_EVERY, done, &at_once) == REAP_EVERY)
		;
}

static bool submit(int fd)
{
	struct iocb request = {
		.aio_lio_opcode = IOCB_CMD_POLL,
		.aio_fildes = (uint32_t)notify.ready,
		.aio_buf = POLLIN,
		.aio_flags = IOCB_FLAG_RESFD,
		.aio_resfd = (uint32_t)fd,
	};
	struct iocb *list[1] = {&request};

	return syscall(SYS_io_submit, notify.aio, 1, list) == 1 || errno != EAGAIN;
}

bool notify_usable(int fd)
{
	static const char want[] = "anon_inode:[eventfd]";
	char path[32], is[sizeof(want)];
	ssize_t len;
	int flags;

	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	len = readlink(path, is, sizeof(is));
	if (len != (ssize_t)strlen(want) || memcmp(is, want, strlen(want)) != 0)
		return false;
	flags = fcntl(fd, F_GETFL);
	return flags >= 0 && (flags & O_ACCMODE) == O_RDWR &&
	       fcntl(fd, F_SETFL, flags | O_NONBLOCK) == 0;
}

/* A full counter is signalled already. */
static void signal_directly(int fd)
{
	const uint64_t one = 1;

	if (write(fd, &one, sizeof(one)) < 0)
		return;
}

void notify_eventfd(int fd)
{
	if (!notify.aio) {
		signal_directly(fd);
		return;
	}
	if (__atomic_add_fetch(&notify.signals, 1, __ATOMIC_RELAXED) % REAP_EVERY == 0)
		reap();
	for (int i = 0; i < TRIES; i++) {
		if (submit(fd))
			return;
		reap();
	}
	signal_directly(
		fd); /* the kernel has no memory for a request, but no signal may get lost */
}
