/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Preloaded into netmapd-nic: a kernel that binds a socket which asked for zero copy, and copies after all. So the socket is
 * bound, in a mode that nobody wants.
 */
#include <linux/if_xdp.h>
#include <stdint.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

int bind(int fd, const struct sockaddr *addr, socklen_t len)
{
	struct sockaddr_xdp xdp;

	if (addr->sa_family != AF_XDP || len != sizeof(xdp))
		return (int)syscall(SYS_bind, fd, addr, len);
	memcpy(&xdp, addr, sizeof(xdp));
	if (xdp.sxdp_flags & XDP_ZEROCOPY)
		xdp.sxdp_flags = (uint16_t)((xdp.sxdp_flags & ~XDP_ZEROCOPY) | XDP_COPY);
	return (int)syscall(SYS_bind, fd, &xdp, sizeof(xdp));
}
