# The Debian package: what is in it, and README's recipe with it in a Debian of its own.
. "$(dirname "$0")/../cases.sh"

UNIT=usr/lib/systemd/system/tdispatch@.service

case_lintian() {
	expect_exit 0 lintian --allow-root --fail-on error "$DEB"
	expect_no_match out '^[EW]:'
}

# Whenever and by whomever it is built.
case_reproducible() {
	cp "$DEB" first.deb
	(umask 077 && TZ=Asia/Tokyo LC_ALL=C.UTF-8 "$TOP/dist/deb.sh" "$VERSIONS" >/dev/null)
	cmp first.deb "$DEB" || fail "two builds differ"
}

case_files() {
	dpkg-deb -x "$DEB" root
	expect_eq "$(cd root && find . ! -type d | LC_ALL=C sort | tr '\n' ' ')" "./usr/bin/tdispatch ./$UNIT \
./usr/share/bash-completion/completions/tdispatch \
./usr/share/doc/tdispatch/CHANGELOG.md.gz ./usr/share/doc/tdispatch/README.md.gz ./usr/share/doc/tdispatch/changelog.gz \
./usr/share/doc/tdispatch/copyright ./usr/share/doc/tdispatch/examples/cube_dispatcher.md \
./usr/share/doc/tdispatch/examples/queue_loader.md ./usr/share/doc/tdispatch/examples/tdispatch.ini \
./usr/share/fish/vendor_completions.d/tdispatch.fish ./usr/share/lintian/overrides/tdispatch \
./usr/share/man/man1/tdispatch.1.gz ./usr/share/man/man5/tdispatch.ini.5.gz ./usr/share/man/man7/tdispatch-examples.7.gz ./usr/share/zsh/vendor-completions/_tdispatch "
	cmp root/usr/bin/tdispatch "$TDISPATCH"
	expect_eq "$(root/usr/bin/tdispatch --ini)" "$(cat root/usr/share/doc/tdispatch/examples/tdispatch.ini)"
	for word in 'ISC licence' musl PostgreSQL Apache; do
		expect_match root/usr/share/doc/tdispatch/copyright "$word"
	done
}

# The control file has the revisions that the program prints.
case_names_what_is_linked_in() {
	"$TDISPATCH" --version -v | sed -n 's/^  libpq \([0-9]*\)/  postgresql-\1 \1/; s/^  \([^ ]*\) [^ ]* (Debian \(.*\)),.*/\1 (= \2)/p' | paste -sd , | sed 's/,/, /g' >wanted
	expect_eq "$(dpkg-deb -f "$DEB" Static-Built-Using)" "$(cat wanted)"
}

# ---- the unit

# The unit as a file tdispatch@.service whose program is ours.
unit_here() {
	sed "s#/usr/bin/tdispatch#$TDISPATCH#" "$TOP/dist/tdispatch@.service" >tdispatch@.service
}

case_unit_verifies() {
	unit_here
	expect_exit 0 systemd-analyze verify --man=no "$WORK/tdispatch@.service"
	expect_eq "$(cat out err)" ""
	expect_exit 0 systemd-analyze security --offline=yes --no-pager --threshold=20 "$WORK/tdispatch@.service"
}

# members SET...: the system calls of systemd's sets, those within them too.
members() {
	local set
	for set; do
		systemd-analyze syscall-filter "$set" | sed -n 's/^ *//; /^[a-z@]/p' | grep -vFx -e "$set" >"members.$set"
		members $(grep '^@' "members.$set")
		grep -v '^@' "members.$set"
	done
}

# The unit kills what calls anything else, so every call of a run, also with TLS, must be among these.
case_unit_allows_its_system_calls() {
	can_trace
	expect_eq "$(grep '^SystemCallFilter' "$TOP/dist/tdispatch@.service")" "SystemCallFilter=@system-service
SystemCallFilter=~@privileged @resources"
	members @system-service | sort -u >service
	members @privileged @resources | sort -u >taken
	comm -23 service taken >allowed
	secure_server
	orders_pair logfile=job.log part_keep='90 days' state_file=job.state metrics_file=job.prom
	orders 1 3
	tick q
	PGPASSWORD='p:geheim@ 1'"'2" expect_exit 0 strace -f -qq -o calls "$TDISPATCH" --once job.ini \
		--set "src_db=host=localhost port=$PGPORT user=tls_role dbname=$SRC sslmode=verify-full sslrootcert=$WORK/server.crt"
	expect_rows 3
	sed -n 's/^[0-9]* *\([a-z0-9_]*\)(.*/\1/p' calls | sort -u >called
	[ "$(wc -l <called)" -gt 20 ] || fail "only $(wc -l <called) different calls were seen"
	expect_eq "$(comm -23 called allowed | tr '\n' ' ')" "" "calls that are not allowed"
}

# ---- installed

# What the recipe calls and a chroot has not: sudo, an editor, make, and systemctl for this unit.
stand_ins() {
	cat >root/usr/local/bin/sudo <<-'END'
		#!/bin/sh
		[ "$1" != -u ] || { user=$2; shift 2; exec setpriv --reuid="$user" --regid="$user" --init-groups -- "$@"; }
		exec "$@"
	END
	cat >root/usr/local/bin/editor <<-END
		#!/bin/sh
		sed -i 's/^src_db.*/src_db = host=127.0.0.1 port=$PGPORT user=postgres dbname=$SRC/
			s/^dst_db.*/dst_db = host=127.0.0.1 port=$PGPORT user=postgres dbname=$DST/
			s/^part_field.*/part_field = day/; s/^# \(state_file\|loop_delay\|logfile\)/\1/' "\$1"
	END
	cat >root/usr/bin/systemctl <<-'END'
		#!/bin/sh
		echo "$*" >>/systemctl.log
		unit=/usr/lib/systemd/system/tdispatch@.service
		value() { sed -n "s/^$1=//p" $unit; }
		case $1,$2 in
		enable,--now)
			user=$(value User)
			install -d -o "$user" -g "$user" "/run/$(value RuntimeDirectory)" "/var/log/$(value LogsDirectory)"
			setpriv --reuid="$user" --regid="$user" --init-groups --no-new-privs --bounding-set=-all \
				$(value ExecStart | sed "s/%i/${3#*@}/") >/run/out 2>&1 </dev/null &
			echo $! >/run/unit.pid
			;;
		reload,*) MAINPID=$(cat /run/unit.pid); eval "$(value ExecReload)" ;;
		status,*) kill -0 "$(cat /run/unit.pid)" ;;
		stop,*) [ ! -f /run/unit.pid ] || kill "$(cat /run/unit.pid)" ;;
		esac
	END
	ln -s /bin/true root/usr/local/bin/make
	chmod +x root/usr/local/bin/* root/usr/bin/systemctl
}

# A Debian with the package's file; it takes systemd to be there.
new_root() {
	cp -a "$TOP/build/deb/base" root
	mkdir -p root/run/systemd/system root/build/dist
	cp "$DEB" root/build/dist/
	stand_ins
	find root/usr root/etc root/var/lib/systemd ! -type d 2>/dev/null | sort >before
}

IN_ROOT=(env -i PATH=/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin DEBIAN_FRONTEND=noninteractive LC_ALL=C.UTF-8 chroot root)

# README's commands as they stand there.
recipe() {
	sed -n '/^## On an appliance host/,/^## Once/p' "$TOP/README.md" | sed -n '/^```sh/,/^```$/p' | grep -v '^```'
}

case_recipe() {
	new_pair "$CASE"
	src "
		create table orders (id int primary key, day date, note text);
		create trigger to_queue after insert on orders for each row execute function pgq.logutriga('orders')"
	dst "create table orders (id int, day date, note text) partition by range (day)"
	new_root
	{ say "set -ex"; recipe; } >root/recipe.sh
	expect_match root/recipe.sh 'systemctl enable'
	LIMIT=200 expect_exit 0 "${IN_ROOT[@]}" bash /recipe.sh
	STARTED+=("$(cat root/run/unit.pid)")
	orders 1 3
	tick orders
	within 20 dst_gives 3 "select count(*) from orders"
	expect_match root/var/log/tdispatch/orders.log 'config /etc/tdispatch/orders\.ini read again'
	expect_eq "$("${IN_ROOT[@]}" stat -c '%U %G %a' /etc/tdispatch)" "root tdispatch 750"
	expect_exit 0 "${IN_ROOT[@]}" sudo -u tdispatch tdispatch --health /etc/tdispatch/orders.ini
	expect_exit 1 "${IN_ROOT[@]}" sudo -u nobody cat /etc/tdispatch/orders.ini
	expect_exit 0 "${IN_ROOT[@]}" dpkg --verify tdispatch
	expect_eq "$(cat out)" ""
	expect_exit 0 "${IN_ROOT[@]}" dpkg -r tdispatch
	within 10 process_gone "$(cat root/run/unit.pid)"
	expect_match root/systemctl.log '^stop tdispatch@\*\.service'
	expect_exit 0 "${IN_ROOT[@]}" test -s /etc/tdispatch/orders.ini
}

# Installing starts and enables nothing, another time it starts anew what runs; purged, only the
# user is left.
case_installed_and_purged() {
	new_root
	expect_exit 0 "${IN_ROOT[@]}" dpkg -i "/build/dist/$(basename "$DEB")"
	expect_eq "$(cat root/systemctl.log)" "daemon-reload
try-restart tdispatch@*.service"
	expect_eq "$(find root/etc/systemd -name '*tdispatch*')" ""
	expect_exit 0 "${IN_ROOT[@]}" dpkg -i "/build/dist/$(basename "$DEB")"
	expect_eq "$(grep -c '^enable\|^start' root/systemctl.log)" 0
	expect_exit 0 "${IN_ROOT[@]}" dpkg --purge tdispatch
	[ ! -e root/etc/tdispatch ] || fail "/etc/tdispatch is left"
	find root/usr root/etc root/var/lib/systemd ! -type d 2>/dev/null | sort >after
	expect_eq "$(comm -3 before after | tr -d '\t' | grep -v '^root/etc/[a-z]*-$')" ""
}

run_cases
