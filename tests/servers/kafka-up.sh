#!/usr/bin/env bash
# Starts one real Kafka broker, without a container, and waits until it takes requests.
#
#   kafka-up.sh DIRECTORY [PORT [CONTROLLER_PORT]]
#
# Everything it writes lies in DIRECTORY; `kafka-down.sh DIRECTORY` ends it. It listens on 127.0.0.1 alone. Started again on
# the same directory it goes on with the topics that are there. KAFKA_HEAP (384m), KAFKA_PROTOCOLS (classic,consumer: how
# groups may be formed), KAFKA_ACL=1 (users may do what they were allowed; whoever does not log in may do all). KAFKA_SASL_PORT and KAFKA_TLS_PORT, both or none, open two listeners more: one with passwords and
# tokens over TLS (user `alice`, password `alice-secret`), one for clients with a certificate; `DIRECTORY/tls` then has what
# clients need. The jars come from Maven Central once, into `jars/` beside this file.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
. "$here/common.sh"

mkdir -p "${1:?usage: kafka-up.sh DIRECTORY [PORT [CONTROLLER_PORT]]}"
dir=$(cd "$1" && pwd)
port=${2:-19092}
controller=${3:-$((port + 1))} heap=${KAFKA_HEAP:-384m}
user=alice password=alice-secret

if is_running "$dir/pid"; then echo "Kafka runs already, process $(cat "$dir/pid")"; exit 0; fi
fetch_jars kafka

# A certificate authority, the broker's certificate, one for a client, and one that nobody trusts.
make_certificates() {
  [ -f "$dir/tls/done" ] && return
  rm -rf "$dir/tls" && mkdir -p "$dir/tls" && (
    cd "$dir/tls"
    for name in ca other; do
      openssl req -x509 -newkey rsa:2048 -nodes -days 30 -subj "/CN=$name" -keyout $name.key -out $name.pem
    done
    echo 'subjectAltName=IP:127.0.0.1,DNS:localhost' >names
    for name in broker client; do
      openssl req -newkey rsa:2048 -nodes -subj "/CN=$name" -keyout $name.key -out $name.csr
      openssl x509 -req -in $name.csr -CA ca.pem -CAkey ca.key -CAcreateserial -days 30 -extfile names -out $name.pem
    done
    cat broker.key broker.pem >broker-store.pem
    touch done
  ) >"$dir/tls.log" 2>&1 || { cat "$dir/tls.log" >&2; exit 1; }
}

listeners=PLAINTEXT://127.0.0.1:$port map=PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT
if [ -n "${KAFKA_SASL_PORT:-}" ]; then
  make_certificates
  listeners+=,SASL://127.0.0.1:$KAFKA_SASL_PORT,TLS://127.0.0.1:${KAFKA_TLS_PORT:?goes with KAFKA_SASL_PORT}
  map+=,SASL:SASL_SSL,TLS:SSL
fi
cat >"$dir/server.properties" <<P
process.roles=broker,controller
node.id=1
controller.quorum.voters=1@127.0.0.1:$controller
listeners=$listeners,CONTROLLER://127.0.0.1:$controller
advertised.listeners=$listeners
controller.listener.names=CONTROLLER
inter.broker.listener.name=PLAINTEXT
listener.security.protocol.map=$map
log.dirs=$dir/data
auto.create.topics.enable=false
offsets.topic.replication.factor=1
offsets.topic.num.partitions=4
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
transaction.state.log.num.partitions=4
share.coordinator.state.topic.replication.factor=1
share.coordinator.state.topic.min.isr=1
share.coordinator.state.topic.num.partitions=4
# Groups settle at once, and members that are gone are noticed soon.
group.coordinator.rebalance.protocols=${KAFKA_PROTOCOLS:-classic,consumer}
group.initial.rebalance.delay.ms=0
group.min.session.timeout.ms=1000
group.consumer.min.session.timeout.ms=1000
group.consumer.session.timeout.ms=3000
group.consumer.min.heartbeat.interval.ms=500
group.consumer.heartbeat.interval.ms=500
# A broker that was killed may come back at once.
broker.session.timeout.ms=3000
broker.heartbeat.interval.ms=500
num.network.threads=2
num.io.threads=4
log.cleaner.threads=1
log.cleaner.backoff.ms=200
log.cleaner.dedupe.buffer.size=16777216
log.segment.bytes=67108864
P
if [ -n "${KAFKA_ACL:-}" ]; then
  cat >>"$dir/server.properties" <<P
authorizer.class.name=org.apache.kafka.metadata.authorizer.StandardAuthorizer
super.users=User:ANONYMOUS
P
fi
if [ -n "${KAFKA_SASL_PORT:-}" ]; then
  module=org.apache.kafka.common.security
  for mechanism in scram-sha-256 scram-sha-512; do
    echo "listener.name.sasl.$mechanism.sasl.jaas.config=$module.scram.ScramLoginModule required;"
  done >>"$dir/server.properties"
  cat >>"$dir/server.properties" <<P
listener.name.sasl.sasl.enabled.mechanisms=PLAIN,SCRAM-SHA-256,SCRAM-SHA-512,OAUTHBEARER
listener.name.sasl.plain.sasl.jaas.config=$module.plain.PlainLoginModule required user_$user="$password";
listener.name.sasl.oauthbearer.sasl.jaas.config=$module.oauthbearer.OAuthBearerLoginModule required unsecuredLoginStringClaim_sub="broker";
listener.name.tls.ssl.client.auth=required
ssl.keystore.type=PEM
ssl.keystore.location=$dir/tls/broker-store.pem
ssl.truststore.type=PEM
ssl.truststore.location=$dir/tls/ca.pem
P
fi

java=(java -cp "$jars/*" -XX:+UseSerialGC -XX:TieredStopAtLevel="${KAFKA_TIER:-1}" -Djava.awt.headless=true)
if [ ! -f "$dir/data/meta.properties" ]; then
  scram=()
  for mechanism in SCRAM-SHA-256 SCRAM-SHA-512; do
    scram+=(--add-scram "$mechanism=[name=$user,password=$password]")
  done
  # The id is any 16 bytes in base64; broker and controller are one, so it need not be drawn.
  "${java[@]}" -Xmx96m -Dorg.slf4j.simpleLogger.defaultLogLevel=error kafka.tools.StorageTool format \
    -t a2lub3JhLXRlc3RpbmchIQ -c "$dir/server.properties" "${scram[@]}" >"$dir/format.log" 2>&1 || { cat "$dir/format.log" >&2; exit 1; }
fi

: >"$dir/log"
# A session of its own: what ends the tests must not end the server half way.
setsid "${java[@]}" -Xms64m "-Xmx$heap" -Dorg.slf4j.simpleLogger.defaultLogLevel=info \
  kafka.Kafka "$dir/server.properties" >"$dir/log" 2>&1 </dev/null &
echo $! >"$dir/pid"
wait_for_line "$dir" 'Kafka Server started' 90
echo "Kafka takes requests on 127.0.0.1:$port, process $(cat "$dir/pid")"
