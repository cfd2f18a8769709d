# The rip cord against the bare cost of asking the same hosts anything; sourced by tests/bench/run, whose helpers it uses. The unit has
# no service and a health check that ends at once, so that nothing else needs to be added on the other side.

cord() {  # also in the file first: nanoseconds until the first host was back
  local begin
  begin=$(now)
  (cd "$work" && "$build/ripcord" rollback app -y -m bench -o jsonl 2>"$work/out.txt") |
    { first=''; while read -r line; do case "$line" in *'"result":"returned"'*) [ -n "$first" ] || { first=$(($(now) - begin)); echo "$first" >"$work/first"; } ;; esac; done; }
  [ "${PIPESTATUS[0]}" = 0 ] || { tail -20 "$work/out.txt" >&2; return 1; }
}

cord_figures() {  # of the unit that is deployed on the hosts in $work/hosts, in its second release
  local least='' soonest=''
  echo "== the rip cord over $(wc -l <"$work/hosts") hosts"
  for _ in 1 2 3; do
    timed cord
    local soon; read -r soon <"$work/first"
    if [ -z "$least" ] || [ "$took" -lt "$least" ]; then least=$took; fi
    if [ -z "$soonest" ] || [ "$soon" -lt "$soonest" ]; then soonest=$soon; fi
    nothing  # forward again
  done
  best every_true "$cheap"; ratio "rollback of all : xargs -P32 ssh true, cheapest settings" "$least" "$took" 0.8
  ratio "until the first host was back : 1 s" "$soonest" 1000000000 1
}
