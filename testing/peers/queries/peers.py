#!/usr/bin/env python3
# Copyright 2026 The alos Authors.
# SPDX-License-Identifier: Apache-2.0
"""The queries of testing/bars/queries.h for PostgreSQL, SQLite and DuckDB; run.sh calls it.

  load SYSTEM       loads the log and makes indexes
  ask SYSTEM        asks with given parameters, prints a line of JSON for each query
  table SYSTEM...   the medians of such lines, as Markdown
  versions, sizes   of the systems, for the report

A query has the same name as there. What a database has no means for is left out.
"""

import argparse
import collections
import glob
import json
import os
import statistics
import sys
import time


class PostgreSql:
    """One jsonb column. Rows come back as the text of the documents."""

    # The manual, 8.14.4 (jsonb Indexing): GIN for containment, expression indexes where a query names
    # a field; F.33 (pg_trgm): GIN for regular expressions; 11.3 and 11.4 for filter and order at once.
    INDEXES = [
        "CREATE UNIQUE INDEX ON messages ((doc->>'_id'))",
        "CREATE INDEX ON messages ((doc->>'id'))",
        "CREATE INDEX ON messages ((doc->'author'->>'id'))",
        "CREATE INDEX ON messages ((doc->>'channel_id'), (doc->>'timestamp'))",
        "CREATE INDEX ON messages ((doc->>'timestamp'))",
        "CREATE INDEX ON messages ((doc->>'nonce'))",
        "CREATE INDEX ON messages ((doc->'message_reference'->>'message_id'))",
        "CREATE INDEX ON messages (((doc->>'length')::int))",
        "CREATE INDEX ON messages USING gin (doc jsonb_path_ops)",
        "CREATE INDEX ON messages USING gin ((doc->>'content') gin_trgm_ops)",
    ]
    AUTHOR = "doc->'author'->>'id'"
    CONTENT = "doc->>'content'"
    TIME = "doc->>'timestamp' >= %(begin)s AND doc->>'timestamp' < %(end)s"
    GROUP = ("SELECT doc->>'channel_id' AS channel, count(*), avg((doc->>'length')::int) FROM messages "
             "GROUP BY channel")
    QUERIES = {
        "by-id": "SELECT doc FROM messages WHERE doc->>'_id' = %(id)s",
        "equal-1": "SELECT doc FROM messages WHERE doc->>'id' = %(id)s",
        "equal-100": f"SELECT doc FROM messages WHERE {AUTHOR} = %(author)s",
        "two-equal-sorted":
            f"SELECT doc FROM messages WHERE doc->>'channel_id' = %(channel)s AND {AUTHOR} = %(author)s "
            "ORDER BY doc->>'timestamp' DESC LIMIT 50",
        "two-broad-sorted":
            "SELECT doc FROM messages WHERE doc->>'channel_id' = %(channel)s AND (doc->>'type')::int = 0 "
            "ORDER BY doc->>'timestamp' DESC LIMIT 50",
        "hour": f"SELECT doc FROM messages WHERE {TIME} LIMIT 100",
        "count-day": f"SELECT count(*) FROM messages WHERE {TIME}",
        "regex-rare": f"SELECT doc FROM messages WHERE {CONTENT} ~ %(pattern)s",
        "regex-common": f"SELECT doc FROM messages WHERE {CONTENT} ~ %(pattern)s LIMIT 50",
        "regex-scan": f"SELECT count(*) FROM messages WHERE {CONTENT} ~ %(pattern)s",
        "regex-caseless": f"SELECT doc FROM messages WHERE {CONTENT} ~* %(pattern)s",
        "regex-words": f"SELECT doc FROM messages WHERE {CONTENT} ~ %(pattern)s",
        "or-three":
            f"SELECT doc FROM messages WHERE {AUTHOR} = %(author)s OR doc->>'nonce' = %(nonce)s "
            "OR doc->'message_reference'->>'message_id' = %(replied)s",
        "in-100": f"SELECT doc FROM messages WHERE {AUTHOR} = ANY(%(authors)s)",
        "exists-not": "SELECT doc FROM messages WHERE NOT doc ? 'thread' LIMIT 100",
        "exists-not-count": "SELECT count(*) FROM messages WHERE NOT doc ? 'thread'",
        "nested":
            f"SELECT doc FROM messages WHERE (doc->>'channel_id' = ANY(%(channels)s) OR {AUTHOR} = ANY(%(authors)s)) "
            f"AND {CONTENT} ~ %(pattern)s AND doc ? 'reactions' AND NOT doc ? 'webhook_id'",
        "group-day":
            f"SELECT doc->>'channel_id' AS channel, count(*) AS n FROM messages WHERE {TIME} "
            "GROUP BY channel ORDER BY n DESC, channel LIMIT 10",
        "group-all-top": f"{GROUP} ORDER BY count(*) DESC, channel LIMIT 10",
        "group-all": GROUP,
        "count-broad": "SELECT count(*) FROM messages WHERE (doc->>'length')::int >= %(length)s",
        "count-broad-two":
            "SELECT count(*) FROM messages WHERE (doc->>'length')::int >= %(length)s "
            "AND NOT (doc->'author'->>'bot')::bool",
    }
    LISTS = {"authors", "channels"}

    def __init__(self, scratch):
        import psycopg2
        import psycopg2.extras
        self.connection = psycopg2.connect(host=os.path.join(scratch, "socket"), user="postgres")
        self.connection.autocommit = True
        # Text, as a program that wants to pass it on would take it.
        psycopg2.extras.register_default_jsonb(self.connection, loads=lambda text: text)
        self.cursor = self.connection.cursor()

    def load(self, log):
        self.cursor.execute("CREATE EXTENSION pg_trgm")
        self.cursor.execute("CREATE TABLE messages (doc jsonb NOT NULL)")
        with open(log, encoding="utf-8") as lines:
            # CSV whose quote and delimiter do not occur: a line is a document, as it stands.
            self.cursor.copy_expert(
                "COPY messages FROM STDIN (FORMAT csv, QUOTE E'\\x01', DELIMITER E'\\x02')", lines)
        for index in self.INDEXES:
            self.cursor.execute(index)
        self.cursor.execute("VACUUM ANALYZE messages")

    def prepare(self, name, parameters):
        values = {key: value if key in self.LISTS else value[0] for key, value in parameters.items()}
        if "length" in values:
            values["length"] = int(values["length"])
        return self.QUERIES[name], values

    def ask(self, prepared):
        self.cursor.execute(*prepared)
        return self.cursor.fetchall()

    def version(self):
        self.cursor.execute("SHOW server_version")
        return "PostgreSQL " + self.cursor.fetchone()[0].split(" ")[0]

    def size(self):
        self.cursor.execute("SELECT pg_table_size('messages'), pg_indexes_size('messages')")
        return sum(self.cursor.fetchone())


class Sqlite:
    """One column of JSON text, in this process: no server, no protocol."""

    AUTHOR = "json_extract(doc, '$.author.id')"
    CHANNEL = "json_extract(doc, '$.channel_id')"
    STAMP = "json_extract(doc, '$.timestamp')"
    LENGTH = "json_extract(doc, '$.length')"
    INDEXES = [
        "CREATE UNIQUE INDEX i1 ON messages (json_extract(doc, '$._id'))",
        "CREATE INDEX i2 ON messages (json_extract(doc, '$.id'))",
        f"CREATE INDEX i3 ON messages ({AUTHOR})",
        f"CREATE INDEX i4 ON messages ({CHANNEL}, {STAMP})",
        f"CREATE INDEX i5 ON messages ({STAMP}, {CHANNEL})",
        "CREATE INDEX i6 ON messages (json_extract(doc, '$.nonce'))",
        "CREATE INDEX i7 ON messages (json_extract(doc, '$.message_reference.message_id'))",
        f"CREATE INDEX i8 ON messages ({LENGTH}, json_extract(doc, '$.author.bot'))",
        f"CREATE INDEX i9 ON messages ({CHANNEL}, {LENGTH})",
        "CREATE INDEX i10 ON messages (json_type(doc, '$.thread'))",
        # The manual of FTS5, 4.3.4: what serves LIKE and GLOB inside of words.
        "CREATE VIRTUAL TABLE content USING fts5(text, tokenize=\"trigram case_sensitive 1\", detail=none, "
        "content='')",
        "INSERT INTO content (rowid, text) SELECT rowid, json_extract(doc, '$.content') FROM messages",
        "CREATE VIRTUAL TABLE caseless USING fts5(text, tokenize=\"trigram\", detail=none, content='')",
        "INSERT INTO caseless (rowid, text) SELECT rowid, json_extract(doc, '$.content') FROM messages",
        "ANALYZE",
    ]
    TIME = f"{STAMP} >= :begin AND {STAMP} < :end"
    TEXT = "json_extract(doc, '$.content')"
    GROUP = f"SELECT {CHANNEL} AS channel, count(*) AS n, avg({LENGTH}) FROM messages GROUP BY channel"
    QUERIES = {
        "by-id": "SELECT doc FROM messages WHERE json_extract(doc, '$._id') = :id",
        "equal-1": "SELECT doc FROM messages WHERE json_extract(doc, '$.id') = :id",
        "equal-100": f"SELECT doc FROM messages WHERE {AUTHOR} = :author",
        "two-equal-sorted":
            f"SELECT doc FROM messages WHERE {CHANNEL} = :channel AND {AUTHOR} = :author "
            f"ORDER BY {STAMP} DESC LIMIT 50",
        "two-broad-sorted":
            f"SELECT doc FROM messages WHERE {CHANNEL} = :channel AND json_extract(doc, '$.type') = 0 "
            f"ORDER BY {STAMP} DESC LIMIT 50",
        "hour": f"SELECT doc FROM messages WHERE {TIME} LIMIT 100",
        "count-day": f"SELECT count(*) FROM messages WHERE {TIME}",
        # SQLite has no regular expressions of its own: these are substrings. The indexes hold trigrams,
        # not places, so what they find is looked at once more.
        "regex-rare":
            "SELECT doc FROM messages WHERE rowid IN (SELECT rowid FROM content(:trigrams)) "
            f"AND instr({TEXT}, :pattern)",
        "regex-common":
            "SELECT doc FROM messages WHERE rowid IN (SELECT rowid FROM content(:trigrams)) "
            f"AND instr({TEXT}, :pattern) LIMIT 50",
        "regex-caseless":
            "SELECT doc FROM messages WHERE rowid IN (SELECT rowid FROM caseless(:trigrams)) "
            f"AND {TEXT} LIKE :like",
        "regex-words":
            "SELECT doc FROM messages WHERE rowid IN (SELECT rowid FROM content(:trigrams)) "
            f"AND (instr({TEXT}, :word0) OR instr({TEXT}, :word1))",
        "or-three":
            f"SELECT doc FROM messages WHERE {AUTHOR} = :author OR json_extract(doc, '$.nonce') = :nonce "
            "OR json_extract(doc, '$.message_reference.message_id') = :replied",
        "in-100": f"SELECT doc FROM messages WHERE {AUTHOR} IN (:authors)",
        "exists-not": "SELECT doc FROM messages WHERE json_type(doc, '$.thread') IS NULL LIMIT 100",
        "exists-not-count": "SELECT count(*) FROM messages WHERE json_type(doc, '$.thread') IS NULL",
        "nested":
            "SELECT doc FROM messages WHERE rowid IN (SELECT rowid FROM content(:trigrams)) "
            f"AND ({CHANNEL} IN (:channels) OR {AUTHOR} IN (:authors)) AND instr({TEXT}, :pattern) "
            "AND json_type(doc, '$.reactions') IS NOT NULL AND json_type(doc, '$.webhook_id') IS NULL",
        "group-day":
            f"SELECT {CHANNEL} AS channel, count(*) AS n FROM messages WHERE {TIME} "
            "GROUP BY channel ORDER BY n DESC, channel LIMIT 10",
        "group-all-top": f"{GROUP} ORDER BY n DESC, channel LIMIT 10",
        "group-all": GROUP,
        "count-broad": f"SELECT count(*) FROM messages WHERE {LENGTH} >= :length",
        "count-broad-two":
            f"SELECT count(*) FROM messages WHERE {LENGTH} >= :length AND NOT json_extract(doc, '$.author.bot')",
    }

    def __init__(self, scratch):
        import sqlite3
        self.path = os.path.join(scratch, "sqlite.db")
        self.connection = sqlite3.connect(self.path, isolation_level=None)
        self.connection.execute("PRAGMA journal_mode = wal")
        self.connection.execute("PRAGMA cache_size = -2000000")  # 2 GB
        self.connection.execute("PRAGMA mmap_size = 34359738368")

    def load(self, log):
        execute = self.connection.execute
        execute("CREATE TABLE messages (doc TEXT NOT NULL)")
        execute("BEGIN")
        with open(log, encoding="utf-8") as lines:
            self.connection.executemany("INSERT INTO messages VALUES (?)",
                                        ((line.rstrip("\n"),) for line in lines))
        execute("COMMIT")
        for index in self.INDEXES:
            execute(index)

    @staticmethod
    def trigrams(word):
        return " AND ".join(f'"{word[i:i + 3]}"' for i in range(len(word) - 2))

    def prepare(self, name, parameters):
        text = self.QUERIES[name]
        values = {}
        for key, value in parameters.items():
            if f"(:{key})" in text:
                names = [f"{key}{i}" for i in range(len(value))]
                values.update(zip(names, value))
                text = text.replace(f"(:{key})", "(" + ", ".join(":" + n for n in names) + ")")
            else:
                values[key] = value[0]
        if "length" in values:
            values["length"] = int(values["length"])
        if "pattern" in values:
            words = values["pattern"].split("|")
            values["trigrams"] = " OR ".join(f"({self.trigrams(word)})" for word in words)
            values["like"] = f"%{words[0]}%"
            values.update((f"word{i}", word) for i, word in enumerate(words))
        return text, values

    def ask(self, prepared):
        return self.connection.execute(*prepared).fetchall()

    def version(self):
        return "SQLite " + self.connection.execute("SELECT sqlite_version()").fetchone()[0]

    def size(self):
        return sum(os.path.getsize(path) for path in glob.glob(self.path + "*"))


class DuckDb:
    """Columns of the types that it finds in the log, in this process; only what it is made for."""

    TIME = "timestamp >= $begin::TIMESTAMP AND timestamp < $end::TIMESTAMP"
    GROUP = "SELECT channel_id, count(*) AS n, avg(length) FROM messages GROUP BY channel_id"
    QUERIES = {
        "count-day": f"SELECT count(*) FROM messages WHERE {TIME}",
        "regex-scan": "SELECT count(*) FROM messages WHERE regexp_matches(content, $pattern)",
        "exists-not-count": "SELECT count(*) FROM messages WHERE thread IS NULL",
        "group-day":
            f"SELECT channel_id, count(*) AS n FROM messages WHERE {TIME} "
            "GROUP BY channel_id ORDER BY n DESC, channel_id LIMIT 10",
        "group-all-top": f"{GROUP} ORDER BY n DESC, channel_id LIMIT 10",
        "group-all": GROUP,
        "count-broad": "SELECT count(*) FROM messages WHERE length >= $length",
        "count-broad-two": "SELECT count(*) FROM messages WHERE length >= $length AND NOT author.bot",
    }

    def __init__(self, scratch):
        import duckdb
        self.duckdb = duckdb
        self.path = os.path.join(scratch, "duck.db")
        self.connection = duckdb.connect(self.path)

    def load(self, log):
        self.connection.execute(
            "CREATE TABLE messages AS SELECT * REPLACE (timestamp::TIMESTAMP AS timestamp) FROM "
            f"read_json('{log}', format = 'newline_delimited', sample_size = 200000, "
            "maximum_object_size = 1048576)")
        self.connection.execute("CHECKPOINT")

    def prepare(self, name, parameters):
        values = {key: value[0] for key, value in parameters.items()}
        for key in ("begin", "end"):
            if key in values:
                values[key] = values[key].rstrip("Z")
        if "length" in values:
            values["length"] = int(values["length"])
        return self.QUERIES[name], values

    def ask(self, prepared):
        return self.connection.execute(*prepared).fetchall()

    def version(self):
        return "DuckDB " + self.duckdb.__version__

    def size(self):
        return sum(os.path.getsize(path) for path in glob.glob(self.path + "*"))


SYSTEMS = {"postgresql": PostgreSql, "sqlite": Sqlite, "duckdb": DuckDb}


def number_of_results(name, rows):
    counts = name in ("count-day", "regex-scan", "exists-not-count", "count-broad", "count-broad-two")
    return rows[0][0] if counts else len(rows)


def ask(system, path, seconds):
    by_query = collections.defaultdict(list)
    with open(path, encoding="utf-8") as lines:
        for line in lines:
            parameters = json.loads(line)
            by_query[parameters.pop("query")].append(parameters)
    for name, all_parameters in by_query.items():
        if name not in system.QUERIES:
            continue
        # Substitution is the driver's; what takes Python long is done ahead of the clock.
        prepared = [system.prepare(name, parameters) for parameters in all_parameters]
        first = number_of_results(name, system.ask(prepared[0]))  # also warms up
        times = []
        begun = time.monotonic()
        for question in prepared:
            if len(times) >= 3 and time.monotonic() - begun > seconds:
                break
            start = time.perf_counter_ns()
            system.ask(question)
            times.append((time.perf_counter_ns() - start) / 1e3)
        times.sort()
        at = lambda fraction: times[max(0, -(-int(fraction * 100) * len(times) // 100) - 1)]
        print(json.dumps({"query": name, "p50_us": at(0.5), "p99_us": at(0.99), "first": first,
                          "ok": True}, separators=(",", ":")), flush=True)


def short(microseconds):
    if microseconds < 1000:
        return f"{microseconds:.0f} us"
    if microseconds < 1e6:
        return f"{microseconds / 1e3:.1f} ms"
    return f"{microseconds / 1e6:.2f} s"


def table(path, systems):
    """Prints it; returns whether all systems found the same."""
    p50 = collections.defaultdict(list)
    p99 = collections.defaultdict(list)
    first = collections.defaultdict(lambda: collections.defaultdict(list))
    names = []
    with open(path, encoding="utf-8") as lines:
        for line in lines:
            row = json.loads(line)
            name, system = row["query"], row["system"]
            if name not in names:
                names.append(name)
            if not row["ok"]:
                continue
            p50[name, system].append(row["p50_us"])
            p99[name, system].append(row["p99_us"])
            first[name][system].append(row["first"])
    print("| query | results | " + " | ".join(systems) + " |")
    print("| --- " * (len(systems) + 2) + "|")
    different = []
    for name in names:
        cells = []
        for system in systems:
            if (name, system) in p50:
                cells.append(f"{short(statistics.median(p50[name, system]))} "
                             f"({short(statistics.median(p99[name, system]))})")
            else:
                cells.append("-")
        answers = list(first[name].values())
        if any(answer != answers[0] for answer in answers):
            different.append(f"{name}: {dict(first[name])}")
        results = f"{statistics.median(answers[0]):.0f}" if answers else "-"
        print(f"| `{name}` | {results} | " + " | ".join(cells) + " |")
    for line in different:
        print("\nDIFFERENT RESULTS, " + line)
    return not different


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--scratch", required=True)
    parser.add_argument("action", choices=["load", "ask", "table", "versions", "sizes"])
    parser.add_argument("systems", nargs="*")
    parser.add_argument("--log")
    parser.add_argument("--parameters")
    parser.add_argument("--measured")
    parser.add_argument("--seconds", type=float, default=5)
    arguments = parser.parse_intermixed_args()
    if arguments.action == "table":
        return 0 if table(arguments.measured, arguments.systems) else 1
    systems = {name: SYSTEMS[name](arguments.scratch) for name in arguments.systems}
    if arguments.action == "versions":
        print(", ".join(system.version() for system in systems.values()))
    elif arguments.action == "sizes":
        print("".join(f", {name} {system.size() / 1e6:.0f} MB" for name, system in systems.items()))
    for system in systems.values():
        if arguments.action == "load":
            begun = time.monotonic()
            system.load(arguments.log)
            print(f"{system.version()}: loaded and indexed in {time.monotonic() - begun:.0f} s")
        elif arguments.action == "ask":
            ask(system, arguments.parameters, arguments.seconds)
    return 0


if __name__ == "__main__":
    sys.exit(main())
