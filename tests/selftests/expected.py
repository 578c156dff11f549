# SPDX-License-Identifier: BSD-2-Clause
"""What of the kernel's tests of network drivers a passed-through port is not expected to pass, and why.

LEFT_OUT: programs that are not run, on any kernel, or ("6.12 " in front) on that one. SKIPPED: cases that say of themselves that
the device can't do what they test (skip, xfail). FAILS: cases that take for granted what the device hasn't. A pattern of names stands
for all that match it, and there has to be one. What is in none has to pass; what is here and passes after all fails the run, to be taken
out. docs/testing.md says how far this goes.
"""

_PHYSICAL = "of a physical port: "
_NO_DEVICE = "not a test of a port's driver: "

LEFT_OUT = {
    "6.12 drivers/net/hw:csum.py": "fails on any device: it reads env.remote_ifname, which that kernel's lib/py/env.py doesn't set",
    "6.12 drivers/net/hw:rss_ctx.py": "not judged yet: it wants 20,000 packets in 5 s, much for a busy emulated guest",
    # drivers/net
    "drivers/net:psp.py": "PSP by the device: no; its program is not built (setup/selftests)",
    "drivers/net:netpoll_basic.py": "wants bpftrace, which would bring a compiler into the guest; netconsole: test_ptnet_card.py",
    "drivers/net:netcons_basic.sh": _NO_DEVICE + "it makes netdevsim devices; netconsole: test_ptnet_card.py",
    "drivers/net:so_txtime.py": "not judged yet: decides by milliseconds",
    # drivers/net/hw
    "drivers/net/hw:devlink_port_split.py": _PHYSICAL + "devlink",
    "drivers/net/hw:devlink_rate_cross_esw.py": _PHYSICAL + "devlink rates of virtual functions",
    "drivers/net/hw:devlink_rate_tc_bw.py": _PHYSICAL + "devlink rates of virtual functions",
    "drivers/net/hw:devmem.py": "receive into memory of devices: no",
    "drivers/net/hw:nk_devmem.py": "receive into memory of devices: no",
    "drivers/net/hw:userns_devmem.py": "receive into memory of devices: no",
    "drivers/net/hw:nk_qlease.py": "queues lent to netkit: no",
    "drivers/net/hw:nk_netns.py": _NO_DEVICE + "netkit and a program of BPF on any interface",
    "drivers/net/hw:ethtool.sh": _PHYSICAL + "two of them, wired to each other, whose speeds are negotiated",
    "drivers/net/hw:ethtool_extended_state.sh": _PHYSICAL + "why there is no link",
    "drivers/net/hw:ethtool_mm.sh": _PHYSICAL + "MAC merge layer",
    "drivers/net/hw:ethtool_rmon.sh": _PHYSICAL + "RMON counters",
    "drivers/net/hw:ethtool_std_stats.sh": _PHYSICAL + "MAC and pause counters",
    "drivers/net/hw:hw_stats_l3.sh": "routes in the device: no",
    "drivers/net/hw:hw_stats_l3_gre.sh": "routes in the device: no",
    "drivers/net/hw:loopback.sh": _PHYSICAL + "two of them, with a loopback in the device",
    "drivers/net/hw:pp_alloc_fail.py": "wants a kernel with fault injection; Debian's has none",
    "drivers/net/hw:toeplitz.py": "reads the hash of packets, for which a slot has no place; its program is not built (setup/selftests)",
}

_NO_CONTEXTS = "one table and one key: no RSS contexts"
_NO_FIELDS = "what the hash is of can't be chosen"
_NO_FILTERS = "filters that name a queue: no"
_NO_GRO = "packets are put together by the stack, not by the device"
_NO_MACSEC = "MACsec by the device: no"
_TUNNELS = "the stack cuts what is in tunnels into segments"

SKIPPED = {
    "drivers/net:hds.py": {"*": "headers apart from data, for memory of devices: no"},
    "drivers/net:macsec.py": {
        "test_offload_*": _NO_MACSEC,
        "test_max_*": _NO_DEVICE + "of netdevsim's limits",
        "test_vlan.offloaded": _NO_MACSEC,
        "test_vlan_toggle.*": _NO_MACSEC,
    },
    "drivers/net:shaper.py": {"*": "shapers in the device: no"},
    "drivers/net/hw:iou-zcrx.py": {"*": "receive into memory of applications by io_uring: no"},
    "drivers/net/hw:ipsec_vxlan.py": {"*": "IPsec by the device: no"},
    "drivers/net/hw:nic_timestamp.py": {"*": "time stamps by the device: no"},
    "drivers/net/hw:xdp_metadata.py": {"*": "a slot has no place for the hash"},
    "drivers/net:gro.py": {
        "test.hw_*": _NO_GRO,
        "test.lro_*": _NO_GRO,
        "test_gro_capacity.hw_*": _NO_GRO,
        "test_gro_capacity.lro_*": _NO_GRO,
        "test_gro_capacity.sw_isolated": _NO_FILTERS,
        "test_gro_capacity.sw_8q": "the test's port has fewer than eight rings",
    },
    "drivers/net:ring_reconfig.py": {
        "reconfig_tx_stall": "it can't fill the queue: the host takes packets while the guest doesn't poll",
    },
    "drivers/net:stats.py": {
        "check_pause": _PHYSICAL + "pause frames",
        "check_fec*": _PHYSICAL + "forward error correction",
    },
    "drivers/net:ping.py": {
        "test_xdp_offload": "programs are run by the driver, not by the device",
    },
    "drivers/net/hw:gro_hw.py": {"test_gro_*": _NO_GRO},
    "drivers/net/hw:ntuple.py": {"queue.*": _NO_FILTERS},
    "drivers/net/hw:rss_ctx.py": {
        "test_rss_context*": f"{_NO_CONTEXTS}; {_NO_FILTERS}",
        "test_flow_add_context_missing": _NO_FILTERS,
        "test_delete_rss_context_busy": _NO_FILTERS,
        "test_rss_ntuple_addition": _NO_FILTERS,
        "test_rss_default_context_rule": _NO_FILTERS,
    },
    "drivers/net/hw:rss_drv.py": {
        "indir_size_4x.ctx": _NO_CONTEXTS,
        "resize_*": "the table always has 128 entries",
    },
    "drivers/net/hw:rss_flow_label.py": {"test_rss_flow_label": _NO_FIELDS},
    "drivers/net/hw:rss_input_xfrm.py": {"test_rss_input_xfrm_*": "a hash that is the same both ways: no"},
    "drivers/net/hw:tso.py": {"*[46]_ipv[46]": _TUNNELS},
    "drivers/net/hw:xsk_reconfig.py": {"check_*": "AF_XDP without a copy: no"},
}

FAILS = {
    "drivers/net/hw:rss_api.py": {
        "test_rxfh_nl_set_indir_ctx": _NO_CONTEXTS,
        "test_rxfh_indir_ctx_ntf": _NO_CONTEXTS,
        "test_rss_ctx_add": _NO_CONTEXTS,
        "test_rss_ctx_ntf": _NO_CONTEXTS,
        "test_rxfh_fields_set": _NO_FIELDS,
        "test_rxfh_fields_set_xfrm": _NO_FIELDS,
        "test_rxfh_fields_ntf": _NO_FIELDS,
    },
    "drivers/net/hw:uso.py": {
        "test_uso.*": "all comes; but it counts packets of a wire, and what no receiver needs cut is one packet",
    },
    "drivers/net/hw:rss_flow_label.py": {
        "test_rss_flow_label_6only": "it wants another error; and Debian's ethtool knows no flow labels",
    },
}
