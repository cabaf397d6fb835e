#!/bin/sh
# Installs, upgrades and removes the Docker logging driver logspool. Run it as root:
#   ./install.sh [KEY=VALUE...]   install or upgrade; KEY=VALUE sets the plugin's settings
#   ./install.sh uninstall        remove it, unless lines are undelivered (--drop loses them)
# It can run any number of times. An upgrade keeps the settings and every line. Variables:
# PLUGIN (logspool), BIN_DIR (/usr/local/bin), WAIT (60: seconds to wait for delivery).
set -eu
here=$(cd "$(dirname "$0")" && pwd)
plugin=${PLUGIN:-logspool} bin=${BIN_DIR:-/usr/local/bin} wait=${WAIT:-60}
new=$here/plugin
say() { echo "logspool: $*"; }
die() { echo "logspool: $*" >&2; exit 1; }

[ "$(id -u)" = 0 ] || die "run this as root"
command -v docker >/dev/null || die "there is no docker command: install Docker Engine first"
root=$(docker info --format '{{.DockerRootDir}}') || root=''
[ -n "$root" ] || die "the Docker engine does not answer: start it (systemctl start docker)"
[ -d "$root" ] || die "the Docker engine is on another host: run this there"
"$here/logspool" --version >/dev/null 2>&1 || die "this release is for another architecture than $(uname -m)"
inspect() { docker plugin inspect --format "$1" "$plugin" 2>/dev/null; }

# undelivered succeeds if lines wait for delivery, and lists their containers.
undelivered() {
	status=0
	"$here/logspool" spool ls --undelivered --plugin "$plugin" || status=$?
	[ $status -lt 2 ] || die "cannot see whether lines are undelivered"
	[ $status = 1 ]
}
await_delivery() {
	until [ "$wait" -le 0 ] || ! undelivered >/dev/null; do sleep 1; wait=$((wait - 1)); done
}
# start_plugin sets no timeout: with one, dockerd ends every docker logs -f after that time.
start_plugin() { docker plugin enable --timeout 0 "$plugin" >/dev/null; }

case ${1:-} in
uninstall)
	if id=$(inspect '{{.Id}}'); then
		if [ "${2:-}" != --drop ]; then
			await_delivery
			! undelivered || die "these lines are not delivered: deliver them (logspool status says what is wrong), or lose them with: $0 uninstall --drop"
		fi
		if [ "$(inspect '{{.Enabled}}')" = true ]; then
			docker plugin disable "$plugin" >/dev/null || die "$plugin is in use: stop the containers with this driver first"
			if [ "${2:-}" != --drop ] && undelivered; then start_plugin; die "more lines came in: try again"; fi
		fi
		docker plugin rm "$id" >/dev/null
		say "removed $plugin"
	fi
	rm -f "$bin/logspool" /usr/share/bash-completion/completions/logspool
	exit ;;
-*) sed -n '2,6s/^# //p' "$0"; exit 2 ;;
esac

server='' out=$(mktemp)
trap '[ -z "$server" ] || kill "$server"; rm -f "$out"' EXIT
# serve offers the new plugin on a loopback port, because dockerd upgrades only from a registry.
serve() {
	"$here/logspool" serve-plugin "$new" >"$out" &
	server=$!
	until [ -s "$out" ]; do kill -0 $server || die "cannot serve the plugin"; sleep 0.1; done
	ref=$(cat "$out")
}

if ! id=$(inspect '{{.Id}}'); then
	serve
	docker plugin install --grant-all-permissions --disable --alias "$plugin" "$ref" "$@" >/dev/null
	start_plugin
	say "installed $plugin: docker run --log-driver $plugin ..."
else
	old=$root/plugins/$id/rootfs/logspool changed=''
	cmp -s "$new/rootfs/logspool" "$old" || changed=yes
	# Each mount is one line NAME.source=SOURCE, like a setting. Source is a pointer, which println would print.
	now=$(inspect '{{range .Settings.Env}}{{println .}}{{end}}{{range .Settings.Mounts}}{{.Name}}.source={{.Source}}{{println}}{{end}}')
	for kv; do printf '%s\n' "$now" | grep -qxF -e "$kv" || changed=${changed:-settings}; done
	if [ -z "$changed" ] && [ "$(inspect '{{.Enabled}}')" = true ]; then
		say "$plugin is up to date"
	else
		mounts=$(printf '%s\n' "$now" | grep '\.source=' || true)
		await_delivery
		[ "$(inspect '{{.Enabled}}')" = false ] || docker plugin disable --force "$plugin" >/dev/null
		if [ "$changed" = yes ]; then
			serve
			docker plugin upgrade --grant-all-permissions --skip-remote-check "$plugin" "$ref" >/dev/null || { start_plugin; die "the upgrade failed; the old version runs again"; }
			printf '%s\n' "$mounts" | while read -r kv; do # dockerd resets them
				[ -z "$kv" ] || docker plugin set "$plugin" "$kv"
			done
		fi
		[ $# = 0 ] || docker plugin set "$plugin" "$@"
		start_plugin
		say "upgraded $plugin; containers kept running, and no line was lost"
	fi
fi
install -m 0755 "$here/logspool" "$bin/.logspool.new"
mv -f "$bin/.logspool.new" "$bin/logspool"
[ ! -d /usr/share/bash-completion/completions ] || "$bin/logspool" completion bash >/usr/share/bash-completion/completions/logspool
say "installed $bin/logspool: try $bin/logspool status"
