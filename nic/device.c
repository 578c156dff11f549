/* SPDX-License-Identifier: BSD-2-Clause */
#include "device.h"

#include <linux/ethtool.h>
#include <linux/sockios.h>
#include <net/if.h>
#include <net/if_arp.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

enum { FEATURES_MAX = 256 };

/* ioctl() with a structure of this name; -errno. */
static int ask(const char *ifname, unsigned long request, struct ifreq *ifr)
{
	int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0), error = 0;

	if (fd < 0)
		return -errno;
	strncpy(ifr->ifr_name, ifname, IFNAMSIZ - 1);
	if (ioctl(fd, request, ifr) < 0)
		error = -errno;
	close(fd);
	return error;
}

static int ethtool(const char *ifname, void *command)
{
	struct ifreq ifr = {.ifr_data = command};

	return ask(ifname, SIOCETHTOOL, &ifr);
}

/* ---- facts ------------------------------------------------------------------------------ */

/* Drivers whose packets never were on a wire, so that nobody may have finished their checksums. */
static bool is_unfinished(const char *driver)
{
	static const char *const drivers[] = {
		"veth", "virtio_net", "tun", "vmxnet3", "xen_netfront", "hv_netvsc"};

	for (size_t i = 0; i < sizeof(drivers) / sizeof(drivers[0]); i++)
		if (strcmp(driver, drivers[i]) == 0)
			return true;
	return false;
}

static uint32_t at_most(uint64_t n)
{
	return n < NIC_QUEUES_MAX ? (uint32_t)n : NIC_QUEUES_MAX;
}

static void add_queues(struct nic_facts *f)
{
	struct ethtool_channels ch = {.cmd = ETHTOOL_GCHANNELS};

	f->queues = f->tx_queues = 1; /* of drivers that have no choice */
	if (ethtool(f->ifname, &ch) != 0)
		return;
	f->queues = at_most((uint64_t)ch.combined_count + ch.rx_count);
	f->tx_queues = at_most((uint64_t)ch.combined_count + ch.tx_count);
	f->queues_max = at_most((uint64_t)ch.max_combined + ch.max_rx);
	if (f->queues == 0 || f->tx_queues == 0) /* as a TAP that is down */
		f->queues = f->tx_queues = 1;
}

static void add_rings(struct nic_facts *f)
{
	struct ethtool_ringparam ring = {.cmd = ETHTOOL_GRINGPARAM};

	f->hw_rx = f->hw_tx = f->hw_rx_max = f->hw_tx_max = 0;
	if (ethtool(f->ifname, &ring) != 0)
		return;
	f->hw_rx = ring.rx_pending;
	f->hw_tx = ring.tx_pending;
	f->hw_rx_max = ring.rx_max_pending;
	f->hw_tx_max = ring.tx_max_pending;
}

int device_facts(struct nic_facts *f, struct nm_error *err)
{
	struct ethtool_drvinfo driver = {.cmd = ETHTOOL_GDRVINFO};
	struct ifreq flags = {0}, mtu = {0}, mac = {0};
	uint32_t ifindex = if_nametoindex(f->ifname);

	if (!ifindex || ask(f->ifname, SIOCGIFFLAGS, &flags) != 0 ||
		ask(f->ifname, SIOCGIFMTU, &mtu) != 0 || ask(f->ifname, SIOCGIFHWADDR, &mac) != 0)
		return nm_error_set(err, -ENODEV,
			"%s: there is no such network interface; ip link shows those that there are",
			f->ifname);
	if (mac.ifr_hwaddr.sa_family != ARPHRD_ETHER)
		return nm_error_set(err, -EOPNOTSUPP, "%s: not an Ethernet interface", f->ifname);
	/* It may have been found by another name. */
	if_indextoname(ifindex, f->ifname);
	f->ifindex = ifindex;
	f->up = !!(flags.ifr_flags & IFF_UP);
	f->carrier = !!(flags.ifr_flags & IFF_RUNNING);
	f->mtu = (uint32_t)mtu.ifr_mtu;
	memcpy(f->mac, mac.ifr_hwaddr.sa_data, sizeof(f->mac));
	memset(f->driver, 0, sizeof(f->driver));
	if (ethtool(f->ifname, &driver) == 0)
		memcpy(f->driver, driver.driver, sizeof(f->driver) - 1);
	f->unfinished = is_unfinished(f->driver);
	add_queues(f);
	add_rings(f);
	return 0;
}

/* ---- features --------------------------------------------------------------------------- */

/* The number of a feature and, in *count, how many there are; or a negative errno. */
static int find_feature(const char *ifname, const char *name, uint32_t *count)
{
	struct {
		struct ethtool_sset_info info;
		uint32_t n;
	} set = {.info = {.cmd = ETHTOOL_GSSET_INFO, .sset_mask = 1ULL << ETH_SS_FEATURES}};
	struct ethtool_gstrings *names;
	int error = ethtool(ifname, &set), at = -ENOENT;

	if (error)
		return error;
	if (!set.info.sset_mask || set.n > FEATURES_MAX)
		return -EOPNOTSUPP;
	names = calloc(1, sizeof(*names) + (size_t)FEATURES_MAX * ETH_GSTRING_LEN);
	if (!names)
		return -ENOMEM;
	*names = (struct ethtool_gstrings){
		.cmd = ETHTOOL_GSTRINGS, .string_set = ETH_SS_FEATURES, .len = set.n};
	error = ethtool(ifname, names);
	for (uint32_t i = 0; i < set.n && !error && at < 0; i++)
		if (strncmp((char *)names->data + (size_t)i * ETH_GSTRING_LEN, name,
			    ETH_GSTRING_LEN) == 0)
			at = (int)i;
	free(names);
	*count = set.n;
	return error ? error : at;
}

int device_feature(const char *ifname, const char *name, struct device_feature *out)
{
	struct {
		struct ethtool_gfeatures g;
		struct ethtool_get_features_block block[FEATURES_MAX / 32];
	} get = {.g = {.cmd = ETHTOOL_GFEATURES, .size = FEATURES_MAX / 32}};
	const struct ethtool_get_features_block *block;
	uint32_t count, bit;
	int at = find_feature(ifname, name, &count), error;

	*out = (struct device_feature){0};
	if (at < 0)
		return at == -ENOENT ? 0 : at;
	error = ethtool(ifname, &get);
	if (error)
		return error;
	block = &get.block[at / 32];
	bit = 1U << (at % 32);
	out->known = true;
	out->active = block->active & bit;
	out->requested = block->requested & bit;
	out->fixed = !(block->available & bit) || (block->never_changed & bit);
	return 0;
}

int device_feature_set(const char *ifname, const char *name, bool on)
{
	struct {
		struct ethtool_sfeatures s;
		struct ethtool_set_features_block block[FEATURES_MAX / 32];
	} set = {.s = {.cmd = ETHTOOL_SFEATURES}};
	uint32_t count = 0;
	int at = find_feature(ifname, name, &count);

	if (at < 0)
		return at;
	set.s.size = (count + 31) / 32;
	set.block[at / 32].valid = 1U << (at % 32);
	set.block[at / 32].requested = on ? 1U << (at % 32) : 0;
	return ethtool(ifname, &set);
}
