#!/bin/bash
# make lint: no warning from gcc and clang, layers in order, lines of C in 100 columns, man pages
# well formed, nothing in the repository that names a package mirror. One "ok" or "not ok" line each.
cd "$(dirname "$0")/.." || exit 1
deps/install.sh dev lint || exit 1

FLAGS="-std=c11 -D_GNU_SOURCE -O2 -Wall -Wextra -Wshadow -Wmissing-prototypes -Wstrict-prototypes
	-Wpointer-arith -Wcast-qual -Wsign-compare -Wformat=2 -Wno-format-nonliteral -Wvla -I$(pg_config --includedir)"
failed=0
passed=0

# report NAME OUTPUT: no output is success
report() {
	if [ -z "$2" ]; then
		echo "ok $1"
		passed=$((passed + 1))
	else
		printf 'not ok %s\n%s\n' "$1" "$2"
		failed=$((failed + 1))
	fi
}

# objects COMPILER: what it says
objects() {
	rm -rf build/lint
	mkdir -p build/lint
	printf '%s\n' *.c {base,event,conf,pg,sink,report,load,ops}/*.c | xargs -P "$(nproc)" -I FILE \
		sh -c "$1 $(echo $FLAGS) -c -o build/lint/\$(basename FILE .c).o FILE" 2>&1
}

mirrors() {
	local host
	for host in $(apt-get indextargets --format '$(REPO_URI)' 2>/dev/null | sed -n 's#^[a-z]*://##; s#/.*##p' | sort -u); do
		git grep -nIF "$host" -- . 2>/dev/null
	done
}

# Tabs count as eight columns.
long_lines() {
	local f
	for f in *.[ch] {base,event,conf,pg,sink,report,load,ops,test/unit,test/fuzz}/*.[ch]; do
		expand -t 8 "$f" | awk -v f="$f" 'length > 100 { print f ":" NR ": " $0 }'
	done
}

report "clang warns of nothing" "$(objects clang)"
report "gcc warns of nothing" "$(objects gcc)"
report "layers are in order" "$(test/layers.sh build/lint/*.o 2>&1 | grep -v '^layers are in order')"
for page in dist/man/*.[157]; do
	report "$page: mandoc" "$(mandoc -T lint $page 2>&1 | grep -v 'referenced manual not found')" # before it is installed
	report "$page: man" "$(LC_ALL=C.UTF-8 man --warnings -E UTF-8 -l -Tutf8 -Z $page 2>&1 >/dev/null)"
done
report "bench/speed.svg is drawn from bench/RESULTS.md" "$(cp bench/speed.svg build/lint/ && bench/chart.sh 2>&1; diff build/lint/speed.svg bench/speed.svg)"
report "mutants change what is there" "$(test/mutants.sh stale)"
report "no line of C is over 100 columns" "$(long_lines)"
report "no mirror is named" "$(mirrors)"
echo "$passed passed, $failed failed"
[ "$failed" = 0 ]
