# SPDX-License-Identifier: BSD-2-Clause
# The commands of this project. User space is built by Meson in build/, the
# module by Kbuild, out of the source tree as well.

# Debian's own, also when PATH has another Python first.
MESON := /usr/bin/meson
KERNEL ?= 6.12

.DEFAULT_GOAL := help
.PHONY: help demo check test test-programs test-packages selftests nic-long life-long programs-long fuzz fuzz-merge fuzz-coverage bench bench-tcp build module install deb dist clean

help:
	@echo 'make demo       two virtual machines exchange packets through one VALE switch'
	@echo 'make test       all tests (make test PART=check|unit|fuzz|daemon|guest|programs|packages for some of them)'
	@echo 'make test-programs  tcpdump, Suricata, …: netmap programs of others, built here with our headers'
	@echo 'make test-packages  the packages, also made in a Debian 13 by its compiler (minutes, as root)'
	@echo "make selftests  the kernel's own tests of network drivers, on ptnet (KERNEL=6.12|newest; root)"
	@echo 'make check      compilers, static analysis, layout (make check TOOL=clang-tidy for one; the table'
	@echo '                in docs/testing.md has their names)'
	@echo 'make fuzz       look for inputs that do harm (make fuzz TARGET=ctl SECONDS=600: one target, so long)'
	@echo 'make soak       a netmapd for hours, with all who come and go (make soak HOURS=2)'
	@echo 'make soak-module  /dev/netmap under abuse, on a kernel with KASAN and lockdep (MINUTES=30)'
	@echo 'make nic-long   network interfaces as ports: 100,000 packets to the last byte, 100 rounds of each (PACKETS=, ROUNDS=)'
	@echo 'make life-long  the life of machines with passed-through ports: 50 rounds of each event (ROUNDS=)'
	@echo 'make programs-long  iperf3, ssh, NFS and ping between guests, with 256 MiB (PROGRAM_MIB=)'
	@echo 'make bench      measure: tables, build/*bench.json, plots (make bench SHORT=1: a quick look; ONLY="vale pipe")'
	@echo 'make bench-tcp  TCP between two guests, by ptnet and by virtio-net (root)'
	@echo 'make build      daemon, library, programs: into build/'
	@echo 'make module     netmap.ko, into build/module/ (KERNEL=6.1|6.12|newest: of a guest kernel here;'
	@echo '                KERNEL=/lib/modules/VERSION/build: of an installed kernel with its headers)'
	@echo 'make install    install all but the module (DESTDIR= and, at the first build, PREFIX=)'
	@echo 'make deb        Debian packages, into build/deb; make dist: a tarball of the last commit'
	@echo 'make clean      remove build/, build-asan/, build-check-*/ and build-fuzz*/'

build/build.ninja:
	@setup/prepare build
	@$(MESON) setup $(if $(PREFIX),--prefix=$(PREFIX)) build

build: build/build.ninja
	@ninja --quiet -C build

module:
ifeq ($(findstring /,$(KERNEL)),)
	@setup/prepare module $(KERNEL)
	@setup/module $(KERNEL) build/module/$(KERNEL)
else
	@setup/module $(KERNEL) build/module/installed
endif

demo:
	@setup/prepare demo 6.12 newest
	@$(MAKE) --no-print-directory build
	@demo/run

check:
	@setup/prepare check
	@tests/check/run $(TOOL)

test:
	@setup/prepare test
	@tests/run $(PART)

test-programs:
	@setup/prepare test
	@tests/run programs

test-packages:
	@setup/prepare test
	@tests/run packages -- --everything

selftests:
	@setup/prepare demo $(KERNEL)
	@$(MAKE) --no-print-directory build
	@/usr/bin/python3 -m pytest -q -p no:cacheprovider tests/selftests --kernel $(KERNEL)

# What fuzz has found becomes part of the corpus; which lines the corpus reaches.
fuzz:
	@setup/prepare fuzz
	@tests/fuzz/run $(if $(SECONDS),--seconds $(SECONDS)) $(TARGET)

fuzz-merge fuzz-coverage:
	@setup/prepare fuzz
	@tests/fuzz/run --$(@:fuzz-%=%) $(TARGET)

soak:
	@setup/prepare module 6.12
	@setup/qemu >/dev/null
	@$(MAKE) --no-print-directory build
	@tests/soak/soak.py --hours $(or $(HOURS),2) $(if $(SEED),--seed $(SEED))

soak-module:
	@setup/prepare demo 6.12
	@setup/kernel debug >/dev/null
	@$(MAKE) --no-print-directory build
	@SOAK_MINUTES=$(or $(MINUTES),30) SOAK_SEED=$(SEED) /usr/bin/python3 -m pytest -q -s -p no:cacheprovider \
		tests/guest/test_abuse.py --kernel debug

nic-long:
	@setup/prepare demo newest
	@$(MAKE) --no-print-directory build
	@NIC_ROUNDS=$(or $(ROUNDS),100) NIC_PACKETS=$(or $(PACKETS),100000) /usr/bin/python3 -m pytest -v -s --durations=0 -p no:cacheprovider \
		tests/daemon/test_nic_long.py
	@NIC_ROUNDS=$(or $(ROUNDS),100) NIC_PACKETS=$(or $(PACKETS),100000) /usr/bin/python3 -m pytest -v -s --durations=0 -p no:cacheprovider \
		tests/guest/test_nic_ports.py --kernel newest \
		-k 'applications or no_byte or all_queues or reset or bridged or bridges or rounds or machines_on or a_switch'

life-long:
	@setup/prepare demo 6.12
	@$(MAKE) --no-print-directory build
	@LIFE_ROUNDS=$(or $(ROUNDS),50) /usr/bin/python3 -m pytest -q -s -p no:cacheprovider tests/guest/test_ptnet_life.py

programs-long:
	@setup/prepare demo 6.12
	@$(MAKE) --no-print-directory build
	@PROGRAM_MIB=$(or $(PROGRAM_MIB),256) /usr/bin/python3 -m pytest -q -s -p no:cacheprovider tests/guest/test_ptnet_programs.py --kernel 6.12

bench:
	@setup/prepare bench
	@$(MAKE) --no-print-directory build
	@bench/run $(if $(SHORT),--short) $(if $(ONLY),--only $(ONLY)); failed=$$?; \
		[ "$(ONLY)" ] || bench/nic $(if $(SHORT),--short) && exit $$failed

bench-tcp:
	@setup/prepare demo 6.12
	@$(MAKE) --no-print-directory build
	@bench/tcp

install: build
	$(MESON) install -C build --no-rebuild

deb:
	@setup/packages build deb
	@setup/deb

dist:
	@setup/deb --dist

clean:
	rm -rf build build-asan build-check-* build-fuzz build-fuzz-*
