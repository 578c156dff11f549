/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * guestprog.h - what the programs share that check /dev/netmap from inside a guest.
 *
 *	PROGRAM CHECK [ARGUMENT...]
 *
 * A program prints "ok" and exits with 0 when the check held; else one line that says what did not,
 * and 1. It is compiled from its one file and this header (netlab.build_program), and speaks
 * the ioctl interface without a library.
 *
 * Thread safety: all may be called by any thread; fail() ends the process.
 */
#ifndef TESTS_GUEST_GUESTPROG_H
#define TESTS_GUEST_GUESTPROG_H

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>
#include <net/netmap_user.h>

static inline void __attribute__((format(printf, 1, 2), noreturn)) fail(const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vprintf(fmt, ap);
	va_end(ap);
	printf("\n");
	fflush(stdout);
	_exit(1);
}

#define CHECK(cond)                                                                \
	do {                                                                       \
		if (!(cond))                                                       \
			fail("line %d: %s (errno %d, %s)", __LINE__, #cond, errno, \
				strerror(errno));                                  \
	} while (0)

/* `call` fails with `error`. */
#define CHECK_ERRNO(call, error)                                                              \
	do {                                                                                  \
		errno = 0;                                                                    \
		if ((call) != -1 || errno != (error))                                         \
			fail("line %d: %s: errno %d, not %d", __LINE__, #call, errno, error); \
	} while (0)

/* A port at an address, which may be one of IPv4: that is one of IPv6, too. */
static inline struct sockaddr_in6 address_of(const char *text, uint16_t port)
{
	struct sockaddr_in6 to = {.sin6_family = AF_INET6, .sin6_port = htons(port)};
	char mapped[64];

	snprintf(mapped, sizeof(mapped), "%s%s", strchr(text, ':') ? "" : "::ffff:", text);
	CHECK(inet_pton(AF_INET6, mapped, &to.sin6_addr) == 1);
	return to;
}

/* What a socket waits for comes in that time, or fails with EAGAIN. */
static inline void set_patience(int fd, int seconds)
{
	const struct timeval patience = {.tv_sec = seconds};

	CHECK(setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience)) == 0);
}

static inline void say(const char *text)
{
	printf("%s\n", text);
	fflush(stdout);
}

/* ---- checks by name ---------------------------------------------------------------------- */

struct check {
	const char *name;
	void (*fn)(char **args);
	int args; /* at least */
};

/* Runs the one of `count` that the command line names, and says "ok". Returns main's result: 0, or
 * 2 with `usage` on stderr when there is no such check, or its arguments are too few. */
static inline int run_check(
	const struct check *checks, size_t count, int argc, char **argv, const char *usage)
{
	for (size_t i = 0; argc > 1 && i < count; i++) {
		if (strcmp(argv[1], checks[i].name) == 0 && argc - 2 >= checks[i].args) {
			checks[i].fn(argv + 2);
			say("ok");
			return 0;
		}
	}
	fprintf(stderr, "%s\n", usage);
	return 2;
}

/* ---- ports ------------------------------------------------------------------------------ */

static inline int open_dev(void)
{
	int fd = open("/dev/netmap", O_RDWR | O_CLOEXEC);

	if (fd < 0)
		fail("/dev/netmap can't be opened: %s", strerror(errno));
	return fd;
}

/* NIOCCTRL; body and options may be NULL. As ioctl(). */
static inline int request(int fd, uint16_t type, const char *name, void *body, void *options)
{
	struct nmreq_header hdr = {.nr_version = NETMAP_API, .nr_reqtype = type};

	snprintf(hdr.nr_name, sizeof(hdr.nr_name), "%s", name);
	hdr.nr_body = (uintptr_t)body;
	hdr.nr_options = (uintptr_t)options;
	return ioctl(fd, NIOCCTRL, &hdr);
}

/* Registers the port as `reg` says, which is filled in. */
static inline void register_port(
	int fd, const char *name, struct nmreq_register *reg, void *options)
{
	if (request(fd, NETMAP_REQ_REGISTER, name, reg, options) != 0)
		fail("%s: can't be registered: %s", name, strerror(errno));
}

/* The region of a registered port, all of it. */
static inline char *map_region(int fd, uint64_t bytes)
{
	char *mem = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);

	if (mem == MAP_FAILED)
		fail("a region of %llu bytes can't be mapped: %s", (unsigned long long)bytes,
			strerror(errno));
	return mem;
}

/* ---- packets ---------------------------------------------------------------------------- */

/* A numbered broadcast packet. */
static inline void fill_packet(char *buf, uint32_t number, uint32_t bytes)
{
	memset(buf, 0xff, 6);
	memset(buf + 6, 0x02, 6);
	memset(buf + 12, (int)number, bytes - 12);
	memcpy(buf + 14, &number, sizeof(number));
}

#endif
