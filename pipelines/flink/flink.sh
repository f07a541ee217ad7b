#!/bin/sh
# Starts one process of a Flink cluster in the foreground: flink.sh jobmanager|taskmanager [-D key=value]...
#
# FLINK_HOME       a folder with Flink's lib/ and bin/bash-java-utils.jar: Flink's own distribution, or `deps` of PyPI's
#                  apache-flink-libraries, which has no scripts of its own
# FLINK_CONF_DIR   the folder with config.yaml; by default the one beside this script
# JAVA_HOME        a JDK 17, or 11; by default `java` of PATH
set -eu

role=${1:-}
[ $# -gt 0 ] && shift
case $role in
    jobmanager) main=org.apache.flink.runtime.entrypoint.StandaloneSessionClusterEntrypoint; resources=GET_JM_RESOURCE_PARAMS ;;
    taskmanager) main=org.apache.flink.runtime.taskexecutor.TaskManagerRunner; resources=GET_TM_RESOURCE_PARAMS ;;
    *) echo "usage: flink.sh jobmanager|taskmanager [-D key=value]..." >&2; exit 2 ;;
esac
: "${FLINK_HOME:?is not set: the folder with lib/ and bin/bash-java-utils.jar of Flink}"
conf=${FLINK_CONF_DIR:-$(cd "$(dirname "$0")" && pwd)}
java=${JAVA_HOME:+$JAVA_HOME/bin/}java
classes=$(printf '%s:' "$FLINK_HOME"/lib/*.jar)

# Flink reckons the memory of its process and says it in two lines: flags for Java, and settings for Flink.
found=$("$java" -cp "$FLINK_HOME/bin/bash-java-utils.jar:$classes" \
    org.apache.flink.runtime.util.bash.BashJavaUtils "$resources" --configDir "$conf" "$@" 2>&1) || { echo "$found" >&2; exit 1; }
prefix=BASH_JAVA_UTILS_EXEC_RESULT:
memory=$(echo "$found" | sed -n "s/^$prefix//p" | sed -n 1p)
settings=$(echo "$found" | sed -n "s/^$prefix//p" | sed -n 2p)
options=$(sed -n 's/^env\.java\.opts\.all: *//p' "$conf/config.yaml")
[ "$role" = jobmanager ] && set -- --executionMode cluster "$@"

# Unquoted on purpose: lists of flags.
# shellcheck disable=SC2086
exec "$java" $memory $options -Dorg.apache.logging.log4j.level="${FLINK_LOG_LEVEL:-INFO}" -cp "$classes" "$main" \
    --configDir "$conf" $settings "$@"
