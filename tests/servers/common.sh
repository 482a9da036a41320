# What the start scripts of all servers share. Read by them, not run.

# Whether the process of a pid file is there; one that only waits to be reaped is not.
is_running() {
  local state
  [ -f "$1" ] && state=$(sed 's/.*) //' "/proc/$(cat "$1")/stat" 2>/dev/null) || return 1
  case $state in '' | Z* | X*) return 1 ;; esac
}

# Brings the jars that `NAME.xml` names into `jars/NAME`, once for each state of that file; `jars` is the directory.
fetch_jars() {
  jars=$here/jars/$1
  cmp -s "$here/$1.xml" "$jars/.fetched-for" && return
  mkdir -p "$here/jars"
  (
    # One at a time, whatever is fetched: several of Maven in one local repository harm each other.
    flock 9
    cmp -s "$here/$1.xml" "$jars/.fetched-for" && exit
    rm -rf "$jars"
    mvn -B -ntp -q -f "$here/$1.xml" dependency:copy-dependencies -DincludeScope=runtime -DoutputDirectory="$jars" >&2
    cp "$here/$1.xml" "$jars/.fetched-for"
  ) 9>"$here/jars/.lock"
}

# Waits until the log in a directory has a line with the text; fails when the process ends or the seconds are over.
wait_for_line() {
  local dir=$1 text=$2 seconds=$3 _
  for _ in $(seq $((seconds * 10))); do
    grep -q "$text" "$dir/log" && return
    is_running "$dir/pid" || { tail -40 "$dir/log" >&2; echo "the server in $dir ended while it started" >&2; exit 1; }
    sleep 0.1
  done
  tail -40 "$dir/log" >&2
  echo "the server in $dir did not say '$text' within $seconds s" >&2
  exit 1
}

# Asks the server of a directory to end, and ends it if it has not after so many seconds.
stop_server() {
  local pidfile=$1/pid _
  is_running "$pidfile" || { rm -f "$pidfile"; return; }
  kill -TERM "$(cat "$pidfile")"
  for _ in $(seq $(($2 * 10))); do
    is_running "$pidfile" || { rm -f "$pidfile"; return; }
    sleep 0.1
  done
  kill -KILL "$(cat "$pidfile")"
  rm -f "$pidfile"
  echo "the server in $1 did not end within $2 s and was killed" >&2
}

# Ends the server of a directory at once, with what it had in memory, and waits until it is gone.
kill_server() {
  kill -KILL "$(cat "$1/pid")"
  while is_running "$1/pid"; do sleep 0.02; done
  rm -f "$1/pid"
}
