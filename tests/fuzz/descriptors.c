/* SPDX-License-Identifier: BSD-2-Clause */
#include "descriptors.h"

#include <fcntl.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/timerfd.h>
#include <unistd.h>

static int make_memfd(uint8_t how)
{
	int fd = memfd_create("fuzz", MFD_CLOEXEC | MFD_ALLOW_SEALING);

	fuzz_check(fd >= 0 && ftruncate(fd, (off_t)4096 << (how % 10)) == 0, "no memfd");
	if (how & 16)
		(void)fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | (how & 32 ? F_SEAL_GROW : 0));
	if (how & 64)
		(void)fcntl(fd, F_ADD_SEALS, F_SEAL_WRITE);
	return fd;
}

int fuzz_make_fd(struct fuzz_in *in)
{
	uint8_t how = fuzz_u8(in);

	switch (fuzz_below(in, 8)) {
	case 0:
		return eventfd(0, EFD_CLOEXEC | (how & 1 ? EFD_NONBLOCK : 0));
	case 1:
		return open(how & 1 ? "/" : "/dev/null", O_RDONLY | O_CLOEXEC);
	case 2:
		return epoll_create1(EPOLL_CLOEXEC);
	case 3:
		return timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC);
	case 4:
		return socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	default:
		return make_memfd(how);
	}
}

void fuzz_attach_fds(struct msghdr *msg, void *control, const int *fds, uint32_t count)
{
	struct cmsghdr *cmsg;

	if (count == 0)
		return;
	msg->msg_control = control;
	msg->msg_controllen = CMSG_SPACE(count * sizeof(int));
	cmsg = CMSG_FIRSTHDR(msg);
	cmsg->cmsg_level = SOL_SOCKET;
	cmsg->cmsg_type = SCM_RIGHTS;
	cmsg->cmsg_len = CMSG_LEN(count * sizeof(int));
	memcpy(CMSG_DATA(cmsg), fds, count * sizeof(int));
}
