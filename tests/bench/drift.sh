# Drift scans against what else would find the same; sourced by tests/bench/run, whose helpers it uses.

scan() { ripcord drift; }
scan_full() { ripcord drift --full; }
# Our own link, the host program started, hello, nothing else: starting it costs what starting /bin/true does (0.5 ms either way).
bare() { ripcord doctor; }
sums_one() { ssh $cheap "$1" 'cd /srv/app/current && sha256sum --quiet -c' <"$work/SUMS"; }
export -f sums_one
sums() { export cheap work; xargs -a "$work/hosts" -P32 -I{} bash -c 'sums_one {}'; }

drift_figures() {  # of the unit that is deployed on the hosts in $work/hosts
  (cd "$work/app/code" && find . -type f -print0 | xargs -0 sha256sum >"$work/SUMS")
  echo "== drift scans of $(wc -l <"$work/hosts") hosts, $(wc -l <"$work/SUMS") files each"
  scan_full  # what it learns is noted on the hosts
  best bare; local base=$took
  best scan; ratio "incremental scan : connecting with our link, hello" "$took" "$base" 1.25
  best scan_full; local full=$took
  best sums; ratio "full scan : xargs -P32 ssh sha256sum -c, cheapest settings" "$full" "$took" 0.6
  if [ "${ANSIBLE:-}" != no ] && command -v ansible >/dev/null; then
    { echo '[all]'; sed "s|\$| ansible_port=$port ansible_user=root ansible_ssh_private_key_file=$identity|" "$work/hosts"; } >"$work/inventory"
    xargs -a "$work/hosts" -P32 -I{} bash -c 'ssh $cheap {} "cat >/srv/SUMS" <"$work/SUMS"'
    asked() { ANSIBLE_PIPELINING=1 ANSIBLE_HOST_KEY_CHECKING=0 ansible all -f 50 -i "$work/inventory" -m shell -a 'cd /srv/app/current && sha256sum --quiet -c /srv/SUMS' >"$work/ansible.log" 2>&1; }
    timed asked; ratio "full scan : ansible with the same check, 50 forks" "$full" "$took" 0.1
    xargs -a "$work/hosts" -P32 -I{} ssh $cheap {} rm /srv/SUMS
  fi
}

hash_figures() {  # one host in a folder, one large file in the page cache, one thread
  local size=$((512 << 20)) here=$work/local speed with without
  mkdir -p "$here/big/code"
  head -c "$size" /dev/zero >"$here/big/code/blob"
  printf 'fleet: big\nlink: local\ndatacenters: {one: {hosts: [h1]}}\n' >"$here/fleet.yaml"
  printf 'unit: big\nversion: "1"\nhosts: all\n' >"$here/big/unit.yaml"
  one() { (cd "$here" && "$build/ripcord" "$@" >"$work/out.txt" 2>&1) || { tail -20 "$work/out.txt" >&2; return 1; }; }
  one apply big/ -y
  echo "== hashing $((size >> 20)) MiB that are cached, one thread"
  best one drift --normal-priority --threads 1; without=$took
  best one drift --normal-priority --threads 1 --full; with=$took
  speed=$(openssl speed -evp sha256 -bytes 262144 -seconds 2 2>/dev/null | awk 'END {sub("k", "", $2); print $2 * 1000}')
  ratio "time of a full scan beyond an incremental one : as openssl speed" "$((with - without))" "$(awk -v s="$size" -v v="$speed" 'BEGIN {printf "%d", s / v * 1e9}')" 1.25
}
