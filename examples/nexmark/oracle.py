"""What Nexmark's queries must answer, computed at once by DuckDB over a file of events, one JSON object a line.

    python3 oracle.py EVENTS.jsonl > expected.json

Says for each query the rows of its view by their keys, or what its stream holds, in any order.
"""

import json
import sys
from datetime import datetime, timezone

import duckdb

SECOND = 1000
DAY = 86_400 * SECOND

BIDS = "SELECT Bid.* FROM events WHERE Bid IS NOT NULL"
AUCTIONS = "SELECT Auction.* FROM events WHERE Auction IS NOT NULL"
PERSONS = "SELECT Person.* FROM events WHERE Person IS NOT NULL"

# Of each auction that had bids while it was open: the highest of them.
WON = """
    SELECT a.id, a.seller, a.category, a.expires, max(b.price) AS price
    FROM auctions a JOIN bids b ON b.auction = a.id AND b.date_time BETWEEN a.date_time AND a.expires
    GROUP BY ALL
"""

STREAMS = {
    "q0": "SELECT auction, bidder, price, channel, date_time FROM bids",
    "q1": "SELECT auction, bidder, price * 908 // 1000 AS price, channel, date_time FROM bids",
    "q2": "SELECT auction, price FROM bids WHERE auction % 123 = 0",
    "q3": """
        SELECT p.name, p.state, a.id FROM auctions a JOIN persons p ON p.id = a.seller
        WHERE a.category = 10 AND p.state IN ('or', 'id', 'ca')
    """,
    "q8": f"""
        SELECT p.id, a.id FROM persons p JOIN auctions a ON a.seller = p.id
        AND a.date_time // {10 * SECOND} = p.date_time // {10 * SECOND}
    """,
}
# Streams whose events are objects and not lists.
NAMED = ("q0", "q1")

DAYS = f"""
    SELECT KEY, date_time // {DAY} * {DAY}, count(*), count(*) FILTER (price < 10000),
        count(*) FILTER (price >= 10000 AND price < 1000000), count(*) FILTER (price >= 1000000),
        min(price), max(price), sum(price)::BIGINT
    FROM bids GROUP BY ALL
"""


def window(key, start_ms):
    """A window's row: its key and its start."""
    at = datetime.fromtimestamp(start_ms // SECOND, timezone.utc).strftime("%Y-%m-%dT%H:%M:%S")
    return f"{key}@{at}.{start_ms % SECOND:03}Z" if start_ms % SECOND else f"{key}@{at}Z"


def bid(row):
    return dict(zip(("auction", "bidder", "price", "channel", "date_time"), row))


def main(path):
    con = duckdb.connect()
    columns = {
        "Person": "STRUCT(id BIGINT, name VARCHAR, state VARCHAR, date_time BIGINT)",
        "Auction": "STRUCT(id BIGINT, seller BIGINT, category BIGINT, date_time BIGINT, expires BIGINT)",
        "Bid": "STRUCT(auction BIGINT, bidder BIGINT, price BIGINT, channel VARCHAR, date_time BIGINT)",
    }
    con.execute(
        f"CREATE TABLE events AS FROM read_json('{path}', format='newline_delimited', columns={columns})"
    )
    for name, what in ("bids", BIDS), ("auctions", AUCTIONS), ("persons", PERSONS), ("won", WON):
        con.execute(f"CREATE TABLE {name} AS {what}")
    rows = lambda what: con.execute(what).fetchall()

    said = {}
    for name, what in STREAMS.items():
        cursor = con.execute(what)
        names = [column[0] for column in cursor.description]
        made = [dict(zip(names, row)) if name in NAMED else list(row) for row in cursor.fetchall()]
        said[name] = made

    said["q4"] = {str(of): mean for of, mean in rows("SELECT category, avg(price) FROM won GROUP BY ALL")}
    said["q6"] = dict(
        (str(of), mean)
        for of, mean in rows(
            """
            SELECT seller, avg(price) FROM (
                SELECT *, row_number() OVER (PARTITION BY seller ORDER BY expires DESC, id DESC) AS n FROM won
            ) WHERE n <= 10 GROUP BY ALL
            """
        )
    )
    said["q5"] = {}
    for start, auction, count in rows(
        f"""
        WITH counts AS (
            SELECT (date_time // {2 * SECOND} - back) * {2 * SECOND} AS start, auction, count(*) AS n
            FROM bids, range(5) AS of_it(back) GROUP BY ALL
        )
        SELECT * FROM counts QUALIFY n = max(n) OVER (PARTITION BY start) ORDER BY start, auction
        """
    ):
        said["q5"].setdefault(str(start), []).append([auction, count])
    said["q7"] = {}
    for start, *row in rows(
        f"""
        SELECT date_time // {10 * SECOND} * {10 * SECOND} AS start, auction, bidder, price, channel, date_time
        FROM bids QUALIFY price = max(price) OVER (PARTITION BY start) ORDER BY ALL
        """
    ):
        said["q7"].setdefault(window("all", start), []).append(bid(row))
    said["q11"] = {
        window(bidder, start): count
        for bidder, start, count in rows(
            f"""
            WITH breaks AS (
                SELECT bidder, date_time, coalesce(date_time - lag(date_time) OVER each >= {10 * SECOND}, true)
                    AS breaks FROM bids WINDOW each AS (PARTITION BY bidder ORDER BY date_time)
            ), sessions AS (
                SELECT bidder, date_time, count(*) FILTER (breaks) OVER (
                    PARTITION BY bidder ORDER BY date_time ROWS UNBOUNDED PRECEDING) AS session FROM breaks
            )
            SELECT bidder, min(date_time), count(*) FROM sessions GROUP BY bidder, session
            """
        )
    }
    for name, key in ("q16", "channel"), ("q17", "auction"):
        said[name] = {
            window(of, day): {"bids": n, "by_rank": ranks, "least": least, "most": most, "sum": total}
            for of, day, n, *ranks, least, most, total in rows(DAYS.replace("KEY", key))
        }
    for name, of in ("q16_bidders", "bidder"), ("q16_auctions", "auction"):
        what = f"SELECT channel, date_time // {DAY} * {DAY}, count(DISTINCT {of}) FROM bids GROUP BY ALL"
        said[name] = {window(channel, day): count for channel, day, count in rows(what)}
    said["q18"] = {
        f"{row[1]}:{row[0]}": bid(row)
        for row in rows(
            """
            SELECT auction, bidder, price, channel, date_time FROM bids QUALIFY row_number() OVER (
                PARTITION BY auction, bidder ORDER BY date_time DESC, price DESC, channel DESC) = 1
            """
        )
    }
    json.dump(said, sys.stdout)


if __name__ == "__main__":
    main(sys.argv[1])
