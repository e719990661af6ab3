#!/bin/bash
# A crowd of streams on one server: memory of all parts, losses, and the time until the last one has been told.
# usage: crowd.sh tidings|bare STREAMS SECONDS      (prints what is to be kept in runs/; builds nothing)
set -eu
cd "$(dirname "$0")/.."
way=$1 streams=$2 seconds=$3 port=4310
reactors=$(( streams / 19000 + 2 ))
ulimit -n 20000
memory() {
    awk -v at="$1" '/^(MemAvailable|Slab|SUnreclaim|KernelStack|PageTables|Percpu|AnonPages):/ { line = line " " $1 int($2 / 1024) }
        END { print "MiB " at ":" line }' /proc/meminfo
    grep '^TCP:' /proc/net/sockstat
}
case $way in
tidings) command="target/release/tidings serve --listen 127.0.0.1:$port --admin 127.0.0.1:0 --durability memory
    --reactors $reactors --reactor-descriptors own --connections-max $((streams + 1000)) --subscribers-max $streams
    --heartbeat 0 --retry 30s" ;;
bare) command="bench/target/release/tidings-peer-crowd $port $reactors" ;;
esac
echo "server: $(echo $command)"
uname -srm; grep -m1 'model name' /proc/cpuinfo; echo "load average: $(cut -d' ' -f1-3 /proc/loadavg)"; git rev-parse --short HEAD
memory "before"
$command 2>/dev/null &
server=$!
trap 'kill $server' EXIT
sleep 2
load="target/release/tidings bench http://127.0.0.1:$port/topics/crowd --subscribers $streams --rate 0.034
    --duration $seconds --warm-up 0 --settle 10 --pid $server"
echo "load: $(echo $load)"
$load --quiet > target/crowd.txt &
bench=$!
(
    while kill -0 $bench 2>/dev/null; do
        sleep 20
        [ -d /proc/$server ] && echo "$(date +%T) hub $(awk '/^RssAnon/ { print int($2 / 1024) " MiB anonymous" }' /proc/$server/status), $(memory now | tr '\n' ' ')"
    done
) &
wait $bench
cat target/crowd.txt
