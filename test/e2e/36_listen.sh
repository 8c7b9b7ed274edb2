# metrics_listen: GET /metrics and GET /health, and clients that mean no good.
. "$(dirname "$0")/../cases.sh"

# listening_job KEY=VALUE...: a job that listens on $PORT and has loaded orders 1 to 3.
listening_job() {
	PORT=$(free_port) || fail "no port is free"
	orders_pair
	config "metrics_listen=127.0.0.1:$PORT" "$@"
	[ -z "${SECRET:-}" ] || sed -i "s/^src_db.*/& password=$SECRET/" job.ini
	orders 1 3
	tick q
	start job.ini
	within 20 dst_gives 3 "select count(*) from orders"
	within 10 eval 'get /metrics && grep -q "^tdispatch_rows_total{.*} 3$" answer'
}

# get PATH [METHOD]: the answer, without carriage returns, is in file answer. A shell of its own: a
# connection that is reset kills it.
get() (
	exec 5<>"/dev/tcp/127.0.0.1/$PORT" || exit 1
	printf '%s %s HTTP/1.1\r\nHost: localhost:%s\r\n\r\n' "${2:-GET}" "$1" "$PORT" >&5
	tr -d '\r' <&5 >answer
)

status() {
	get "$@"
	sed -n '1s/^HTTP\/1.1 //p' answer
}

# The process that answers.
child() {
	pgrep -P "$PID" -f 'metrics_listen$'
}

# clients SCRIPT: Python with connect() to $PORT and ask(bytes), which gives the status that is
# answered, and 0 where the connection ends without.
clients() {
	PORT=$PORT python3 - >clients.out 2>&1 <<-END || fail "clients: $(tail -n 3 clients.out | tr '\n' ' ')"
		import os, socket, time
		def connect():
		    return socket.create_connection(("127.0.0.1", int(os.environ["PORT"])), 20)
		def read(s):
		    got = b""
		    try:
		        while part := s.recv(65536):
		            got += part
		    except ConnectionResetError:
		        pass
		    return int(got.split()[1]) if got.startswith(b"HTTP/1.1 ") else 0
		def ask(request):
		    with connect() as s:
		        s.sendall(request)
		        return read(s)
		GOOD = b"GET /metrics HTTP/1.1\r\nHost: h\r\n\r\n"
		def expect(what, got, wanted):
		    assert got == wanted, f"{what}: {got}, not {wanted}"
		def quickly():
		    began = time.monotonic()
		    expect("a good client", ask(GOOD), 200)
		    assert time.monotonic() - began < 2, "a good client waited"
		$(sed 's/^		//' <<<"$1")
	END
}

case_pages() {
	listening_job
	grep -v '^[A-Z]' answer | sed 1d >job.prom
	python3 "$TOP/test/metrics.py" job.prom >/dev/null || fail "the page is not in Prometheus' format"
	expect_match answer '^Content-Type: text/plain; version=0.0.4; charset=utf-8$'
	expect_match answer '^Connection: close$'
	expect_eq "$(status /health)" "200 OK"
	expect_match answer '^(OK: |BEHIND: )'
	expect_eq "$(status /metrics HEAD)" "200 OK"
	expect_eq "$(tail -n 1 answer)" "" "body after HEAD"
	expect_eq "$(status /)" "404 Not Found"
	expect_eq "$(status /metrics POST)" "405 Method Not Allowed"
	expect_match answer '^Allow: GET, HEAD$'
	expect_exit 0 "$TDISPATCH" --show-config job.ini
	expect_match out "^metrics_listen = 127.0.0.1:$PORT$"
	kill -TERM "$PID"
	expect_end 0 5
	get /metrics 2>/dev/null && fail "somebody still listens"
	:
}

# Silent, slow and many clients keep nobody waiting, and their time is bounded.
case_slow_and_silent_clients() {
	listening_job
	clients '
		silent = [connect() for _ in range(30)]
		quickly()
		slow = connect()
		slow.sendall(b"GET /met")
		began = time.monotonic()
		while time.monotonic() - began < 2:
		    quickly()
		expect("slow client", read(slow), 408)
		assert 3 < time.monotonic() - began < 9, "its time"
		for s in silent:
		    assert read(s) in (0, 503), "silent client"
		full = [connect() for _ in range(8)]
		for s in full:
		    s.sendall(b"G")
		time.sleep(0.3)
		quickly()
		assert 503 in [read(s) for s in full], "nobody made place"
		# a client that never reads
		deaf = [connect() for _ in range(8)]
		for s in deaf:
		    s.sendall(GOOD)
		time.sleep(0.3)
		quickly()
		for i in range(300):
		    quickly()'
	orders 4 6
	tick q
	within 10 dst_gives 6 "select count(*) from orders"
	expect_no_match bg.err "metrics_listen: its process"
}

case_hostile_clients() {
	listening_job
	clients '
		import random
		expect("garbage", ask(b"\x00\xff" * 100), 400)
		expect("TLS", ask(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"), 400)
		expect("no Host", ask(b"GET /metrics HTTP/1.1\r\n\r\n"), 400)
		expect("HTTP/2", ask(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"), 505)
		expect("long target", ask(b"GET /" + b"a" * 5000 + b" HTTP/1.1\r\n\r\n"), 431)
		expect("long head", ask(b"GET /metrics HTTP/1.1\r\n" + b"A: b\r\n" * 700), 431)
		expect("body", ask(b"POST /metrics HTTP/1.1\r\nHost: h\r\nContent-Length: 9999\r\n\r\n" + b"x" * 9999), 405)
		expect("two requests", ask(GOOD + GOOD), 200)
		expect("a byte at a time", (lambda s: ([s.sendall(GOOD[i:i+1]) for i in range(len(GOOD))], read(s))[1])(connect()), 200)
		endless = connect()
		endless.settimeout(9)
		try:
		    endless.sendall(GOOD)
		    while True:
		        endless.sendall(b"x" * 65536)
		except OSError:
		    pass
		seed = random.Random(1)
		for i in range(300):
		    s = connect()
		    piece = bytearray(GOOD * 2)
		    for _ in range(seed.randrange(4)):
		        piece[seed.randrange(len(piece))] = seed.randrange(256)
		    s.sendall(piece[:seed.randrange(len(piece))])
		    s.close()
		quickly()'
	expect_no_match bg.err "metrics_listen: its process"
	orders 4 6
	tick q
	within 10 dst_gives 6 "select count(*) from orders"
}

# What it must not have: secrets, connections, the terminal.
case_child_holds_nothing() {
	local child
	SECRET=verysecretword listening_job
	child=$(child) || fail "there is no child"
	within 10 eval '[ "$(ls "/proc/$child/fd" | tr "\n" " ")" = "0 1 2 3 4 " ]'
	expect_eq "$(readlink "/proc/$child/fd/2")" /dev/null
	expect_eq "$(wc -c <"/proc/$child/environ")" 0 "bytes of its environment"
	python3 - "$child" <<-'END' || fail "a secret is in the child's memory"
		import sys
		for line in open(f"/proc/{sys.argv[1]}/maps"):
		    place, rights = line.split()[:2]
		    start, end = (int(n, 16) for n in place.split("-"))
		    if "w" in rights and end - start < 1 << 30:
		        with open(f"/proc/{sys.argv[1]}/mem", "rb") as memory:
		            memory.seek(start)
		            assert b"verysecretword" not in memory.read(end - start), line
	END
	kill -INT "$child"
	kill -TERM "$child"
	kill -HUP "$child"
	expect_eq "$(status /health)" "200 OK"
	kill -KILL "$PID"
	within 20 process_gone "$child"
}

# One that ends is told, and does not end the process.
case_child_ends() {
	listening_job
	kill -KILL "$(child)"
	within 5 grep -q 'WARNING.*metrics_listen: its process .* ended (signal 9); the next one starts within a minute' bg.err
	orders 4 6
	tick q
	within 10 dst_gives 6 "select count(*) from orders"
	kill -TERM "$PID"
	expect_end 0 5
}

case_address_in_use() {
	listening_job
	cp job.ini other.ini
	expect_exit 2 "$TDISPATCH" other.ini --set job_name=other --set pidfile=other.pid
	expect_eq "$(grep -c . err)" 2 "lines"
	expect_match err "ERROR other: cannot listen on metrics_listen 127.0.0.1:$PORT: another process listens there"
	expect_exit 2 "$TDISPATCH" -d other.ini --set job_name=other --set pidfile=other.pid
	expect_exit 0 "$TDISPATCH" --once other.ini --set pidfile=other.pid --set consumer_name=other --set dest_table=orders
	expect_match err "WARNING job: cannot listen on metrics_listen"
	expect_exit 0 "$TDISPATCH" --check job.ini
	expect_match out "^ok +metrics_listen 127.0.0.1:$PORT: the running process listens there"
	expect_exit 0 "$TDISPATCH" --check other.ini --set pidfile=other.pid
	expect_match out "^warning +metrics_listen 127.0.0.1:$PORT: another process listens there"
	expect_eq "$(status /health)" "200 OK"
}

case_bad_addresses() {
	local value
	orders_pair
	for value in 9187 :9187 localhost:9187 127.0.0.1 127.0.0.1:0 127.0.0.1:65536 ::1:9187 '[::1]' x.sock '*:9187'; do
		expect_exit 2 "$TDISPATCH" job.ini --set "metrics_listen=$value"
		expect_match err "--set metrics_listen: neither an address with a port"
		expect_eq "$(grep -c . err)" 1 "lines"
	done
	expect_exit 2 "$TDISPATCH" job.ini --set metrics_listen=192.0.2.1:9187
	expect_match err "cannot listen on metrics_listen 192.0.2.1:9187: "
	expect_exit 2 "$TDISPATCH" job.ini --set metrics_listen=/nofolder/x
	expect_match err "cannot listen on metrics_listen /nofolder/x: No such file"
	: >file
	expect_exit 2 "$TDISPATCH" job.ini --set metrics_listen="$PWD/file"
	expect_match err "another process listens there|Address already in use"
	expect_eq "$(ls -l file | cut -c 1)" - "the file that was there"
}

case_ipv6() {
	grep -q . /proc/net/if_inet6 2>/dev/null || skip "no IPv6"
	PORT=$(free_port)
	orders_pair "metrics_listen=[::1]:$PORT"
	start job.ini
	within 10 python3 -c "import urllib.request; urllib.request.urlopen('http://[::1]:$PORT/metrics')"
	kill -TERM "$PID"
	expect_end 0 5
}

case_unix_socket() {
	orders_pair "metrics_listen=$PWD/x.sock"
	start job.ini
	within 10 ask_local x.sock
	expect_eq "$(stat -c %a x.sock)" 666
	kill -KILL "$PID"
	within 5 process_gone "$PID"
	[ -S x.sock ] || fail "a killed process has removed it"
	start job.ini
	within 10 ask_local x.sock
	expect_exit 2 "$TDISPATCH" job.ini --set pidfile=other.pid --set job_name=other
	kill -TERM "$PID"
	expect_end 0 5
	expect_eq "$(ls x.sock 2>/dev/null)" ""
}

ask_local() {
	python3 - "$1" <<-'END' 2>/dev/null
		import socket, sys
		s = socket.socket(socket.AF_UNIX)
		s.connect(sys.argv[1])
		s.sendall(b"GET /health HTTP/1.0\r\n\r\n")
		assert s.recv(4096).startswith(b"HTTP/1.1 200")
	END
}

# The child of a killed process ends a moment after it: who starts in that moment waits for it.
case_start_after_a_kill() {
	listening_job
	kill -KILL "$PID"
	within 5 process_gone "$PID"
	within 5 port_is_free "$PORT"
	python3 -c "import os, socket, time; s = socket.socket(); s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1); s.bind(('127.0.0.1', $PORT)); s.listen()
while not os.path.exists('begun'): time.sleep(0.02)
time.sleep(0.7)" &
	STARTED+=($!)
	within 20 eval '! port_is_free '"$PORT"
	start job.ini
	: >begun
	within 10 eval '[ "$(status /health 2>/dev/null)" = "200 OK" ]'
	kill -TERM "$PID"
	expect_end 0 5
}

# To another port, to one that is taken, to none, and back.
case_reload() {
	local first second
	listening_job loop_delay=60
	first=$PORT
	second=$(free_port)
	config "metrics_listen=127.0.0.1:$second" loop_delay=60
	expect_exit 0 "$TDISPATCH" -r job.ini
	PORT=$second
	within 10 eval '[ "$(status /health 2>/dev/null)" = "200 OK" ]'
	PORT=$first
	get /health 2>/dev/null && fail "the old address still answers"
	python3 -c "import socket, time; s = socket.socket(); s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1); s.bind(('127.0.0.1', $first)); s.listen(); time.sleep(60)" &
	STARTED+=($!)
	within 10 eval '! port_is_free '"$first"
	config "metrics_listen=127.0.0.1:$first" loop_delay=60
	expect_exit 0 "$TDISPATCH" -r job.ini
	within 10 grep -q "not reloaded, the old config stays: cannot listen on metrics_listen 127.0.0.1:$first" bg.err
	PORT=$second
	within 10 eval '[ "$(status /health 2>/dev/null)" = "200 OK" ]'
	config loop_delay=60
	expect_exit 0 "$TDISPATCH" -r job.ini
	within 10 eval '! get /health 2>/dev/null'
	kill -TERM "$PID"
	expect_end 0 5
}

# --once beside a daemon of the same config leaves the address to it.
case_once_beside_a_daemon() {
	listening_job
	expect_exit 0 "$TDISPATCH" --once job.ini --set pidfile= --set state_file=job.pid.state
	expect_no_match err "cannot listen"
	expect_eq "$(status /health)" "200 OK"
}

# As process 1 in a root that has nothing, not even /proc.
case_process_1_in_an_empty_root() {
	[ -z "${STATIC##*dev}" ] && skip "no static program"
	unshare -pf --kill-child chroot / true 2>/dev/null || skip "no namespaces here"
	PORT=$(free_port)
	orders_pair
	mkdir -p root
	cp "$STATIC" root/tdispatch
	TDISPATCH_JOB_NAME=j unshare -pf --kill-child chroot root /tdispatch --set queue_name=q --set src_db="host=127.0.0.1 port=1" \
		--set dst_db="host=127.0.0.1 port=1" --set dest_table=t --set "metrics_listen=127.0.0.1:$PORT" >bg.out 2>bg.err &
	PID=$!
	STARTED+=($PID)
	within 10 eval '[ "$(status /metrics 2>/dev/null)" = "200 OK" ]'
	kill -KILL "$PID"
	within 5 eval '! get /metrics 2>/dev/null'
}

# The process itself grows by its two pages alone.
case_memory() {
	local rss with
	orders_pair
	PROGRAM=$STATIC running_rss rss 0
	config "metrics_listen=127.0.0.1:$(free_port)"
	PROGRAM=$STATIC running_rss with 50000
	[ $((with - rss)) -lt 1024 ] || fail "$with kB, and $rss kB without it"
	told "$rss kB, with metrics_listen $with kB"
}

running_rss() {
	start job.ini
	src "insert into orders select $2 + i, date '2026-01-01' + i % 5, repeat('x', 50) from generate_series(1, 20000) i"
	tick q
	within 20 dst_gives 20000 "select count(*) from orders where id > $2"
	sleep 1.5
	eval "$1=$(sed -n 's/^VmHWM:[^0-9]*\([0-9]*\).*/\1/p' "/proc/$PID/status")"
	kill -TERM "$PID"
	expect_end 0 10
}

run_cases
