#!/usr/bin/env bash
# Builds ops/Dockerfile and runs the service as ops/compose.yaml does, read-only and without capabilities, with podman:
# it must accept images (/readyz), pass the image's health check, write nothing but its volume, and end with status 0 when
# it is stopped.
#
#     ops/try_containers.sh BUNDLE     a folder or a .gonogo file; BASE=IMAGE is taken in place of python:3.11-slim
#
# Exit status 0: it did; 1: it did not; 69: this machine cannot say, and the last line says what it lacks.
set -euo pipefail
cd "$(dirname "$0")/.."

lacking() { echo "containers: NOT TRIED: $*"; exit 69; }

bundle=${1:?a bundle}
command -v podman > /dev/null || lacking "there is no podman; apt-get install podman buildah runc"
[ -e "$bundle" ] || lacking "there is no $bundle; dvc pull or make run"
work=$(mktemp -d)
port=$((20000 + RANDOM % 20000)) name=gonogo-try-$$
runs=(podman --root "$work/root" --runroot "$work/run" --storage-driver "${STORAGE:-vfs}" --cgroup-manager cgroupfs)
if command -v runc > /dev/null; then runs+=(--runtime "$(command -v runc)"); fi
finish() {
  "${runs[@]}" rm --force "$name" > /dev/null 2>&1 || true
  "${runs[@]}" unmount --all > /dev/null 2>&1 || true
  rm -rf "$work"
}
trap finish EXIT

base=$(sed -n 's/^ARG PYTHON=/docker.io\/library\/python:/p' ops/Dockerfile)
if [ -n "${BASE:-}" ]; then
  echo "== $BASE in place of $base"
  if [ -f "$BASE" ]; then
    "${runs[@]}" import "$BASE" docker.io/library/python:local
  else
    "${runs[@]}" pull "$BASE" && "${runs[@]}" tag "$BASE" docker.io/library/python:local
  fi
  given=(--build-arg PYTHON=local --pull=never)
else
  echo "== pulling $base"
  timeout 300 "${runs[@]}" pull "$base" > "$work/pull.log" 2>&1 \
    || lacking "no image registry gives $base: $(tail -n 1 "$work/pull.log"); name another base in BASE, or a tar of one"
  given=()
fi

# What pip needs of this machine to reach its index goes in for the build alone.
for file in /etc/pip.conf /etc/ssl/certs/ca-certificates.crt; do
  if [ -n "${BASE:-}" ] && [ -f "$file" ]; then given+=(--volume "$file:$file:ro"); fi
done
echo "== building ops/Dockerfile"
"${runs[@]}" build --format docker --isolation chroot --network host "${given[@]}" --file ops/Dockerfile \
  --tag localhost/gonogo:try . > "$work/build.log" 2>&1 || { tail -n 20 "$work/build.log"; exit 1; }

echo "== running it"
mkdir "$work/bundles" "$work/inspections"
cp -rL "$bundle" "$work/bundles/gauge"
chmod -R a+rX "$work/bundles"
chmod 711 "$work"
chown 10001:10001 "$work/inspections"
"${runs[@]}" run --detach --name "$name" --network host --ulimit nofile=1024:1024 --ulimit nproc=4096:4096 \
  --read-only --cap-drop ALL --security-opt no-new-privileges --tmpfs /tmp --pids-limit 256 \
  --volume "$work/bundles:/bundles:ro" --volume "$work/inspections:/inspections" localhost/gonogo:try \
  serve --bundle /bundles/gauge --bundles /bundles --data /inspections --host 127.0.0.1 --port "$port" --plain \
  > /dev/null
for _ in $(seq 120); do
  if curl --fail --silent "http://127.0.0.1:$port/readyz" > "$work/ready"; then break; fi
  sleep 1
done
[ -s "$work/ready" ] || { "${runs[@]}" logs "$name"; echo "containers: the service does not answer /readyz"; exit 1; }
"${runs[@]}" exec "$name" python -c "open('/opt/x', 'w')" 2> "$work/write" && { echo "containers: /opt can be written"; exit 1; }
grep --quiet "Read-only file system" "$work/write" || { cat "$work/write"; exit 1; }
# The image's own health check, in the container, of this port and of one where nobody answers.
mapfile -t check < <("${runs[@]}" image inspect --format '{{range .HealthCheck.Test}}{{println .}}{{end}}' localhost/gonogo:try)
[ "${check[0]:-}" = CMD ] || { echo "containers: the image has no health check"; exit 1; }
"${runs[@]}" exec "$name" "${check[@]:1:2}" "${check[3]//8484/$port}" \
  || { echo "containers: the health check fails where the service is ready"; exit 1; }
if "${runs[@]}" exec "$name" "${check[@]:1:2}" "${check[3]//8484/1}" 2> /dev/null; then
  echo "containers: the health check passes where no service answers"
  exit 1
fi
"${runs[@]}" stop --time 45 "$name" > /dev/null
status=$("${runs[@]}" inspect --format '{{.State.ExitCode}}' "$name")
[ "$status" = 0 ] || { "${runs[@]}" logs "$name"; echo "containers: it ended with status $status"; exit 1; }
echo "containers: ops/Dockerfile builds, and the service runs read-only, is ready and healthy, and ends when it is told to"
