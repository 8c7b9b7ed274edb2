# The tables of bench/run.sh, from the file measures. -v what=WORKLOAD prints that one's table, what=
# cliffs, memory or goals those. A line of measures has: workload, contestant, round, seconds, the
# client's CPU seconds and its kilobytes, events, ticks, CPU seconds of the source and of the target.

function median(a, n,   i, j, t) {
	for (i = 2; i <= n; i++) for (j = i; j > 1 && a[j - 1] > a[j]; j--) { t = a[j]; a[j] = a[j - 1]; a[j - 1] = t }
	return n % 2 ? a[(n + 1) / 2] : (a[n / 2] + a[n / 2 + 1]) / 2
}

function middle(from, w, n,   i, k, a) {
	for (i = 1; i <= rounds[w, n]; i++) if ((w, n, i) in from) a[++k] = from[w, n, i]
	return k ? median(a, k) : 0
}

# The median of the rounds' own ratios; low and high are set to their spread.
function paired(from, w, n, base,   i, k, a, x) {
	low = 1e9; high = 0
	for (i = 1; i <= rounds[w, n]; i++)
		if ((w, n, i) in from && (w, base, i) in from && from[w, base, i] > 0) {
			x = a[++k] = from[w, n, i] / from[w, base, i]
			if (x < low) low = x
			if (x > high) high = x
		}
	return k ? median(a, k) : 0
}

function ratio(w, n, base) { return paired(sec, w, n, base) }
function each(from, w, n) { return events[w] ? middle(from, w, n) * 1e6 / events[w] : 0 }
function megabytes(w, n) { return rss[w, n] ? sprintf("%.1f", rss[w, n] / 1024) : "-" }

{
	sec[$1, $2, $3] = $4; cpu[$1, $2, $3] = $5; events[$1] = $7; ticks[$1] = $8; source[$1, $2, $3] = $9; target[$1, $2, $3] = $10
	if (!(($1, $2) in rounds)) who[$1, ++count[$1]] = $2
	if (!($1 in known)) workload[++workloads] = $1
	known[$1]; done[$1, $2]++
	if ($3 > rounds[$1, $2]) rounds[$1, $2] = $3
	if ($6 > rss[$1, $2]) rss[$1, $2] = $6
}

function print_workload(w,   k, n, m) {
	printf "\n### %s: %d events, %d ticks\n\n", w, events[w], ticks[w]
	print "| | seconds | x the first (min to max) | events/s | peak RSS MB | us/event of CPU: source | client | target | rounds |"
	print "|---|---|---|---|---|---|---|---|---|"
	for (k = 1; k <= count[w]; k++) {
		n = who[w, k]; m = middle(sec, w, n); x = ratio(w, n, who[w, 1])
		printf "| %s | %.2f | %.2f (%.2f to %.2f) | %.0f | %s | %.2f | %.2f | %.2f | %d |\n", title[n] ? title[n] : n, m, x, low, high,
			events[w] / m, megabytes(w, n), each(source, w, n), each(cpu, w, n), each(target, w, n), done[w, n]
	}
}

function print_cliffs(   k, i, w, n, name, kind) {
	kind["sets"] = "column sets"; kind["partitions"] = "partitions"; kind["letters"] = "dead letters"; kind["batches"] = "events a batch"
	print "\n### cliffs: column sets in turn, with fields = *; partitions that exist, mixed; bad events; small batches\n"
	print "| | seconds | us an event | us/event of CPU: source | client | target | peak RSS MB |\n|---|---|---|---|---|---|---|"
	for (k = 1; k <= workloads; k++) {
		w = workload[k]
		split(w, name, "-")
		if (!(name[1] in kind) || name[2] == "") continue
		for (i = 1; i <= count[w]; i++) {
			n = who[w, i]
			printf "| %s %s%s | %.2f | %.2f | %.2f | %.2f | %.2f | %s |\n", name[2], kind[name[1]], n == "floor" ? ", FLOOR" : "",
				middle(sec, w, n), each(sec, w, n), each(source, w, n), each(cpu, w, n), each(target, w, n), megabytes(w, n)
		}
	}
}

function memory(name, w, n) {
	if ((w, n) in rss) printf "| %s | %s |\n", name, megabytes(w, n)
}

function print_memory() {
	print "\n### memory\n\n| | peak RSS MB |\n|---|---|"
	memory("10 partitions", "batch", "one")
	memory("10 partitions, two lanes", "batch", "two")
	memory("400 partitions, mixed", "many", "one")
	memory("100,000 dead letters in a batch", "letters-100000", "bad")
	memory("1,000 partitions of 150 columns, mixed", "columns", "one")
}

# bound: what else can be said where it is missed.
function goal(name, most, got, bound) {
	if (got > 0) printf "| %s | %.3g | %.3g | %s |\n", name, most, got, got <= most ? "" : "missed" bound
}

function growth(w, before, n) { return rounds[w, n] && rounds[before, n] ? each(sec, w, n) / each(sec, before, n) : 0 }

function step(w, before,   x) {
	x = growth(w, before, "floor")
	goal(w ", time an event x " before, 1.5, growth(w, before, who[w, 1]), x ? sprintf("; FLOOR %.2f", x) : "")
}

# A goal whose workload did not run is left out.
function print_goals(   i, k, w) {
	print "\n### goals\n\n| | at most | measured | |\n|---|---|---|---|"
	goal("attach, one connection, x FLOOR", 0.75, ratio("attach", "one", "floor"))
	goal("attach, two lanes, x FLOOR", 0.62, ratio("attach", "two", "floor"))
	goal("batch (inherits), one connection, x FLOOR", 0.85, ratio("batch", "one", "floor"))
	goal("batch (inherits), two lanes, x FLOOR", 0.8, ratio("batch", "two", "floor"))
	goal("attach with two more indexes, x FLOOR", 0.65, ratio("indexes", "one", "floor"))
	goal("attach with two more indexes, two lanes, x FLOOR", 0.45, ratio("indexes", "two", "floor"))
	goal("types, x FLOOR", 0.8, ratio("types", "one", "floor"))
	goal("batch, seconds x the Python consumer", 1 / 13, ratio("batch", "one", "peer"))
	goal("10 partitions, peak RSS MB", 8, rss["batch", "one"] / 1024)
	goal("400 partitions, peak RSS MB", 10, rss["many", "one"] / 1024)
	goal("100,000 dead letters, peak RSS MB", 10, rss["letters-100000", "bad"] / 1024)
	goal("1,000 partitions of 150 columns, peak RSS MB", 12, rss["columns", "one"] / 1024)
	goal("batch, client CPU, us/event", 0.4, each(cpu, "batch", "one"))
	if (rounds["batch", "one"]) goal("ticks, seconds x batch", 1.2, middle(sec, "ticks", "one") / middle(sec, "batch", "one"))
	goal("single-ticks, x FLOOR", 1.1, ratio("single-ticks", "one", "floor"))
	if (rounds["batch", "one"]) goal("long, peak RSS x batch", 1.1, rss["long", "one"] / rss["batch", "one"])
	if (rounds["batch", "one"]) goal("long, seconds an event x batch", 1.1, each(sec, "long", "one") / each(sec, "batch", "one"))
	for (i = 1; i <= split("batch attach indexes ticks many types", w, " "); i++) {
		goal(w[i] ", one connection, x before", 1.05, ratio(w[i], "one", "before"))
		goal(w[i] ", two lanes, x before", 1.05, ratio(w[i], "two", "before2"))
	}
	goal("many, x FLOOR", 1.3, ratio("many", "one", "floor"))
	goal("wide, x FLOOR", 1.15, ratio("wide", "one", "floor"))
	goal("one, x FLOOR", 1.15, ratio("one", "one", "floor"))
	goal("poison, 1 in 1,000, x all good", 1.5, ratio("poison", "bad", "one"))
	goal("poison, 1 in 100,000, x all good", 1.1, ratio("poison", "rare", "one"))
	goal("poison with keep_latest, x all good", 3, ratio("poison", "latest_bad", "latest"))
	goal("latest, inserts alone, x FLOOR", 2, ratio("latest", "latest", "floor"))
	goal("latest, inserts alone, x log", 2, ratio("latest", "latest", "one"))
	goal("latest, ten events a key, x as many rows of log", 1, ratio("latest", "updates", "one"))
	goal("section, client CPU x without sections", 1.03, paired(cpu, "section", "section", "one"))
	goal("section, seconds x without sections", 1.03, ratio("section", "section", "one"))
	goal("tables, seconds x one table", 1.2, ratio("tables", "tables", "one"))
	if (rounds["tables", "one"]) goal("tables, peak RSS x one table", 1.1, rss["tables", "tables"] / rss["tables", "one"])
	goal("json, client CPU x urlencoded", 1.5, paired(cpu, "json", "json", "one"))
	goal("json, seconds x urlencoded", 1.5, ratio("json", "json", "one"))
	for (k = split("sets-5 sets-64 sets-65 sets-1000 partitions-10 partitions-4000 partitions-4500 partitions-20000", w, " "); k > 1; k--)
		if (k != 5) step(w[k], w[k - 1])
	step("letters-100000", "letters-10000")
	step("batches-20000", "batches-1000000")
	goal("latency from the commit, p99 ms", 120, sec["latency", "commit", 1] * 1e3)
	goal("latency from the tick, median ms", 3, sec["latency", "tick_median", 1] * 1e3)
	goal("latency from the tick, p99 ms", 15, sec["latency", "tick", 1] * 1e3)
	goal("an idle look at a live queue, us of source CPU", 50, source["idle", "look", 1] * 1e6)
	goal("start, ms", 2, sec["start", "version", 1] * 1e3)
}

BEGIN {
	for (i = split(titles, line, "|"); i > 0; i--)
		if (split(line[i], part, "=") == 2)
			title[part[1]] = part[2]
}

END {
	if (what == "cliffs") print_cliffs()
	else if (what == "memory") print_memory()
	else if (what == "goals") print_goals()
	else print_workload(what)
}
