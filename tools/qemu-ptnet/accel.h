/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * accel.h - KVM where it can run a stock kernel, emulation elsewhere.
 *
 * /dev/kvm alone doesn't say enough: inside some sandboxes it can be opened and
 * a machine made, but the CPU has neither VMX nor SVM, and a stock kernel hangs
 * at boot. So KVM is chosen only when the device works and the CPU has one of
 * them. A user who names an accelerator gets that one.
 *
 * Thread safety: none needed, the program has one thread.
 */
#ifndef QEMU_PTNET_ACCEL_H
#define QEMU_PTNET_ACCEL_H

#include <stdbool.h>

#include "scan.h"

#define ACCEL_KVM_DEVICE "/dev/kvm"
#define ACCEL_CPUINFO    "/proc/cpuinfo"

/*
 * Can KVM run a stock kernel here? When not, the reason goes to why. The two files
 * are arguments so that tests can bring their own.
 */
bool accel_kvm_usable(const char *kvm_device, const char *cpuinfo, char why[TEXT_ERR]);

/* Does a file like /proc/cpuinfo list vmx or svm? A part of the above. */
bool accel_cpu_has_virtualization(const char *cpuinfo);

/* What the command line says about it. */
struct accel_wish {
	bool chosen; /* the user named an accelerator … */
	bool kvm;    /* … and it is KVM */
	bool cpu;    /* the user gave -cpu */
};

void accel_wish(struct accel_wish *w, const struct scan *s);

#endif
