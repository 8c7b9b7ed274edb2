# What a container engine does with the image's files, in docker's words, as far as the tests use
# them: process and mount namespaces of its own, a root folder that is read-only, the user and the
# environment that the image names and nothing more: no /proc, no /dev, no /tmp. The network is the
# machine's. To be sourced by the cases.
#
# A container is the folder $WORK/container.NAME: root, mounts, env, log, and the ids of its processes.

# image_says EXPRESSION: of the image's config, the dict c in Python; a list is printed a line each.
image_says() {
	python3 - "$1" "$IMAGE/image.json" <<-'END'
		import json, sys
		c = json.load(open(sys.argv[2]))["Docker"]["config"]
		value = eval(sys.argv[1])
		print("\n".join(map(str, value)) if isinstance(value, list) else value)
	END
}

# docker COMMAND ...: build, run, exec, logs, stop or rm.
docker() {
	"engine_$1" "${@:2}"
}

# It is built already.
engine_build() {
	expect_eq "$*" "-t tdispatch ."
}

# Sets background, name and command; writes the container's mounts and env.
run_options() {
	local option mounts=() env=() read_only=''
	background='' name=unnamed
	while [[ $1 == -* ]]; do
		option=$1
		shift
		case $option in
		-d) background=1 && continue ;;
		--rm) continue ;;
		--read-only) read_only=1 && continue ;;
		--name) name=$1 ;;
		-e) env+=("$1") ;;
		--env-file) mapfile -t -O ${#env[@]} env <"$1" ;;
		-v) mounts+=("$1") ;;
		--tmpfs) mounts+=("tmpfs:$1") ;;
		*) fail "the engine of the tests knows no $option" ;;
		esac
		shift
	done
	[ "$read_only" ] || fail "only a root that is read-only is tried"
	expect_eq "$1" tdispatch "the image"
	command=("${@:2}")
	folder=$WORK/container.$name
	mkdir -p "$folder"
	printf '%s\n' "${mounts[@]}" >"$folder/mounts"
	{ image_says 'c["Env"]' && printf '%s\n' "${env[@]}"; } >"$folder/env"
}

engine_run() {
	local background name folder command
	run_options "$@"
	command=("$(dirname "$0")/process1.sh" "$folder" "$(image_says 'c["User"]')" "$(image_says 'c["Entrypoint"]')" "${command[@]}")
	rm -rf "$folder/root"
	cp -a "$IMAGE/root" "$folder/root"
	if [ "$background" ]; then
		unshare --mount --pid --fork --kill-child "${command[@]}" </dev/null >>"$folder/log" 2>&1 &
		echo $! >"$folder/pid"
		STARTED+=($!)
		within 20 process1_runs "$folder"
	else
		unshare --mount --pid --fork --kill-child "${command[@]}" </dev/null
	fi
}

# The process that is number 1 in the container's namespace; prints its number in ours.
process1() {
	local pid
	pid=$(cat "$1/pid")
	tr -d ' ' <"/proc/$pid/task/$pid/children"
}

process1_runs() {
	local pid
	pid=$(process1 "$1") && [ "$(cat "/proc/$pid/comm")" = tdispatch ]
}

# engine_exec NAME COMMAND...
engine_exec() {
	local folder=$WORK/container.$1 user env
	user=$(image_says 'c["User"]')
	mapfile -t env <"$folder/env"
	env -i "${env[@]}" "$(command -v nsenter)" --target "$(process1 "$folder")" --mount --pid --root \
		--setuid "${user%:*}" --setgid "${user#*:}" "${@:2}"
}

engine_logs() {
	cat "$WORK/container.$1/log"
}

# The program must end by itself, with 0.
engine_stop() {
	local folder=$WORK/container.$1
	kill -TERM "$(process1 "$folder")"
	expect_end 0 10 "$(cat "$folder/pid")"
}

engine_rm() {
	rm -rf "$WORK/container.$1"
}
