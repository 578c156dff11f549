/* SPDX-License-Identifier: BSD-2-Clause */
#include "accel.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/kvm.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "opts.h"

/* Does the line of flags hold the word? */
static bool has_word(const char *line, const char *word)
{
	size_t n = strlen(word);

	for (const char *p = line; (p = strstr(p, word)); p += n)
		if (p > line && strchr(" \t:", p[-1]) && strchr(" \t\n", p[n]))
			return true;
	return false;
}

bool accel_cpu_has_virtualization(const char *cpuinfo)
{
	FILE *f = fopen(cpuinfo, "re");
	char *line = NULL;
	size_t room = 0;
	bool found = false;

	if (!f)
		return false;
	while (!found && getline(&line, &room, f) >= 0)
		if (!strncmp(line, "flags", 5))
			found = has_word(line, "vmx") || has_word(line, "svm");
	free(line);
	fclose(f);
	return found;
}

static bool kvm_works(const char *device, char why[TEXT_ERR])
{
	int vm, version, fd = open(device, O_RDWR | O_CLOEXEC);
	bool ok = false;

	if (fd < 0) {
		text_fail(0, why, "%s: %s%s", device, strerror(errno),
			errno == EACCES ? "; are you in the group kvm?" : "");
		return false;
	}
	version = ioctl(fd, KVM_GET_API_VERSION, 0);
	if (version < 0) {
		text_fail(0, why, "%s is no KVM: %s", device, strerror(errno));
	} else if (version != KVM_API_VERSION) {
		text_fail(
			0, why, "%s has API version %d, not %d", device, version, KVM_API_VERSION);
	} else {
		vm = ioctl(fd, KVM_CREATE_VM, 0);
		if (vm < 0)
			text_fail(0, why, "%s can't make a machine: %s", device, strerror(errno));
		else
			close(vm);
		ok = vm >= 0;
	}
	close(fd);
	return ok;
}

bool accel_kvm_usable(const char *kvm_device, const char *cpuinfo, char why[TEXT_ERR])
{
	if (!kvm_works(kvm_device, why))
		return false;
	if (!accel_cpu_has_virtualization(cpuinfo)) {
		text_fail(0, why,
			"%s is there, but the CPU has neither VMX nor SVM: a stock kernel would hang",
			kvm_device);
		return false;
	}
	return true;
}

/* The accelerator that one option names, or NULL. Points into `o`. */
static const char *named(const struct scan_arg *a, struct opts *o)
{
	memset(o, 0, sizeof(*o));
	if (scan_is(a, "accel")) {
		opts_parse(o, a->value, "accel");
		return opts_get(o, "accel");
	}
	if (scan_is(a, "machine") || scan_is(a, "M")) {
		opts_parse(o, a->value, "type");
		return opts_get(o, "accel");
	}
	return a->name && !strcmp(a->name, "enable-kvm") ? "kvm" : NULL;
}

void accel_wish(struct accel_wish *w, const struct scan *s)
{
	memset(w, 0, sizeof(*w));
	for (size_t i = 0; i < s->count; i++) {
		struct opts o;
		const char *accel = named(&s->arg[i], &o);

		if (accel) {
			/* The first of several counts, the others are QEMU's fallbacks. */
			if (!w->chosen)
				w->kvm = !strcmp(accel, "kvm");
			w->chosen = true;
		}
		if (scan_is(&s->arg[i], "cpu"))
			w->cpu = true;
		opts_free(&o);
	}
}
