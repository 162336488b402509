# shellcheck shell=bash disable=SC2154
# A real Airflow on SQLite, which runs its tasks itself; read by dev/services.

airflow_port=${AIRFLOW_PORT:-8080}
airflow_bin=$fetched/airflow/venv/bin
airflow_settings=(
    # Without bytecode each of its parts would compile all that it imports, for a minute.
    -u PYTHONDONTWRITEBYTECODE
    PATH="$airflow_bin:$PATH"
    AIRFLOW_HOME="$data/airflow"
    AIRFLOW__API__BASE_URL="http://localhost:$airflow_port"
    AIRFLOW__API__HOST=127.0.0.1
    AIRFLOW__API__PORT="$airflow_port"
    AIRFLOW__API__WORKERS=1
    AIRFLOW__CORE__DAGS_FOLDER="${AIRFLOW_DAGS:-$here/../examples/dags}"
    AIRFLOW__CORE__EXECUTION_API_SERVER_URL="http://localhost:$airflow_port/execution/"
    AIRFLOW__CORE__EXECUTOR=LocalExecutor
    AIRFLOW__CORE__LOAD_EXAMPLES=False
    AIRFLOW__CORE__PARALLELISM=4
    AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_PASSWORDS_FILE="$data/airflow/passwords.json"
    AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_USERS=admin:admin
    AIRFLOW__DAG_PROCESSOR__MIN_FILE_PROCESS_INTERVAL=5
    AIRFLOW__DAG_PROCESSOR__REFRESH_INTERVAL=5
    AIRFLOW__DATABASE__SQL_ALCHEMY_CONN="sqlite:///$data/airflow/airflow.db"
    AIRFLOW__USAGE_DATA_COLLECTION__ENABLED=False
    # Else whoever watches over a task notices its end up to five seconds late.
    AIRFLOW__WORKERS__MIN_HEARTBEAT_INTERVAL=1
)

fetch_airflow() {
    python3 -m venv "$fetched/airflow/venv"
    "$airflow_bin/pip" install -q --compile -r "$here/airflow/requirements.txt"
}

# Any command of Airflow's environment, with the settings of this service.
airflow() { env "${airflow_settings[@]}" "$@"; }

start_airflow() {
    local dir=$data/airflow
    ! (: <>"/dev/tcp/127.0.0.1/$airflow_port") 2>/dev/null ||
        fail "port $airflow_port is taken; AIRFLOW_PORT names another one"
    [ -s "$dir/passwords.json" ] ||
        (umask 077 && printf '{"admin": "%s"}\n' "$(openssl rand -hex 12)" >"$dir/passwords.json")
    airflow airflow db migrate >"$dir/migrate.log" 2>&1 || fail "no database; see $dir/migrate.log"
    spawn airflow env "${airflow_settings[@]}" "$here/airflow/parts"
}

ready_airflow() {
    curl -fsS -m 5 "http://localhost:$airflow_port/api/v2/monitor/health" 2>/dev/null |
        "$airflow_bin/python" -c '
import json, sys
health = json.loads(sys.stdin.read() or "{}")
parts = ("metadatabase", "scheduler", "triggerer", "dag_processor")
sys.exit(any((health.get(part) or {}).get("status") != "healthy" for part in parts))'
}
