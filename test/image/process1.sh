#!/bin/bash
# process1.sh FOLDER USER COMMAND...: in new namespaces, makes FOLDER/root the root folder, read-only,
# with FOLDER/mounts in it, and becomes COMMAND with FOLDER/env for its environment.
set -e

FOLDER=$1 ROOT=$1/root
mount --bind "$ROOT" "$ROOT"
while IFS=: read -r source target _; do
	case $source in
	'') ;;
	tmpfs)
		mkdir -p "$ROOT$target"
		mount -t tmpfs -o mode=1777 tmpfs "$ROOT$target"
		;;
	*)
		mkdir -p "$ROOT${target%/*}"
		[ -d "$source" ] && mkdir -p "$ROOT$target" || : >"$ROOT$target"
		mount --bind -o ro "$source" "$ROOT$target"
		;;
	esac
done <"$FOLDER/mounts"
mount -o remount,bind,ro "$ROOT"
mapfile -t environment < <(grep . "$FOLDER/env")
cd "$ROOT"
exec env -i "${environment[@]}" "$(command -v chroot)" --userspec="$2" "$ROOT" "${@:3}"
