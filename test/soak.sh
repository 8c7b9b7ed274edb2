#!/bin/bash
# make ticker-soak: ten minutes of ticks and rotation each second, and two of ours beside a pgqd that
# comes and goes; writes test/TICKER.md.
#
# ROTATION_S and RACE_S are the seconds of both; TDISPATCH names the program, else ./tdispatch.
cd "$(dirname "$0")/.." || exit 2
. test/cluster.sh

export ROTATION_S=${ROTATION_S:-600} RACE_S=${RACE_S:-120} TDISPATCH=${TDISPATCH:-$PWD/tdispatch}

# what NAME: what the case said.
what() {
	sed -n "s/^\(not \)\{0,1\}ok 33_ticker $1: /\1/p" build/soak.log
}

report() {
	cat <<-END
		# The ticker inside

		$(date -u +%Y-%m-%d), commit $COMMIT, $("$TDISPATCH" --version). Written by \`make ticker-soak\`, which fails when a row is lost or doubled,
		when the tables of the queue do not rotate or grow, or when a tick's snapshot is older than that of the tick before.

		- $ROTATION_S seconds with \`ticker = 1\`, \`rotation_period\` 1 s and 100 events in each 50 ms: $(what rotation).
		- $RACE_S seconds of two processes with \`ticker = 1\`, ticks as fast as they can, beside a real pgqd that comes and goes,
		  with events all the time: $(what race).
	END
}

main() {
	[ -x "$TDISPATCH" ] || die "no program to test: run make"
	test/install.sh --tests || exit 2
	command -v pgqd >/dev/null || die "there is no pgqd"
	COMMIT=$(test/commit.sh)
	mkdir -p build
	test/e2e.sh 33:rotation 33:race | tee build/soak.log
	[ "${PIPESTATUS[0]}" = 0 ] || FAILED=1
	report >test/TICKER.md
	say "written: test/TICKER.md"
	exit "${FAILED:-0}"
}

main "$@"
