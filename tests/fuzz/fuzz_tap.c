/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * TAP devices: frames and virtio-net headers that come from the host's stack, and what the ports do with
 * them. The devices of the world (world.h) are netmapd's TAP ports; in the place of /dev/net/tun each of
 * their queues has one end of a socket pair, which keeps packets apart as a TAP does, and the target the other.
 */
#include "tap.h"
#include "world.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/if_tun.h>
#include <net/if.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

enum { STEPS = 48, QUEUES_MAX = 8, LONG_MAX_BYTES = 66000 };

static struct daemon d; /* as far as TAP ports know it */
static int stack[QUEUES_MAX], copies[QUEUES_MAX];
static uint32_t num_queues;
static uint8_t ioctl_answer, write_answer; /* not 0: they fail, in some way */
static uint32_t mtu;

/* ---- the system, wrapped --------------------------------------------------------------------------- */

int __real_open64(const char *path, int flags, ...);
int __real_ioctl(int fd, unsigned long request, ...);
ssize_t __real_writev(int fd, const struct iovec *iov, int count);
int __wrap_open64(const char *path, int flags, int mode);
int __wrap_ioctl(int fd, unsigned long request, void *arg);
ssize_t __wrap_writev(int fd, const struct iovec *iov, int count);

int __wrap_open64(const char *path, int flags, int mode)
{
	int pair[2];

	if (strcmp(path, "/dev/net/tun") != 0)
		return __real_open64(path, flags, mode);
	if (num_queues == QUEUES_MAX ||
		socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, pair) < 0) {
		errno = EMFILE;
		return -1;
	}
	/* Somebody else has the file open a little longer than netmapd, as whoever looks at /proc/PID/fd. */
	copies[num_queues] = dup(pair[0]);
	stack[num_queues++] = pair[1];
	return pair[0];
}

static int fails(uint8_t how)
{
	static const int errors[] = {EINVAL, EPERM, EBUSY, ENODEV, ENOMEM, EAGAIN, EIO, EBADFD};

	errno = errors[how % (sizeof(errors) / sizeof(errors[0]))];
	return -1;
}

int __wrap_ioctl(int fd, unsigned long request, void *arg)
{
	switch (request) {
	case TUNSETIFF:
	case TUNSETVNETHDRSZ:
	case TUNSETOFFLOAD:
	case TUNSETCARRIER:
		return ioctl_answer ? fails(ioctl_answer--) : 0;
	case SIOCGIFMTU:
		((struct ifreq *)arg)->ifr_mtu = (int)mtu;
		return ioctl_answer ? fails(ioctl_answer--) : 0;
	default:
		return __real_ioctl(fd, request, arg);
	}
}

ssize_t __wrap_writev(int fd, const struct iovec *iov, int count)
{
	return write_answer ? fails(write_answer--) : __real_writev(fd, iov, count);
}

/* ---- the stack --------------------------------------------------------------------------------------- */

static void look_for_events(void)
{
	for (int i = 0; i < 20 && loop_run_once(d.loop, 0) > 0; i++)
		;
}

/* What the ports have sent. */
static void take_packets(void)
{
	static uint8_t packet[LONG_MAX_BYTES];

	for (uint32_t i = 0; i < num_queues; i++)
		for (int n = 0; n < 64 && stack[i] >= 0; n++)
			if (read(stack[i], packet, sizeof(packet)) < 0)
				break;
}

/* In front of each packet is a virtio-net header, 10 bytes at least: so it is set up. */
static void receive(struct fuzz_in *in, const char *name)
{
	static uint8_t packet[LONG_MAX_BYTES];
	uint32_t queue = fuzz_below(in, num_queues), len;
	uint8_t how = fuzz_u8(in);

	ioctl_answer = how & 8 ? fuzz_below(in, 4) : 0;
	write_answer = how & 16 ? fuzz_u8(in) % 16 : 0;
	if (how & 32)
		mtu = (uint32_t)fuzz_edge(in, 1500) % 65536;
	if (num_queues > 0 && stack[queue] >= 0) {
		len = world_packet(in, packet, WORLD_PACKET_MAX, how & 1 ? 12 : 10);
		if ((how & 6) == 6)
			len = LONG_MAX_BYTES - fuzz_u16(in);
		for (int n = 0; n <= (how & 2); n++)
			(void)send(stack[queue], packet, len, MSG_NOSIGNAL | MSG_DONTWAIT);
		if ((how & 0xc0) == 0xc0) { /* the device goes */
			close(stack[queue]);
			stack[queue] = -1;
		}
	}
	look_for_events();
	take_packets();
}

static void remove_devices(void)
{
	static const char *const names[] = {"dev0", "dev1"};
	struct nm_error err;

	ioctl_answer = write_answer = 0;
	for (int i = 0; i < 2; i++) {
		nm_core_lock(world.core);
		(void)taps_delif(world.core, NULL, names[i], &err); /* -ENXIO: it has gone */
		nm_core_unlock(world.core);
	}
	fuzz_check(taps_count(&d) == 0, "%u TAP devices are left", taps_count(&d));
	for (uint32_t i = 0; i < num_queues; i++)
		if (stack[i] >= 0)
			close(stack[i]);
	look_for_events();
	for (uint32_t i = 0; i < num_queues; i++)
		close(copies[i]);
	num_queues = 0;
}

static int make_device(struct nm_core *core, void *ns, const char *name,
	const struct nm_shape *shape, uint16_t mem_id, struct nm_error *err)
{
	return taps_newif(core, ns, name, shape, mem_id, err);
}

/* ---- one input ---------------------------------------------------------------------------------------- */

void fuzz_begin(void)
{
	static struct nm_platform_ops ops;

	fuzz_check(loop_new(&d.loop) == 0 && taps_init(&d) == 0, "no loop");
	ops = fuzz_platform;
	ops.newif = make_device;
	ops.delif = taps_delif;
	world.core = &d.core;
	world.platform = &ops;
	world.platform_arg = &d;
	world.receive = receive;
	world.remove = remove_devices;
}

void fuzz_one(struct fuzz_in *in)
{
	mtu = 1500;
	ioctl_answer = write_answer = 0;
	world_begin(in);
	for (int i = 0; i < STEPS && fuzz_more(in); i++)
		world_step(in);
	world_end();
}
