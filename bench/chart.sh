#!/bin/sh
# Draws bench/speed.svg from the table `batch` of bench/RESULTS.md: speed and memory, side by side, and
# the commit that was measured.
set -eu
cd "$(dirname "$0")"

awk -F '|' '
	function bar(x, y, value, most, label, ours,   w) {
		w = 290 * value / most
		if (w < 2) w = 2
		printf "<rect class=\"%s\" x=\"%d\" y=\"%d\" width=\"%.0f\" height=\"22\" rx=\"3\"/>\n", ours ? "ours" : "other", x, y, w
		printf "<text x=\"%.0f\" y=\"%d\">%s</text>\n", x + w + 8, y + 16, label
	}
	function thousands(n) { return n >= 1000 ? sprintf("%d,%03d", n / 1000, n % 1000) : n }
	/^By `make bench` on / && match($0, / on [0-9-]+ at commit [^:]*/) { when = substr($0, RSTART + 4, RLENGTH - 4); sub(/at commit/, "commit", when) }
	/^### / { table = $0 ~ /^### batch:/ ? "batch" : "" }
	table && NF > 6 && $3 + 0 > 0 {
		gsub(/^ +| +$/, "", $2)
		name[++n] = $2; speed[n] = $5 + 0; memory[n] = $6 + 0
		if (speed[n] > fastest) fastest = speed[n]
		if (memory[n] > largest) largest = memory[n]
	}
	END {
		if (n < 4) { print "bench/RESULTS.md has no whole table batch: run make bench" > "/dev/stderr"; exit 1 }
		printf "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 980 %d\" font-family=\"sans-serif\" font-size=\"14\" role=\"img\" aria-label=\"Events a second and memory of tdispatch beside psql copy, dblink and a Python consumer\">\n", (when ? 90 : 70) + 34 * n
		print "<style>text{fill:#24292f}.other{fill:#b6bfc9}.ours{fill:#1f6feb}.head{font-weight:bold}@media(prefers-color-scheme:dark){text{fill:#d0d7de}.other{fill:#57606a}.ours{fill:#58a6ff}}</style>"
		print "<text class=\"head\" x=\"190\" y=\"30\">events a second</text><text class=\"head\" x=\"630\" y=\"30\">peak memory, MB</text>"
		for (i = 1; i <= n; i++) {
			y = 46 + 34 * (i - 1)
			label = name[i] == "FLOOR" ? "psql \\copy of files" : name[i]
			printf "<text x=\"180\" y=\"%d\" text-anchor=\"end\">%s</text>\n", y + 16, label
			bar(190, y, speed[i], fastest, thousands(speed[i]), name[i] ~ /^tdispatch/)
			if (memory[i]) bar(630, y, memory[i], largest, memory[i], name[i] ~ /^tdispatch/)
		}
		if (when) printf "<text x=\"190\" y=\"%d\" font-size=\"12\">%s</text>\n", 66 + 34 * n, when
		print "</svg>"
	}' RESULTS.md >speed.svg.new
mv speed.svg.new speed.svg
