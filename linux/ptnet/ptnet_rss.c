// SPDX-License-Identifier: BSD-2-Clause
/*
 * Receive-side scaling: which of its rings packets come to is chosen by the host, by their hash, with the key and the table
 * that ethtool -X sets here. Only while the stack has the rings: an application finds on ring N what others have sent on theirs.
 */
#include "ptnet.h"
#include "compat.h"

#include <linux/ethtool.h>

static bool has_rss(const struct ptnet *ptn)
{
	return ptn->features & PTNETMAP_F_RSS;
}

static void spread(struct nm_rss_config *config, uint32_t rings)
{
	for (uint32_t i = 0; i < NM_RSS_TABLE_LEN; i++)
		config->table[i] = (uint8_t)ethtool_rxfh_indir_default(i, rings);
}

void ptnet_rss_init(struct ptnet *ptn)
{
	netdev_rss_key_fill(ptn->rss.key, sizeof(ptn->rss.key));
	spread(&ptn->rss, ptn->num_rings[NM_RX]);
}

static void write_words(const struct ptnet *ptn)
{
	const __le32 *words = (const __le32 *)&ptn->rss;

	for (uint32_t i = 0; i < PTNET_RSS_WORDS; i++) {
		iowrite32(i, ptn->io + PTNET_IO_RSS_INDEX);
		iowrite32(le32_to_cpu(words[i]), ptn->io + PTNET_IO_RSS_DATA);
	}
}

static_assert(sizeof(struct nm_rss_config) == 4 * PTNET_RSS_WORDS, "key and table");

int ptnet_rss_on(struct ptnet *ptn)
{
	int error;

	lockdep_assert_held(&ptn->lock);
	if (!has_rss(ptn) || ptn->gone)
		return 0;
	write_words(ptn);
	error = ptnet_command(ptn, PTNETMAP_PTCTL_RSS_ON);
	if (error)
		pci_err(ptn->pdev,
			"the host does not take key and table of the receive hash: error %d\n",
			-error);
	return error;
}

void ptnet_rss_off(struct ptnet *ptn)
{
	lockdep_assert_held(&ptn->lock);
	if (has_rss(ptn) && !ptn->gone)
		ptnet_command(ptn, PTNETMAP_PTCTL_RSS_OFF);
}

/* ---- ethtool ------------------------------------------------------------------------------ */

uint32_t ptnet_rss_key_size(struct net_device *netdev)
{
	return has_rss(ptnet_of(netdev)) ? NM_RSS_KEY_LEN : 0;
}

uint32_t ptnet_rss_table_size(struct net_device *netdev)
{
	return has_rss(ptnet_of(netdev)) ? NM_RSS_TABLE_LEN : 0;
}

int ptnet_rss_get(struct net_device *netdev, struct ethtool_rxfh_param *rxfh)
{
	const struct ptnet *ptn = ptnet_of(netdev);

	if (!has_rss(ptn))
		return -EOPNOTSUPP;
	rxfh->hfunc = ETH_RSS_HASH_TOP;
	for (uint32_t i = 0; rxfh->indir && i < NM_RSS_TABLE_LEN; i++)
		rxfh->indir[i] = ptn->rss.table[i];
	if (rxfh->key)
		memcpy(rxfh->key, ptn->rss.key, sizeof(ptn->rss.key));
	return 0;
}

/* See rss.h: the host has no choice of them. */
int ptnet_rss_fields(struct net_device *netdev, uint32_t flow_type, uint32_t *fields)
{
	if (!has_rss(ptnet_of(netdev)))
		return -EOPNOTSUPP;
	switch (flow_type) {
	case TCP_V4_FLOW:
	case TCP_V6_FLOW:
	case UDP_V4_FLOW:
	case UDP_V6_FLOW:
		*fields = RXH_IP_SRC | RXH_IP_DST | RXH_L4_B_0_1 | RXH_L4_B_2_3;
		return 0;
	case SCTP_V4_FLOW:
	case SCTP_V6_FLOW:
	case AH_V4_FLOW:
	case AH_V6_FLOW:
	case ESP_V4_FLOW:
	case ESP_V6_FLOW:
	case AH_ESP_V4_FLOW:
	case AH_ESP_V6_FLOW:
	case IPV4_FLOW:
	case IPV6_FLOW:
		*fields = RXH_IP_SRC | RXH_IP_DST;
		return 0;
	default:
		return -EOPNOTSUPP;
	}
}

/* From now on; an application that has the rings meanwhile keeps them as they are. After an error all is as before. */
static int apply(struct ptnet *ptn, const struct nm_rss_config *config)
{
	struct nm_rss_config before;
	int error = 0;

	mutex_lock(&ptn->lock);
	before = ptn->rss;
	ptn->rss = *config;
	if (ptn->state == PTNET_STACK)
		error = ptnet_rss_on(ptn);
	if (error)
		ptn->rss = before;
	mutex_unlock(&ptn->lock);
	return error;
}

int ptnet_rss_set(
	struct net_device *netdev, struct ethtool_rxfh_param *rxfh, struct netlink_ext_ack *extack)
{
	struct ptnet *ptn = ptnet_of(netdev);
	struct nm_rss_config config = ptn->rss;

	if (!has_rss(ptn))
		return -EOPNOTSUPP;
	if (rxfh->hfunc != ETH_RSS_HASH_NO_CHANGE && rxfh->hfunc != ETH_RSS_HASH_TOP) {
		NL_SET_ERR_MSG_MOD(extack, "the hash is Toeplitz (toeplitz), no other");
		return -EOPNOTSUPP;
	}
	for (uint32_t i = 0; rxfh->indir && i < NM_RSS_TABLE_LEN; i++)
		config.table[i] = (uint8_t)rxfh->indir[i]; /* the caller has checked them */
	if (rxfh->key)
		memcpy(config.key, rxfh->key, sizeof(config.key));
	return apply(ptn, &config);
}

int ptnet_rss_set_rings(struct ptnet *ptn, uint32_t rings)
{
	struct nm_rss_config config = ptn->rss;

	if (netif_is_rxfh_configured(ptn->netdev))
		return 0; /* it leaves out those that go: the caller has checked that */
	spread(&config, rings);
	return apply(ptn, &config);
}
