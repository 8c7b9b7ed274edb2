# A Debian base system by debootstrap. To be sourced by bash, after cluster.sh; $LOG is a file.

SUITE=trixie

# quietly COMMAND...: its output is shown only when it fails.
quietly() {
	"$@" >"$LOG" 2>&1 || { tail -n 40 "$LOG" >&2; die "failed: $*"; }
}

mirror() {
	apt-get indextargets --format '$(REPO_URI)' 'Created-By: Packages' | grep -i debian | grep -v security | head -n 1
}

# debian_base FOLDER [PACKAGE,...]: makes it there.
debian_base() {
	rm -rf "$1"
	quietly debootstrap --variant=minbase ${2:+"--include=$2"} $SUITE "$1" "$(mirror)"
}
