#!/bin/bash
# make arch-test: the program of another architecture, under qemu, against this machine's PostgreSQL.
#
#	test/arch.sh [ARCH]...     both without any
cd "$(dirname "$0")/.." || exit 1
[ $# -gt 0 ] || set -- aarch64 armv7
test/install.sh --tests || exit 1
deps/install.sh qemu || exit 1

for arch; do
	case $arch in armv7) qemu=arm ;; *) qemu=$arch ;; esac
	make -s ARCH="$arch" || exit 1
	run=$PWD/build/$arch/run
	printf '#!/bin/sh\nexec qemu-%s-static "%s" "$@"\n' "$qemu" "$PWD/build/$arch/tdispatch" >"$run"
	chmod +x "$run"
	"$run" --version -v || exit 1
	TDISPATCH=$run PATIENCE=5 test/e2e.sh 01 02 04:version 04:check 11:numbers_of_lanes_change || exit 1
done
