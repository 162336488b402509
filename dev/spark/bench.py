"""One topic into Cassandra four ways, one after the other and then the other way round: natively, on Spark, on Spark by
hand, and by hand without dead letters.

`dev/bench-spark` starts the services and runs this.
"""

import json
import os
import random
import statistics
import subprocess
import sys
import tempfile
import threading
import time
import uuid
from pathlib import Path

from cassandra.cluster import Cluster
from cassandra.policies import RoundRobinPolicy

MILLSTREAM = os.environ["MILLSTREAM"]
CLIENT = os.environ["SPARK_CLIENT"]
SPARK_PID = int(os.environ["SPARK_PID"])
RECORDS = int(os.environ.get("RECORDS", "500000"))
ROUNDS = int(os.environ.get("ROUNDS", "4"))
WAYS = os.environ.get("WAYS", "native spark hand hand_without_dead_letters").split()
# What does not count: the server compiles what it runs for whoever comes first, a job's start only after some of them.
WARM_UP, WARM_UP_ROUNDS = 100_000, 3
CONNECTOR_WAITS = 5
TICKS = os.sysconf("SC_CLK_TCK")

PIPELINE = """
name: ${TABLE}
kafka: { brokers: "${KAFKA_BROKERS}" }
cassandra: { hosts: "${CASSANDRA_HOSTS}" }
spark: { connect: "${SPARK_CONNECT}", checkpoints: "${CHECKPOINTS}" }
flows:
  fetch:
    from: { file: users.jsonl, schema: "FIELDS" }
    sql: SELECT * FROM input
    to: { topic: "${TOPIC}", key: id, partitions: 2 }
  store:
    from: { topic: "${TOPIC}" }
    sql: SELECT * FROM input
    to:
      table: ${KEYSPACE}.${TABLE}
      create: |
        CREATE TABLE ${KEYSPACE}.${TABLE} (
          id UUID PRIMARY KEY, first_name TEXT, last_name TEXT, gender TEXT, address TEXT, post_code TEXT,
          email TEXT, username TEXT, registered_date TEXT, phone TEXT, picture TEXT)
"""
FIELDS = (
    "id STRING, first_name STRING, last_name STRING, gender STRING, address STRING, post_code STRING, "
    "email STRING, username STRING, registered_date STRING, phone STRING, picture STRING"
)


NAMES = ["Amber", "Mathéo", "Lærke", "Nuria", "Ümit", "Olga", "Jesús", "Wade", "Ida", "Brennan", "Sofie", "Venla"]
STREETS = ["Green Rd", "Rue du Bon-Pasteur", "Lyngvej", "Calle de Alcalá", "Karen Dr", "Hämeenkatu", "Bahnhofstraße"]
CITIES = [
    "Wollongong, South Australia, Australia",
    "Besançon, Haute-Vienne, France",
    "Aarhus N, Midtjylland, Denmark",
    "Hyvinkää, Päijät-Häme, Finland",
    "Grand Prairie, Oregon, United States",
]


def user(number):
    """As varied as those of the API, which decides what messages pack into and what random keys cost."""
    dice = random.Random(number)
    first, last, folder = dice.choice(NAMES), dice.choice(NAMES), dice.choice(["women", "men"])
    year, day, minute = dice.randrange(2002, 2023), dice.randrange(10, 28), dice.randrange(10, 59)
    return {
        "id": str(uuid.UUID(int=dice.getrandbits(128), version=4)),
        "first_name": first,
        "last_name": last,
        "gender": {"women": "female", "men": "male"}[folder],
        "address": f"{dice.randrange(9999)} {dice.choice(STREETS)}, {dice.choice(CITIES)}",
        "post_code": str(dice.randrange(10_000, 99_999)),
        "email": f"{first}.{last}@example.com".lower(),
        "username": f"{dice.choice(NAMES)}{dice.randrange(1000)}",
        "registered_date": f"{year}-06-{day}T10:{minute}:00.000Z",
        "phone": f"({dice.randrange(100, 999)}) {dice.randrange(100, 999)}-{dice.randrange(1000, 9999)}",
        "picture": f"https://randomuser.me/api/portraits/med/{folder}/{dice.randrange(99)}.jpg",
    }


def spark_cpu_seconds():
    fields = Path(f"/proc/{SPARK_PID}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / TICKS


def spark_peak_mib():
    status = Path(f"/proc/{SPARK_PID}/status").read_text()
    return next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmHWM")) // 1024


class Bench:
    def __init__(self, folder, session):
        self.folder, self.session = folder, session
        self.keyspace = f"bench_spark_{os.getpid()}"
        self.tables = 0

    def environment(self, topic, table):
        checkpoints = str(self.folder / "checkpoints" / table)
        names = {"TOPIC": topic, "KEYSPACE": self.keyspace, "TABLE": table, "CHECKPOINTS": checkpoints}
        return {**os.environ, **names}

    def fill(self, topic, records):
        with open(self.folder / "users.jsonl", "w", encoding="utf-8") as file:
            file.writelines(json.dumps(user(number), ensure_ascii=False) + "\n" for number in range(records))
        words = [MILLSTREAM, "run", "bench.yaml", "--flow", "fetch"]
        environment = self.environment(topic, "filled")
        subprocess.run(words, cwd=self.folder, env=environment, check=True, capture_output=True)

    def run(self, how, topic, records):
        """Seconds, CPU seconds of us and of Spark, peaks of both in MiB, seconds to the first row."""
        self.tables += 1
        table = f"by_{how}_{self.tables}"
        columns = ", ".join(
            f"{field.split()[0]} {'UUID PRIMARY KEY' if field.startswith('id ') else 'TEXT'}"
            for field in FIELDS.split(", ")
        )
        # Before, for all of them: Spark's connector needs a while to know a new table.
        self.session.execute(f"CREATE TABLE {self.keyspace}.{table} ({columns})")
        time.sleep(CONNECTOR_WAITS)
        if how.startswith("hand"):
            words = [CLIENT, str(Path(__file__).parent / "by_hand.py")]
            if how == "hand":
                words.append(f"{table}.dead-letters")
        else:
            words = [MILLSTREAM, "run", "bench.yaml", "--flow", "store", "--runner", f"store={how}"]
        Path(f"/proc/{SPARK_PID}/clear_refs").write_text("5")
        cpu, began = spark_cpu_seconds(), time.monotonic()
        first = threading.Thread(target=self.first_row, args=(table, began))
        self.seen = None
        first.start()
        with open(self.folder / "said", "wb") as said:
            job = subprocess.Popen(words, cwd=self.folder, env=self.environment(topic, table), stdout=said, stderr=said)
            _, status, used = os.wait4(job.pid, 0)
        job.returncode = os.waitstatus_to_exitcode(status)
        seconds = time.monotonic() - began
        if job.returncode != 0:
            sys.exit(f"{how}: {(self.folder / 'said').read_text()}")
        first.join()
        spark = spark_cpu_seconds() - cpu
        self.assert_all(table, records)
        print(f"{how}: {records} messages in {seconds:.1f} s", file=sys.stderr, flush=True)
        ours = used.ru_utime + used.ru_stime
        return seconds, ours, spark, used.ru_maxrss // 1024, spark_peak_mib(), self.seen

    def first_row(self, table, began):
        while self.seen is None and time.monotonic() - began < 120:
            try:
                if self.session.execute(f"SELECT id FROM {self.keyspace}.{table} LIMIT 1").one():
                    self.seen = time.monotonic() - began
            except Exception:  # It is not there yet.
                pass
            time.sleep(0.02)

    def assert_all(self, table, records):
        rows = sum(1 for _ in self.session.execute(f"SELECT id FROM {self.keyspace}.{table}"))
        if rows != records:
            sys.exit(f"{table} has {rows} rows of {records}")
        self.session.execute(f"DROP TABLE {self.keyspace}.{table}")


def say(how, records, runs):
    seconds, ours, spark, peak, spark_peak, first = (statistics.median(column) for column in zip(*runs))
    spread = [records / run[0] for run in runs]
    on_spark = "" if how == "native" else f" + {spark / records * 1e6:.1f} of Spark"
    peaks = f"{peak:.0f} MiB" if how == "native" else f"{peak:.0f} MiB + {spark_peak:.0f} MiB of Spark"
    print(
        f"{how}: {records / seconds:.0f} rows a second ({min(spread):.0f} to {max(spread):.0f}), "
        f"{ours / records * 1e6:.1f}{on_spark} CPU seconds a million, peak {peaks}, first row after {first:.1f} s",
        flush=True,
    )
    return seconds, ours + spark


def main():
    host, port = os.environ["CASSANDRA_HOSTS"].rsplit(":", 1)
    cluster = Cluster([host], port=int(port), load_balancing_policy=RoundRobinPolicy(), protocol_version=5)
    session = cluster.connect()
    with tempfile.TemporaryDirectory() as folder:
        bench = Bench(Path(folder), session)
        (bench.folder / "bench.yaml").write_text(PIPELINE.replace("FIELDS", FIELDS))
        session.execute(
            f"CREATE KEYSPACE {bench.keyspace} WITH replication = {{'class': 'SimpleStrategy', 'replication_factor': 1}}"
        )
        try:
            for records, rounds, topic in [(WARM_UP, WARM_UP_ROUNDS, "warm"), (RECORDS, ROUNDS, "measured")]:
                topic = f"{bench.keyspace}_{topic}"
                bench.fill(topic, records)
                runs = {how: [] for how in WAYS}
                for number in range(rounds):
                    # Each way is early as often as late: the server gets faster from run to run.
                    for how in list(runs) if number % 2 == 0 else reversed(runs):
                        runs[how].append(bench.run(how, topic, records))
            print(f"{RECORDS} messages, median of {ROUNDS} rounds; load {os.getloadavg()[0]:.1f}")
            took = {how: say(how, RECORDS, found) for how, found in runs.items()}
            for hand in [how for how in took if how.startswith("hand") and "spark" in took]:
                time_beside, cpu_beside = (took["spark"][i] / took[hand][i] * 100 - 100 for i in (0, 1))
                print(f"a flow on Spark beside {hand}: {time_beside:+.1f} % time, {cpu_beside:+.1f} % CPU")
        finally:
            session.execute(f"DROP KEYSPACE {bench.keyspace}")
            cluster.shutdown()


if __name__ == "__main__":
    main()
