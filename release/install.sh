#!/bin/sh
# Installs, upgrades and removes the Docker logging driver logspool. Run it as root:
#   ./install.sh [KEY=VALUE...]   install or upgrade; KEY=VALUE sets the plugin's settings
#   ./install.sh uninstall        remove it, unless lines are undelivered (--drop loses them)
# It can run any number of times. An upgrade keeps the settings and every line. Variables:
# PLUGIN (logspool), BIN_DIR (/usr/local/bin), WAIT (60: seconds to wait for delivery).
set -eu
here=$(cd "$(dirname "$0")" && pwd)
plugin=${PLUGIN:-logspool} bin=${BIN_DIR:-/usr/local/bin} wait=${WAIT:-60}
new=$here/plugin command=install
say() { echo "logspool: $*"; }
die() { echo "logspool: $*" >&2; exit 1; }

case ${1:-} in
-h | --help) sed -n '2,6s/^# //p' "$0"; exit ;;
uninstall) command=${2:-uninstall}; [ $# -le 2 ] || die "$0 uninstall takes only --drop" ;;
*) for kv; do # a mistake must not stop the plugin
	key=${kv%%=*}
	if [ "$key" = "$kv" ] || ! grep -qF "{\"name\": \"${key%.source}\"" "$new/config.json"; then
		die "$kv is not KEY=VALUE with the name of a setting: see $0 --help"
	fi
done ;;
esac
case $command in install | uninstall | --drop) ;; *) die "$0 uninstall $command: only --drop is known" ;; esac
[ "$wait" -ge 0 ] 2>/dev/null || die "WAIT=$wait is not a number of seconds"
[ "$(id -u)" = 0 ] || die "run this as root"
command -v docker >/dev/null || die "there is no docker command: install Docker Engine first"
root=$(docker info --format '{{.DockerRootDir}}') || root=''
[ -n "$root" ] || die "the Docker engine does not answer: start it (systemctl start docker)"
[ -d "$root" ] || die "the Docker engine is on another host: run this there"
"$here/logspool" --version >/dev/null 2>&1 || die "this release is for another architecture than $(uname -m)"
inspect() { docker plugin inspect --format "$1" "$plugin" 2>/dev/null; }
enabled() { [ "$(inspect '{{.Enabled}}')" = true ]; }

# undelivered succeeds if lines wait for delivery, and lists their containers.
undelivered() {
	status=0
	"$here/logspool" spool ls --undelivered --plugin "$plugin" || status=$?
	[ $status -lt 2 ] || die "cannot see whether lines are undelivered"
	[ $status = 1 ]
}
await_delivery() { # a disabled plugin delivers nothing
	while enabled && [ "$wait" -gt 0 ] && undelivered >/dev/null; do sleep 1; wait=$((wait - 1)); done
}
# start_plugin sets no timeout: with one, dockerd ends every docker logs -f after that time.
start_plugin() { docker plugin enable --timeout 0 "$plugin" >/dev/null; }
set_mounts() { # an upgrade resets them
	printf '%s\n' "$mounts" | while read -r kv; do [ -z "$kv" ] || docker plugin set "$plugin" "$kv"; done
}
# finish runs whatever happens: without the plugin, containers cannot be started, and those
# that print much wait.
server='' out='' mounts='' stopped=''
finish() {
	trap '' HUP INT TERM
	if [ -n "$stopped" ] && ! enabled; then
		set_mounts || say "$plugin has other mounts than before: docker plugin inspect $plugin" >&2
		if start_plugin; then
			say "$plugin runs again" >&2
		else
			say "$plugin is disabled: docker plugin enable --timeout 0 $plugin" >&2
		fi
	fi
	[ -z "$server" ] || kill "$server" 2>/dev/null || :
	[ -z "$out" ] || rm -f "$out"
}
trap finish EXIT
trap 'exit 130' HUP INT TERM

if id=$(inspect '{{.Id}}'); then
	[ "$(inspect '{{.Config.Interface.Socket}}')" = logspool.sock ] || die "$plugin is another plugin: choose a name with PLUGIN=NAME"
fi
if [ "$command" != install ]; then
	if [ -n "$id" ]; then
		if [ "$command" != --drop ]; then
			await_delivery
			! undelivered || die "these lines are not delivered: deliver them (logspool status says what is wrong), or lose them with: $0 uninstall --drop"
		fi
		if enabled; then
			docker plugin disable "$plugin" >/dev/null || die "$plugin is in use: stop the containers with this driver first"
			stopped=yes
			[ "$command" = --drop ] || ! undelivered || die "more lines came in: try again"
		fi
		docker plugin rm "$id" >/dev/null
		stopped=''
		say "removed $plugin"
	fi
	rm -f "$bin/logspool" /usr/share/bash-completion/completions/logspool
	exit
fi

# serve offers the new plugin on a loopback port, because dockerd upgrades only from a registry.
serve() {
	out=$(mktemp)
	"$here/logspool" serve-plugin "$new" >"$out" &
	server=$!
	until [ -s "$out" ]; do kill -0 $server || die "cannot serve the plugin"; sleep 0.1; done
	ref=$(cat "$out")
}

if [ -z "$id" ]; then
	serve
	docker plugin install --grant-all-permissions --disable --alias "$plugin" "$ref" "$@" >/dev/null
	start_plugin
	say "installed $plugin: docker run --log-driver $plugin ..."
else
	# Each mount is one line NAME.source=SOURCE, like a setting. Source is a pointer, which println would print.
	now=$(inspect '{{range .Settings.Env}}{{println .}}{{end}}{{range .Settings.Mounts}}{{.Name}}.source={{.Source}}{{println}}{{end}}')
	done=''
	enabled || done=enabled
	for kv; do printf '%s\n' "$now" | grep -qxF -e "$kv" || done='changed the settings of'; done
	cmp -s "$new/rootfs/logspool" "$root/plugins/$id/rootfs/logspool" || done=upgraded
	if [ -z "$done" ]; then
		say "$plugin is up to date"
	else
		mounts=$(printf '%s\n' "$now" | grep '\.source=' || :)
		await_delivery
		[ "$done" != upgraded ] || serve
		if enabled; then
			stopped=yes
			docker plugin disable --force "$plugin" >/dev/null
		fi
		if [ "$done" = upgraded ]; then
			docker plugin upgrade --grant-all-permissions --skip-remote-check "$plugin" "$ref" >/dev/null || die "the upgrade failed"
			set_mounts
		fi
		[ $# = 0 ] || docker plugin set "$plugin" "$@"
		start_plugin
		say "$done $plugin: containers kept running, and undelivered lines are kept"
	fi
fi
mkdir -p "$bin"
install -m 0755 "$here/logspool" "$bin/.logspool.new"
mv -f "$bin/.logspool.new" "$bin/logspool"
[ ! -d /usr/share/bash-completion/completions ] || "$bin/logspool" completion bash >/usr/share/bash-completion/completions/logspool
say "installed $bin/logspool: try $bin/logspool status"
