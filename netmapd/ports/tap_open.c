/* SPDX-License-Identifier: BSD-2-Clause */
#include "tap_open.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/if_tun.h>
#include <string.h>
#include <sys/ioctl.h>

int tap_open(char ifname[IFNAMSIZ], bool several, int *fd)
{
	int hdr = TAP_HDR_MIN;
	struct ifreq ifr = {0};

	*fd = open("/dev/net/tun", O_RDWR | O_NONBLOCK | O_CLOEXEC);
	if (*fd < 0)
		return -errno;
	memcpy(ifr.ifr_name, ifname, IFNAMSIZ);
	ifr.ifr_flags = IFF_TAP | IFF_NO_PI | IFF_VNET_HDR;
	if (several)
		ifr.ifr_flags |= IFF_MULTI_QUEUE;
	if (ioctl(*fd, TUNSETIFF, &ifr) < 0 || ioctl(*fd, TUNSETVNETHDRSZ, &hdr) < 0 ||
		ioctl(*fd, TUNSETOFFLOAD, 0) < 0)
		return -errno;
	memcpy(ifname, ifr.ifr_name, IFNAMSIZ);
	return 0;
}
