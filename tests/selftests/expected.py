# SPDX-License-Identifier: BSD-2-Clause
"""What of the kernel's tests of network drivers a passed-through port is not expected to pass, and why.

LEFT_OUT: programs that are not run, on any kernel, or ("6.12 " in front) on that one. SKIPPED: cases that say of themselves that
the device can't do what they test (skip, xfail). FAILS: cases that take for granted what the device hasn't. A pattern of names stands
for all that match it. What is in none has to pass; what is here and passes after all is to be taken out. docs/testing.md says how far
this goes.
"""

_PHYSICAL = "of a physical port: "
_NO_DEVICE = "not a test of a port's driver: "

LEFT_OUT = {
    "6.12 drivers/net/hw:csum.py": "fails on any device: it reads env.remote_ifname, which that kernel's lib/py/env.py doesn't set",
    "6.12 drivers/net/hw:rss_ctx.py": "not judged yet: it wants 20,000 packets in 5 s, much for a busy emulated guest",
    # drivers/net
    "drivers/net:macsec.py": "MACsec by the device: no",
    "drivers/net:psp.py": "PSP by the device: no; its program is not built (setup/selftests)",
    "drivers/net:netpoll_basic.py": "wants bpftrace, which would bring a compiler into the guest; netconsole: test_ptnet_card.py",
    "drivers/net:netcons_basic.sh": _NO_DEVICE + "it makes netdevsim devices; netconsole: test_ptnet_card.py",
    "drivers/net:hds.py": "headers apart from data, for memory of devices: no",
    "drivers/net:shaper.py": "shapers in the device: no",
    "drivers/net:so_txtime.py": "decides by times of milliseconds, which emulation doesn't keep",
    # drivers/net/hw
    "drivers/net/hw:devlink_port_split.py": _PHYSICAL + "devlink",
    "drivers/net/hw:devlink_rate_cross_esw.py": _PHYSICAL + "devlink rates of virtual functions",
    "drivers/net/hw:devlink_rate_tc_bw.py": _PHYSICAL + "devlink rates of virtual functions",
    "drivers/net/hw:devmem.py": "receive into memory of devices: no",
    "drivers/net/hw:nk_devmem.py": "receive into memory of devices: no",
    "drivers/net/hw:userns_devmem.py": "receive into memory of devices: no",
    "drivers/net/hw:iou-zcrx.py": "receive into memory of applications by io_uring: no",
    "drivers/net/hw:nk_qlease.py": "queues lent to netkit: no",
    "drivers/net/hw:nk_netns.py": _NO_DEVICE + "netkit and a program of BPF on any interface",
    "drivers/net/hw:ethtool.sh": _PHYSICAL + "two of them, wired to each other, whose speeds are negotiated",
    "drivers/net/hw:ethtool_extended_state.sh": _PHYSICAL + "why there is no link",
    "drivers/net/hw:ethtool_mm.sh": _PHYSICAL + "MAC merge layer",
    "drivers/net/hw:ethtool_rmon.sh": _PHYSICAL + "RMON counters",
    "drivers/net/hw:ethtool_std_stats.sh": _PHYSICAL + "MAC and pause counters",
    "drivers/net/hw:hw_stats_l3.sh": "routes in the device: no",
    "drivers/net/hw:hw_stats_l3_gre.sh": "routes in the device: no",
    "drivers/net/hw:ipsec_vxlan.py": "IPsec by the device: no",
    "drivers/net/hw:loopback.sh": _PHYSICAL + "two of them, with a loopback in the device",
    "drivers/net/hw:nic_timestamp.py": "time stamps by the device: no",
    "drivers/net/hw:pp_alloc_fail.py": "wants a kernel with fault injection; Debian's has none",
    "drivers/net/hw:toeplitz.py": "its program is not built (setup/selftests); the hash: test_ptnet_card.py",
}

SKIPPED = {
    "drivers/net:gro.py": {
        "test.hw_*": "packets are put together by the stack, not by the device",
        "test.lro_*": "packets are put together by the stack, not by the device",
    },
    "drivers/net:ring_reconfig.py": {
        "reconfig_tx_stall": "it can't fill the queue: the host takes packets while the guest doesn't poll",
    },
    "drivers/net:stats.py": {
        "check_pause": _PHYSICAL + "pause frames",
        "check_fec*": _PHYSICAL + "forward error correction",
    },
}

FAILS = {
}
