#!/bin/sh
# Builds build/dist/tdispatch_VERSION_ARCH.deb from ./tdispatch. The same bits for the same sources.
#
#	dist/deb.sh VERSIONS
#
# VERSIONS is what deps/build.sh wrote beside the libraries.
set -eu
cd "$(dirname "$0")/.."
umask 022

VERSIONS=$1
VERSION=$(sed -n 's/^#define TDISPATCH_VERSION "\(.*\)"/\1/p' base/base.h)
SOURCE_DATE_EPOCH=$(date -d "$(sed -n 's/^ -- .*>  //p' dist/debian/changelog | head -n 1)" +%s)
export SOURCE_DATE_EPOCH
ARCH=$(dpkg --print-architecture)
OUT=build/dist/tdispatch_${VERSION}_$ARCH.deb
ROOT=build/dist/deb
DOC=$ROOT/usr/share/doc/tdispatch

head -n 1 dist/debian/changelog | grep -qF "($VERSION)" || { echo "dist/debian/changelog is not of version $VERSION" >&2; exit 1; }

# put MODE TO FILE...: the files as one
put() {
	mkdir -p "$(dirname "$2")"
	mode=$1 to=$2
	shift 2
	case $to in
	*.gz) cat "$@" | gzip -9n >"$to" ;;
	*) cat "$@" >"$to" ;;
	esac
	chmod "$mode" "$to"
}

# The field that names Debian's source packages of the libraries; nothing for sources that are not Debian's.
built_using() {
	awk '$3 != "-" { printf "%s%s (= %s)", all++ ? ", " : "Static-Built-Using: ", $1 == "libpq" ? "postgresql-" int($2) : $1, $3 }
		END { if (all) print "" }' "$VERSIONS"
}

control() {
	cat <<-TEXT
		Package: tdispatch
		Version: $VERSION
		Architecture: $ARCH
		Maintainer: $(sed -n 's/^ -- \(.*>\)  .*/\1/p' dist/debian/changelog | head -n 1)
		Installed-Size: $(du -sk --apparent-size $ROOT | cut -f 1)
		Depends: adduser
		$(built_using)
		Section: database
		Priority: optional
		Description: PgQ consumer that writes events into partitioned tables
		 tdispatch reads row events from a PgQ queue in one PostgreSQL database and
		 writes them as rows into tables of another, one table for each hour, day,
		 week, month or year. No event is lost and none is written twice.
		 .
		 Nothing runs until tdispatch@NAME.service is enabled, which reads
		 /etc/tdispatch/NAME.ini.
	TEXT
}

rm -rf $ROOT
put 755 $ROOT/usr/bin/tdispatch tdispatch
put 644 $ROOT/usr/share/man/man1/tdispatch.1.gz dist/man/tdispatch.1
put 644 $ROOT/usr/share/man/man5/tdispatch.ini.5.gz dist/man/tdispatch.ini.5
put 644 $ROOT/usr/share/man/man7/tdispatch-examples.7.gz dist/man/tdispatch-examples.7
put 644 $ROOT/usr/lib/systemd/system/tdispatch@.service dist/tdispatch@.service
dist/completions.sh $ROOT/usr/share vendor-completions
put 644 $DOC/examples/tdispatch.ini tdispatch.ini
put 644 $DOC/examples/cube_dispatcher.md dist/examples/cube_dispatcher.md
put 644 $DOC/examples/queue_loader.md dist/examples/queue_loader.md
put 644 $DOC/copyright dist/debian/copyright LICENSE dist/licenses/musl.txt dist/licenses/postgresql.txt
put 644 $DOC/changelog.gz dist/debian/changelog
put 644 $DOC/CHANGELOG.md.gz CHANGELOG.md
put 644 $DOC/README.md.gz README.md
put 644 $ROOT/usr/share/lintian/overrides/tdispatch dist/debian/lintian-overrides
mkdir -p $ROOT/etc/tdispatch
for script in postinst prerm postrm; do
	put 755 $ROOT/DEBIAN/$script dist/debian/$script
done
(cd $ROOT && find usr -type f | LC_ALL=C sort | xargs md5sum) >$ROOT/DEBIAN/md5sums
control | sed "/^$/d" >$ROOT/DEBIAN/control
chmod -R u=rwX,go=rX $ROOT
dpkg-deb --root-owner-group --uniform-compression -Zxz --build $ROOT "$OUT"
rm -rf $ROOT
