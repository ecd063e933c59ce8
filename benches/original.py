#!/usr/bin/env python3
"""The program that tallyd grew out of, without its pauses: requests and distinct clients of each log, a process per log, four at a time.

Its client is the text before the first ` - -` up to its first comma: tallyd's rule `before-dashes`. Blank lines are no requests.
"""
import json
import multiprocessing
import os
import sys


def count(path):
    total, clients = 0, set()
    with open(path, encoding="utf-8", errors="surrogateescape", newline="\n") as log:
        for line in log:
            if line.strip():
                total += 1
                clients.add(line.split(" - -", maxsplit=1)[0].split(",")[0])
    return os.path.basename(path), {"total": total, "ip": len(clients)}


if __name__ == "__main__":
    with multiprocessing.Pool(4) as pool:
        print(json.dumps(dict(pool.map(count, sys.argv[1:], chunksize=1))))
