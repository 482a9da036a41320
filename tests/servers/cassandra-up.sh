#!/usr/bin/env bash
# Starts one real Cassandra node, without a container, and waits until it takes statements.
#
#   cassandra-up.sh DIRECTORY [CQL_PORT [STORAGE_PORT [ADDRESS [SEED]]]]
#
# Everything it writes lies in DIRECTORY; `cassandra-down.sh DIRECTORY` ends it. It listens on the loopback ADDRESS alone
# (127.0.0.1). A second node joins with an address of its own and the SEED `127.0.0.1:STORAGE_PORT` of the first.
# CASSANDRA_HEAP (384m), CASSANDRA_AUTH=1 (passwords and roles), CASSANDRA_TLS=DIR (`node.p12`, password `kinora`),
# CASSANDRA_SYNC=batch (acknowledges what is synced; otherwise it syncs once a second).
# The jars come from Maven Central once, into `jars/` beside this file.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
. "$here/common.sh"

mkdir -p "${1:?usage: cassandra-up.sh DIRECTORY [CQL_PORT [STORAGE_PORT [ADDRESS [SEED]]]]}"
dir=$(cd "$1" && pwd)
port=${2:-19042} storage=${3:-17000} address=${4:-127.0.0.1}
seed=${5:-$address:$storage} heap=${CASSANDRA_HEAP:-384m}

if is_running "$dir/pid"; then echo "Cassandra runs already, process $(cat "$dir/pid")"; exit 0; fi
fetch_jars cassandra
mkdir -p "$dir/conf" "$dir/tmp"

sync='commitlog_sync: batch'
[ "${CASSANDRA_SYNC:-periodic}" = periodic ] && sync=$'commitlog_sync: periodic\ncommitlog_sync_period: 1000ms'
auth=Allow; [ -n "${CASSANDRA_AUTH:-}" ] && auth=Password
cat >"$dir/conf/cassandra.yaml" <<Y
cluster_name: kinora
num_tokens: 1
partitioner: org.apache.cassandra.dht.Murmur3Partitioner
endpoint_snitch: SimpleSnitch
auto_bootstrap: false
seed_provider:
  - class_name: org.apache.cassandra.locator.SimpleSeedProvider
    parameters: [{ seeds: "$seed" }]
listen_address: $address
storage_port: $storage
rpc_address: $address
native_transport_port: $port
start_native_transport: true
data_file_directories: ["$dir/data"]
commitlog_directory: "$dir/commitlog"
hints_directory: "$dir/hints"
saved_caches_directory: "$dir/saved_caches"
cdc_raw_directory: "$dir/cdc_raw"
$sync
commitlog_segment_size: 16MiB
commitlog_total_space: 128MiB
storage_compatibility_mode: NONE
memtable_heap_space: 64MiB
memtable_offheap_space: 96MiB
memtable_allocation_type: offheap_objects
memtable_flush_writers: 1
concurrent_reads: 16
concurrent_writes: 16
concurrent_compactors: 1
file_cache_enabled: false
networking_cache_size: 16MiB
key_cache_size: 4MiB
counter_cache_size: 0MiB
dynamic_snitch: false
auto_snapshot: false
read_request_timeout: 10s
range_request_timeout: 15s
write_request_timeout: 10s
cas_contention_timeout: 5s
truncate_request_timeout: 60s
request_timeout: 15s
Y
if [ "$auth" = Password ]; then
  cat >>"$dir/conf/cassandra.yaml" <<Y
authenticator: PasswordAuthenticator
authorizer: CassandraAuthorizer
role_manager: CassandraRoleManager
Y
else
  printf 'authenticator: AllowAllAuthenticator\nauthorizer: AllowAllAuthorizer\n' >>"$dir/conf/cassandra.yaml"
fi
if [ -n "${CASSANDRA_TLS:-}" ]; then
  cat >>"$dir/conf/cassandra.yaml" <<Y
client_encryption_options:
  enabled: true
  optional: false
  keystore: "$CASSANDRA_TLS/node.p12"
  keystore_password: kinora
  store_type: PKCS12
Y
fi
cat >"$dir/conf/logback.xml" <<'X2'
<configuration>
  <appender name="OUT" class="ch.qos.logback.core.ConsoleAppender"><encoder><pattern>%level %date %logger{0} %msg%n</pattern></encoder></appender>
  <root level="INFO"><appender-ref ref="OUT"/></root>
</configuration>
X2

# What Java 17 keeps closed and Cassandra reaches into.
java_open=()
for name in java.base/jdk.internal.misc java.base/java.lang.ref java.management.rmi/com.sun.jmx.remote.internal.rmi \
  java.rmi/sun.rmi.registry java.rmi/sun.rmi.server java.sql/java.sql jdk.attach/sun.tools.attach \
  jdk.compiler/com.sun.tools.javac.file jdk.unsupported/sun.misc; do
  java_open+=(--add-exports "$name=ALL-UNNAMED")
done
for name in java.base/{java.io,java.lang,java.lang.module,java.lang.reflect,java.nio,java.util} \
  java.base/jdk.internal.{loader,math,module,ref,reflect,util.jar} java.base/sun.nio.ch \
  jdk.compiler/com.sun.tools.javac jdk.management/com.sun.management.internal; do
  java_open+=(--add-opens "$name=ALL-UNNAMED")
done

cd "$dir"
# A session of its own: what ends the tests must not end the server half way.
setsid java "${java_open[@]}" "-Xms$heap" "-Xmx$heap" -Xss256k -XX:MaxDirectMemorySize=256m -XX:+UseSerialGC \
  -XX:TieredStopAtLevel="${CASSANDRA_TIER:-1}" -XX:+PerfDisableSharedMem -XX:+ExitOnOutOfMemoryError \
  -javaagent:"$(echo "$jars"/jamm-*.jar)" -Djava.net.preferIPv4Stack=true -Djava.io.tmpdir="$dir/tmp" \
  -Djna.tmpdir="$dir/tmp" -Djdk.attach.allowAttachSelf=true -Dio.netty.tryReflectionSetAccessible=true \
  -Dlogback.configurationFile="file://$dir/conf/logback.xml" -Dcassandra.config="file://$dir/conf/cassandra.yaml" \
  -Dcassandra.storagedir="$dir" -Dcassandra-foreground=yes -Dcassandra.skip_wait_for_gossip_to_settle=0 \
  -Dcassandra.ring_delay_ms=0 -Dcassandra.superuser_setup_delay_ms=0 \
  -cp "$dir/conf:$jars/*" org.apache.cassandra.service.CassandraDaemon >"$dir/log" 2>&1 </dev/null &
echo $! >"$dir/pid"
wait_for_line "$dir" 'Startup complete' 180
echo "Cassandra takes statements on $address:$port, process $(cat "$dir/pid")"
