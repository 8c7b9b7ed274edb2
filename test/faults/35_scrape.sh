# metrics_listen before a real Prometheus, for a minute and a half.
. "$(dirname "$0")/../cases.sh"

# find_tool NAME: where it is; Debian's package is unpacked, not installed.
find_tool() {
	local folder=$TOP/build/test/prometheus
	command -v "$1" && return
	if [ ! -x "$folder/usr/bin/$1" ]; then
		mkdir -p "$folder"
		(cd "$folder" && apt-get download prometheus && dpkg-deb -x prometheus_*.deb .) >/dev/null 2>&1 || return
	fi
	say "$folder/usr/bin/$1"
}

start_prometheus() {
	cat >prometheus.yml <<-END
		global: { scrape_interval: 1s, scrape_timeout: 1s }
		scrape_configs:
		  - job_name: tdispatch
		    static_configs: [ { targets: [ "127.0.0.1:$PORT" ] } ]
	END
	"$SERVER" --config.file=prometheus.yml --storage.tsdb.path=tsdb --log.level=warn \
		--web.listen-address="127.0.0.1:$WEB" >prometheus.log 2>&1 &
	STARTED+=($!)
}

# query EXPRESSION: the value of its one series, or nothing.
query() {
	python3 - "http://127.0.0.1:$WEB/api/v1/query" "$1" 2>/dev/null <<-'END'
		import json, sys, urllib.parse, urllib.request
		url = sys.argv[1] + "?" + urllib.parse.urlencode({"query": sys.argv[2]})
		result = json.load(urllib.request.urlopen(url, timeout=5))["data"]["result"]
		print(result[0]["value"][1] if len(result) == 1 else "")
	END
}

gives() {
	[ "$(query "$2")" = "$1" ]
}

# Clients that say nothing, and clients that say nonsense, all the time.
hostile_clients() {
	python3 - "$PORT" <<-'END' &
		import os, socket, sys, time
		held = []
		while True:
		    try:
		        s = socket.create_connection(("127.0.0.1", int(sys.argv[1])), 5)
		        s.sendall(os.urandom(50) if len(held) % 2 else b"")
		        held.append(s)
		    except OSError:
		        pass
		    held = held[-50:]
		    time.sleep(0.02)
	END
	STARTED+=($!)
}

more_orders() {
	local i
	for i in {1..10}; do
		src "insert into orders select i, date '2026-01-01' + i % 5, 'r' from generate_series($1 + $i * 100, $1 + $i * 100 + 99) i"
		tick q
		sleep 1
	done
}

case_prometheus_scrapes() {
	local rows
	SERVER=$(find_tool prometheus) || skip "no prometheus"
	PORT=$(free_port) WEB=$(free_port)
	orders_pair "metrics_listen=127.0.0.1:$PORT"
	PROGRAM=$STATIC start job.ini
	start_prometheus
	within 30 gives 1 up
	python3 -c "import urllib.request; print(urllib.request.urlopen('http://127.0.0.1:$PORT/metrics').read().decode(), end='')" >page
	"$(find_tool promtool)" check metrics <page >promtool.out 2>&1 || fail "promtool: $(head -n 3 promtool.out)"
	hostile_clients
	more_orders 0
	expect_eq "$(query 'min_over_time(up[9s])')" 1 "scrapes among hostile clients"
	within 20 gives 1000 tdispatch_rows_total
	pkill -KILL -P "$PID" -f 'metrics_listen$'
	within 10 gives 0 up
	more_orders 10000
	rows=$(dst "select count(*) from orders")
	expect_eq "$rows" 2000 "rows while nobody answers"
	within 70 gives 1 up
	within 10 gives "$rows" tdispatch_rows_total
	within 20 gives 1 'max_over_time(scrape_duration_seconds[5s]) < bool 0.5'
	expect_eq "$(grep -c 'metrics_listen: its process' bg.err)" 1
	told "$(query 'count_over_time(up[5m])') scrapes, the longest of $(query 'max_over_time(scrape_duration_seconds[5m])') s"
	kill -TERM "$PID"
	expect_end 0 10
}

run_cases
