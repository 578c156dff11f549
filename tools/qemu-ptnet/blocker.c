/* SPDX-License-Identifier: BSD-2-Clause */
#include "blocker.h"

#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

enum {
	FDSET = 0x6e6d, /* a number that users of -add-fd don't take */
	IMAGE_BYTES = 4096,
	CLUSTER_BITS = 12,
	L2_BITS = 9,
};

/* The head of an image of version 1 of the format qcow: big endian. What is not here is 0. */
static void make_image(uint8_t image[IMAGE_BYTES])
{
	memset(image, 0, IMAGE_BYTES);
	/* NOLINTNEXTLINE(bugprone-not-null-terminated-result): four bytes, no text */
	memcpy(image, "QFI\xfb", 4);
	image[7] = 1;  /* version */
	image[30] = 2; /* size: 64 bits at 24: 512 bytes */
	image[32] = CLUSTER_BITS;
	image[33] = L2_BITS;
	image[47] = 48; /* where its table begins: 64 bits at 40 */
}

/* Read-only: QEMU takes a descriptor of a set only for what it is open for. */
static int reopen(int fd)
{
	char path[32];

	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	return open(path, O_RDONLY);
}

int blocker_open(char err[TEXT_ERR])
{
	uint8_t image[IMAGE_BYTES];
	int fd = memfd_create("no-migration", MFD_CLOEXEC), result = -1, error;

	make_image(image);
	if (fd >= 0 && write(fd, image, sizeof(image)) == sizeof(image))
		result = reopen(fd);
	error = errno;
	if (fd >= 0)
		close(fd);
	return result >= 0 ? result
			   : text_fail(-error, err, "no image to forbid migration with: %s",
				     strerror(error));
}

int blocker_write(const char *dir, char err[TEXT_ERR])
{
	uint8_t image[IMAGE_BYTES];
	char *path = text_format("%s/" BLOCKER_FILE, dir);
	int fd, ret = 0;

	unlink(path);
	make_image(image);
	fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644);
	if (fd < 0 || write(fd, image, sizeof(image)) != sizeof(image))
		ret = text_fail(-errno, err, "can't write %s: %s", path, strerror(errno));
	if (fd >= 0)
		close(fd);
	free(path);
	return ret;
}

void blocker_node(const char *path, struct text_argv *out)
{
	char *quoted = text_json(path);

	text_argv_add(out, "-blockdev");
	text_argv_take(out,
		text_format(
			"{\"driver\":\"qcow\",\"node-name\":\"passed-through-ptnet-port\",\"read-only\":true,"
			"\"file\":{\"driver\":\"file\",\"filename\":%s,\"read-only\":true,"
			"\"locking\":\"off\"}}",
			quoted));
	free(quoted);
}

void blocker_args(int fd, struct text_argv *out)
{
	char path[32];

	text_argv_add(out, "-add-fd");
	text_argv_take(out, text_format("fd=%d,set=%d", fd, FDSET));
	snprintf(path, sizeof(path), "/dev/fdset/%d", FDSET);
	blocker_node(path, out);
}
