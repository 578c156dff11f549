# SPDX-License-Identifier: BSD-2-Clause
# shellcheck shell=bash disable=SC2034 # it is sourced: its variables are for others
#
# Shared by the setup scripts: messages, the cache, Debian packages unpacked
# without being installed. To be sourced by bash.
#
# The cache holds one directory per entry and version, for instance
# kernel-6.1_6.1.176-1, and a link without the version, kernel-6.1, to the
# one in use. An entry is built in a directory beside it and renamed when it
# is complete, under a lock; so an entry which exists is whole, and needs no
# network. Deleting the cache, or any part of it, is always safe.
#
# Programs of another Debian release run where they were unpacked, without
# chroot and without any privilege: each is wrapped in a script which runs it
# with the dynamic linker and the libraries of its own tree. The path of the
# tree stands in these scripts, and in Debian's headers; cache_find therefore
# takes a tree which was moved for a missing one.

set -Eeuo pipefail

SOURCE_ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
CACHE=${PTNETMAP_CACHE:-${XDG_CACHE_HOME:-${HOME:?HOME is not set; set it or PTNETMAP_CACHE}/.cache}/ptnetmap}
KEYRING=/usr/share/keyrings/debian-archive-keyring.gpg
CACHE_FORMAT=3 # to be raised when entries get other contents
NEW_DIRS=()
KERNEL_LINES="6.1 6.12 newest" # not debug: it takes long to make, and only who asks for it gets it

# Each failure prints one line, also one inside $(…): the statuses 4 and 5 mean
# "already told", and leave the script as 1 and, for a wrong argument, 2.
say() { echo "setup: $*" >&2; }
die() { say "$*"; exit 4; }
usage_error() { say "$*"; exit 5; }
on_error() {
	case $1 in 4 | 5) exit "$1" ;; esac
	die "$2 fails: run it with bash -x to see why"
}
on_exit() {
	rm -rf "${NEW_DIRS[@]}"
	case $1 in 4) exit 1 ;; 5) exit 2 ;; esac
}
trap 'on_error $? "${BASH_SOURCE[0]##*/}, line $LINENO: $BASH_COMMAND"' ERR
trap 'on_exit $?' EXIT

# host_suite: the code name of the Debian release we run on.
host_suite() { (. /etc/os-release && echo "${VERSION_CODENAME:-unknown}"); }

# line_suite LINE: the suite which a line of guest kernels is taken from.
line_suite() {
	case $1 in
	6.1) echo bookworm ;;
	6.12 | debug) echo trixie ;;
	newest) echo trixie-backports ;;
	*) usage_error "no kernel line '$1'; there are: $KERNEL_LINES debug" ;;
	esac
}

# ---------------------------------------------------------------- the cache

# cache_find NAME: prints the directory of a complete entry, or fails.
cache_find() {
	local dir
	dir=$(readlink -f "$CACHE/$1") && [ "$(cat "$dir/.path" 2>/dev/null)" = "$CACHE_FORMAT $dir" ] && echo "$dir"
}

# cache_lock: one setup at a time; held until this process ends.
cache_lock() {
	# Make, Kbuild and library paths can't quote these.
	case $(readlink -m "$CACHE") in
	*[[:space:]:\#%\\\$]*) die "the name of the cache, $CACHE, has a character which make can't handle: set PTNETMAP_CACHE" ;;
	esac
	mkdir -p "$CACHE" 2>/dev/null || die "can't create the cache $CACHE: set PTNETMAP_CACHE to a directory you may write to"
	exec 9>"$CACHE/.lock"
	flock -n 9 || { say "another setup is at work in $CACHE; waiting for it" && flock 9; }
	rm -rf "$CACHE"/.new-* # left by one that was killed
}

# new_dir: sets $NEW_DIR to a new directory in the cache, which is removed when
# this process ends unless it was renamed.
new_dir() {
	NEW_DIR=$(mktemp -d "$CACHE/.new-XXXXXX")
	chmod 755 "$NEW_DIR"
	NEW_DIRS+=("$NEW_DIR")
}

# cache_build NAME VERSION FUNCTION [ARG…]: makes NAME_VERSION with
# "FUNCTION TMPDIR FINALDIR [ARG…]" unless it is there, and links NAME to it.
# The caller holds the lock.
cache_build() {
	local name=$1 entry final
	entry=$1_${2#*:} # without the epoch
	shift 2
	final=$(readlink -f "$CACHE")/$entry
	if [ "$(cat "$final/.path" 2>/dev/null)" != "$CACHE_FORMAT $final" ]; then
		new_dir
		local tmp=$NEW_DIR
		local function=$1
		shift
		"$function" "$tmp" "$final" "$@"
		echo "$CACHE_FORMAT $final" >"$tmp/.path"
		rm -rf "$final"
		mv "$tmp" "$final"
	fi
	ln -sfn "$entry" "$CACHE/$name"
}

# --------------------------------------- Debian packages of another release

# debian_mirror: the mirror of Debian which this machine's apt uses.
debian_mirror() {
	local suite uri
	suite=$(host_suite)
	# shellcheck disable=SC2016 # apt's own variables
	uri=$(apt-get indextargets --format '$(REPO_URI) $(ORIGIN) $(RELEASE)' 'Created-By: Packages' |
		awk -v s="$suite" '$2 == "Debian" && $3 == s && !n++ { print $1 }')
	# Before the first "apt-get update" of a machine there are no targets yet.
	[ -n "$uri" ] || uri=$(apt-get --print-uris update 2>/dev/null |
		sed -n "s,^'\(.*/\)dists/$suite/\(In\)\?Release'.*,\1,p" | sort -u | sed '2,$d')
	[ -n "$uri" ] || die "apt of this machine names no mirror of Debian $suite: add one in /etc/apt/sources.list"
	echo "$uri"
}

# run_apt WHAT ADVICE ARGUMENT…: runs apt-get with the configuration of apt_open;
# when it fails, its first error goes into the message.
run_apt() {
	local what=$1 advice=$2 out
	shift 2
	out=$(LC_ALL=C apt-get -qq -c "$APT_CONF" "$@" 2>&1) ||
		die "can't $what: $(grep -m 1 '^E:' <<<"$out" || echo "apt-get $1 fails"); $advice"
}

# apt_configure: sets $APT_CONF to a private configuration of apt, in a directory of its own, as
# on a machine where nothing is installed. Its sources.list is to be written there.
apt_configure() {
	local dir
	[ -r $KEYRING ] || die "the keys of Debian are missing: run apt-get install debian-archive-keyring"
	new_dir
	dir=$NEW_DIR
	APT_CONF=$dir/apt.conf
	mkdir -p "$dir/lists/partial" "$dir/cache/archives/partial"
	: >"$dir/status"
	# As root apt would fetch as _apt, who can't enter root's home.
	# Signatures and checksums are verified all the same.
	cat >"$APT_CONF" <<-END
		Dir::Etc::sourcelist "$dir/sources.list";
		Dir::Etc::sourceparts "/dev/null";
		Dir::Etc::preferences "/dev/null";
		Dir::Etc::preferencesparts "/dev/null";
		Dir::State "$dir";
		Dir::State::lists "$dir/lists";
		Dir::State::status "$dir/status";
		Dir::Cache "$dir/cache";
		APT::Sandbox::User "$(id -un)";
		Acquire::Languages "none";
		#clear APT::Update::Post-Invoke;
		#clear APT::Update::Post-Invoke-Success;
	END
}

# apt_read KIND SUITE…: reads the lists of packages (KIND deb) or sources (deb-src) of suites.
apt_read() {
	local kind=$1 mirror s
	shift
	mirror=$(debian_mirror)
	for s; do echo "$kind [signed-by=$KEYRING] $mirror $s main"; done >"${APT_CONF%/*}/sources.list"
	say "reading the package lists of $*"
	run_apt "read the package lists of $*" \
		"check the network (for a missing key, upgrade debian-archive-keyring), then run this again" \
		update -o APT::Update::Error-Mode=any
}

# apt_open SUITE: sets $APT_CONF to a private configuration, whose lists are those of SUITE (and of
# the release it belongs to, if it holds backports).
apt_open() {
	local suite=$1 base=${1%-backports}
	APT_SUITE=$suite
	apt_configure
	echo "APT::Default-Release \"$suite\";" >>"$APT_CONF"
	# shellcheck disable=SC2046 # one word or none
	apt_read deb "$base" $([ "$suite" = "$base" ] || echo "$suite")
}

# apt_open_sources SUITE…: sets $APT_CONF to a private configuration for apt-get source.
apt_open_sources() {
	apt_configure
	apt_read deb-src "$@"
}

# apt_version PACKAGE: the version of it in the suite of apt_open.
apt_version() {
	local version
	version=$(LC_ALL=C apt-cache -c "$APT_CONF" policy "$1" | sed -n 's/^  Candidate: //p')
	case $version in '' | '(none)') die "there is no package $1 in $APT_SUITE on this machine's mirror of Debian" ;; esac
	echo "$version"
}

# apt_depends PACKAGE…: names of the packages which these depend on.
apt_depends() {
	apt-cache -c "$APT_CONF" show --no-all-versions "$@" |
		sed -n 's/^\(Pre-\)\?Depends: //p' | tr , '\n' | sed 's/^ *\([^ :]*\).*/\1/'
}

# apt_closure PACKAGE…: these packages and all they need, as NAME=VERSION.
apt_closure() {
	local out
	out=$(LC_ALL=C apt-get -c "$APT_CONF" install -s --no-install-recommends "$@" 2>&1) ||
		die "apt can't resolve $*: $(grep -m 1 '^E:' <<<"$out")"
	sed -n 's/^Inst \([^ ]*\) (\([^ ]*\) .*/\1=\2/p' <<<"$out"
}

# unpack_packages DIR NAME=VERSION…: fetches the packages, unpacks them in DIR.
unpack_packages() {
	local dir=$1 deb debs
	shift
	mkdir -p "$dir/usr/bin" "$dir/usr/sbin" "$dir/usr/lib" "$dir/usr/lib64" "$dir/.debs"
	for d in bin sbin lib lib64; do ln -sfn "usr/$d" "$dir/$d"; done
	debs=$dir/.debs
	say "fetching $# packages of $APT_SUITE"
	(cd "$debs" && run_apt "fetch packages of $APT_SUITE" \
		"check the network and the free space of $CACHE, then run this again" download "$@")
	for deb in "$debs"/*.deb; do
		# Through tar, which keeps the links bin -> usr/bin and so on.
		dpkg-deb --fsys-tarfile "$deb" |
			tar -x -C "$dir" --keep-directory-symlink --no-same-owner \
				--exclude=./usr/share/doc --exclude=./usr/share/man --exclude=./usr/share/locale ||
			die "can't unpack $(basename "$deb"): check the free space of $CACHE; then run this again"
	done
	rm -rf "$debs"
}

# wrap_programs ROOT FINAL: makes the programs in ROOT run from FINAL, where
# ROOT will be moved to, with the libraries of their own tree.
wrap_programs() {
	local root=$1 lib=$2/usr/lib/x86_64-linux-gnu file program
	find "$root/usr" -type f -perm /111 ! -name '*.so*' ! -name '*.ko*' ! -name '*.sh' |
	while read -r file; do
		# ELF files which name a dynamic linker.
		[ "$(head -c 4 "$file" | tr -d '\0')" = $'\x7fELF' ] || continue
		head -c 4096 "$file" | grep -a /lib64/ld-linux-x86-64.so.2 >/dev/null || continue
		program=$2${file#"$root"}.elf
		mv "$file" "$file.elf"
		cat >"$file" <<-END
			#!/bin/sh
			exec $lib/ld-linux-x86-64.so.2 --library-path $lib --argv0 "\$0" $program "\$@"
		END
		chmod 755 "$file"
	done
}

# ---------------------------------------------------------------- kernels

# unpack_image VMLINUZ OUT: the "setup header" of x86's boot protocol says where
# the compressed ELF image lies, and its first bytes what compressed it.
unpack_image() {
	local offset bytes
	field() { od -An -v "-tu$1" "-j$(($2))" "-N$1" "$3" | tr -d ' '; }
	offset=$((($(field 1 0x1f1 "$1") + 1) * 512 + $(field 4 0x248 "$1")))
	bytes=$(field 4 0x24c "$1")
	# The last four bytes are the size.
	payload() { dd "if=$1" bs=1M iflag=skip_bytes,count_bytes "skip=$offset" "count=$((bytes - 4))" status=none; }
	case $(field 2 $offset "$1") in
	14333) payload "$1" | xz -dcq --single-stream >"$2" ;; # fd 37
	46376) payload "$1" | zstd -dcq >"$2" ;;               # 28 b5
	35615) payload "$1" | gzip -dcq >"$2" ;;               # 1f 8b
	esac
}
