# The image, and its program as process 1 of an empty root.
. "$(dirname "$0")/../cases.sh"
. "$(dirname "$0")/engine.sh"

case_files() {
	expect_eq "$(cd "$IMAGE/root" && find . ! -type d | sort | tr '\n' ' ')" "./etc/ssl/certs/ca-certificates.crt ./tdispatch "
	expect_eq "$(cd "$IMAGE/root" && find . -type d | sort | tr '\n' ' ')" ". ./etc ./etc/ssl ./etc/ssl/certs "
	expect_match "$IMAGE/root/etc/ssl/certs/ca-certificates.crt" "BEGIN CERTIFICATE"
}

case_under_6_mb() {
	local bytes
	bytes=$(find "$IMAGE/root" -type f -printf '%s\n' | awk '{ n += $1 } END { print n }')
	[ "$bytes" -lt 6000000 ] || fail "$bytes bytes"
}

case_what_it_says_of_itself() {
	[[ $(image_says 'c["User"]') =~ ^[1-9][0-9]*:[1-9][0-9]*$ ]] || fail "its user is $(image_says 'c["User"]')"
	expect_eq "$(image_says 'c["Entrypoint"]')" /tdispatch
	expect_eq "$(image_says 'c["Healthcheck"]["Test"]')" $'CMD\n/tdispatch\n--health'
}

# A server that wants TLS and a password, both sides by TCP; the connection strings are secrets in
# files that only the image's user can read, the source's certificate is checked by sslrootcert, the
# target's by the system's bundle, which SSL_CERT_FILE names.
container_pair() {
	local tls="host=127.0.0.1 port=$PGPORT user=tls_role password='p:geheim@ 1\\'2' sslmode=verify-full"
	secure_server
	orders_pair
	mkdir secrets
	cp server.crt secrets/ca.crt
	echo "$tls dbname=$SRC sslrootcert=/run/secrets/ca.crt" >secrets/src_db
	echo "$tls dbname=$DST sslrootcert=system" >secrets/dst_db
	chown -R "$(image_says 'c["User"]')" secrets
	chmod -R u=rX,go= secrets
	cat >job.env <<-END
		TDISPATCH_JOB_NAME=job
		TDISPATCH_SRC_DB_FILE=/run/secrets/src_db
		TDISPATCH_DST_DB_FILE=/run/secrets/dst_db
		TDISPATCH_QUEUE_NAME=q
		TDISPATCH_DEST_TABLE=orders
		TDISPATCH_PART_FIELD=day
		TDISPATCH_PART_TEMPLATE=$PARTITION_OF ${SLOWLY:-}
		TDISPATCH_LOOP_DELAY=0.1
		SSL_CERT_FILE=/run/secrets/ca.crt
	END
	RUN=(--read-only --env-file job.env -v "$WORK/secrets:/run/secrets:ro" --tmpfs /run/tdispatch)
}

# What this version cannot do is not asked for.
has() {
	"$IMAGE/root/tdispatch" --help | grep -q -e "$1"
}

healthy() {
	! has --health || docker exec "$1" /tdispatch --health
}

expect_quiet_log() {
	docker logs "$1" >said
	expect_no_match said 'error|geheim'
}

case_process_1_and_its_user() {
	local pid
	container_pair
	docker run -d --name c "${RUN[@]}" tdispatch
	pid=$(process1 "$WORK/container.c")
	expect_eq "$(sed -n 's/^NSpid:.*\t//p' "/proc/$pid/status")" 1
	expect_eq "$(sed -n 's/^Uid:\t\([0-9]*\)\t.*/\1/p' "/proc/$pid/status")" 65532
	expect_eq "$(tr '\0' '\n' <"/proc/$pid/environ" | grep -Ev '^(TDISPATCH_|SSL_CERT_FILE=|PATH=)')" ""
	if touch "/proc/$pid/root/x" 2>/dev/null; then fail "its root can be written"; fi
	docker stop c
}

# By what a certificate that nobody vouches for leads to.
case_tls_is_checked() {
	container_pair
	docker run "${RUN[@]}" tdispatch --check
	sed -i /SSL_CERT_FILE/d job.env
	if docker run "${RUN[@]}" tdispatch --check >said 2>&1; then fail "a strange certificate was taken"; fi
	expect_match said "certificate verify failed"
	expect_no_match said geheim
	docker run "${RUN[@]}" -v "$WORK/secrets/ca.crt:/etc/ssl/certs/ca-certificates.crt:ro" tdispatch --check
}

# Stopped in the middle of a batch it leaves nothing of it, and goes on where it was.
case_stop_and_start() {
	local began
	SLOWLY=$SLOW container_pair
	slow_target 0.005
	orders 1 50
	tick q
	docker run -d --name c "${RUN[@]}" tdispatch
	within 30 dst_gives 50 "select count(*) from orders"
	expect_eq "$(src "select bool_and(ssl) from pg_stat_ssl join pg_stat_activity using (pid) where usename = 'tls_role'")" t
	within 10 healthy c
	dst "select setval('seen', 1)" >/dev/null
	orders 51 2000 2026-02-01
	tick q
	within 30 rows_are_coming
	began=$(date +%s%N)
	docker stop c
	[ $((($(date +%s%N) - began) / 1000000)) -lt 2000 ] || fail "ended after more than 2 s"
	expect_rows 50
	expect_quiet_log c
	dst "create or replace function slow() returns trigger language plpgsql as 'begin return new; end'"
	docker run -d --name c "${RUN[@]}" tdispatch
	within 60 dst_gives 2000 "select count(*) from orders"
	expect_rows 2000
	within 10 healthy c
	docker stop c
	expect_quiet_log c
}

sudo() {
	"$@"
}

# README's recipe, but for the servers.
case_readme() {
	local at="host=127.0.0.1 port=$PGPORT" who="user=tls_role password='p:geheim@ 1\\\\'2' sslmode=verify-full sslrootcert=\\/run\\/secrets\\/ca.pem"
	container_pair
	rm -r secrets
	dst "drop table orders; create table orders (id int, order_date date, note text) partition by range (order_date)"
	src "alter table orders rename day to order_date; drop trigger to_queue on orders; select pgq.create_queue('orders');
		create trigger to_queue after insert on orders for each row execute function pgq.logutriga('orders')" >/dev/null
	sed '1,/^## In a container/d; /^## /,$d' "$TOP/README.md" | sed '1,/^```sh/d; /^```/,$d' >recipe
	[ -s recipe ] || fail "README.md has no recipe"
	"$IMAGE/root/tdispatch" --ini | sed "s/^src_db.*/src_db = $at dbname=$SRC $who/; s/^dst_db.*/dst_db = $at dbname=$DST $who/" >orders.ini
	sed '/^docker logs/,$d' recipe >begin
	sed -n '/^docker logs/,$p' recipe >end
	sed -i 's/^mkdir.*/&; cp server.crt secrets\/ca.pem/' begin
	. ./begin
	orders 1 5
	tick orders
	within 30 dst_gives 5 "select count(*) from orders"
	. ./end
}

run_cases
