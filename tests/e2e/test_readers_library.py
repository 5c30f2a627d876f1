"""What the readers say of data files against what `datasets` does with the same files."""

from __future__ import annotations

import bz2
import gzip
import io
import json
import lzma
import math
import random
import subprocess
import sys
import zipfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as parquet
import pytest
from scratch import environment

from qtune.data.file_types import data_files
from qtune.data.flaws import Flaw
from qtune.data.reading.columns import ColumnTypes
from qtune.data.reading.readers import blocks, unreadable
from qtune.data.registrations import Registration
from qtune.files import Document

HERE = Path(__file__).parent
DRAWN, SEED = 1200, 7

ROW = '{"a":"x","b":1}\n'
MIB = 1 << 20


@dataclass
class Case:
    """Files to load together; stricter: qtune refuses them although the library loads them."""

    name: str
    files: dict[str, bytes]
    stricter: bool = False
    whole: bool = True


def one(name: str, text: str | bytes, suffix: str = "jsonl", **more: bool) -> Case:
    raw = text if isinstance(text, bytes) else text.encode("utf-8", "surrogatepass")
    return Case(name, {f"data.{suffix}": raw}, **more)


def typed(*values: str) -> str:
    return "".join(f'{{"a":{value}}}\n' for value in values)


def pretty(rows: int) -> str:
    return ('{\n "a": 1,\n "b": "' + "x" * 100 + '"\n}\n') * rows


def late(first: str, then: str, rows: int = 10_500) -> str:
    """Two kinds of rows, the second after what pyarrow reads at once."""
    padding = json.dumps({"p": "z" * 1000}) + "\n"
    return f'{{"a":{first},"p":""}}\n' + padding * rows + f'{{"a":{then},"p":""}}\n'


def parquet_of(columns: dict[str, Any], **options: Any) -> bytes:
    sink = pa.BufferOutputStream()
    parquet.write_table(pa.table(columns), sink, **options)
    return sink.getvalue().to_pybytes()


def arrow_of(columns: dict[str, Any], open_writer: Callable[..., Any]) -> bytes:
    table = pa.table(columns)
    sink = pa.BufferOutputStream()
    with open_writer(sink, table.schema) as writer:
        writer.write_table(table)
    return sink.getvalue().to_pybytes()


COLUMNS = {"a": ["x", None, "z"], "b": [1, 2, 3]}
PARQUET, STREAM = parquet_of(COLUMNS), arrow_of(COLUMNS, pa.ipc.new_stream)
INDEXED = arrow_of(COLUMNS, pa.ipc.new_file)
KINDS = {
    "string_view": pa.array(["x"], pa.string_view()),
    "lists of string_view": pa.array([["x"]], pa.list_(pa.string_view())),
    "objects of string_view": pa.array([{"b": "x"}], pa.struct({"b": pa.string_view()})),
    "binary_view": pa.array([b"x"], pa.binary_view()),
    "list_view": pa.array([[1]], pa.list_view(pa.int64())),
    "binary of a size": pa.array([b"x"], pa.binary(1)),
    "large_string": pa.array(["x"], pa.large_string()),
    "large lists": pa.array([["x"]], pa.large_list(pa.string())),
    "lists of a size": pa.array([["x"]], pa.list_(pa.string(), 1)),
    "a dictionary": pa.array(["x"]).dictionary_encode(),
    "null": pa.array([None], pa.null()),
    "float16": pa.array([1.0], pa.float32()).cast(pa.float16()),
}


def zipped(content: bytes) -> bytes:
    sink = io.BytesIO()
    with zipfile.ZipFile(sink, "w") as archive:
        archive.writestr("data.jsonl", content)
    return sink.getvalue()


LINES = [
    one("rows", ROW * 3),
    one("no final line end", ROW + ROW.strip()),
    one("blank lines", f"\n{ROW}\n \t\n\n{ROW}\n"),
    one("Windows line ends", ROW.replace("\n", "\r\n") * 2 + "\r\n" + ROW),
    one("Mac line ends", ROW.replace("\n", "\r") * 3),
    one("byte-order mark", "\ufeff" + ROW * 2),
    one("byte-order mark within", ROW + "\ufeff" + ROW),
    one("byte-order mark alone", "\ufeff"),
    one("UTF-16", (ROW * 2).encode("utf-16")),
    one("UTF-16 without mark", (ROW * 2).encode("utf-16-le")),
    one("GBK", '{"a":"中文"}\n{"a":"x"}\n'.encode("gbk")),
    one("not UTF-8", b'{"a":"x\xff"}\n{"a":"y"}\n'),
    one("a key not UTF-8", b'{"a\xff":"x"}\n{"a":"y"}\n'),
    one("half a character", b'{"a":"\xe4\xb8"}\n{"a":"y"}\n'),
    one("surrogate as bytes", b'{"a":"\xed\xa0\x80"}\n{"a":"y"}\n'),
    one("cut off", ROW + '{"a":"x","b"\n' + ROW),
    one("cut off in a text", ROW + '{"a":"x\n' + ROW),
    one("cut off at the end", ROW + '{"a":"x'),
    one("comma in the object", '{"a":"x",}\n' * 2),
    one("comma after each row", '{"a":"x"},\n' * 2),
    one("comma between rows", '{"a":"x"},\n{"a":"y"}\n'),
    one("single quotes", "{'a':'x'}\n" * 2),
    one("NaN", '{"a":NaN}\n{"a":1}\n'),
    one("Infinity", '{"a":Infinity}\n{"a":-Infinity}\n'),
    one("NaN among texts", '{"a":NaN}\n{"a":"x"}\n'),
    one("whole number of 100 bits", '{"a":1234567890123456789012345678901}\n{"a":1}\n'),
    one("more than a double", '{"a":1e999}\n{"a":1}\n'),
    one("less than a double", '{"a":1e-999}\n{"a":1}\n'),
    one("lone high surrogate", '{"a":"\\ud800"}\n' * 2),
    one("lone low surrogate", '{"a":"\\udc00x"}\n' * 2),
    one("surrogate pair", '{"a":"\\ud83d\\ude00"}\n' * 2),
    one("lone surrogate in a key", '{"\\ud800":1}\n' * 2),
    one("escaped zero", '{"a":"\\u0000"}\n' * 2),
    one("key twice", '{"a":1,"a":2}\n' * 2),
    one("key twice, spaced", '{"a" : 1, "a" : 2}\n' * 2),
    one("key twice within", '{"a":{"b":1,"b":2}}\n' * 2),
    one("key twice in a list", '{"a":[{"b":1},{"b":1,"b":2}]}\n' * 2),
    one("colons and quotes in texts", '{"a":"\\"b\\": 1","c":": x"}\n' * 2),
    one("tab in a text", '{"a":"x\ty"}\n' * 2),
    one("zero in a text", '{"a":"x\0y"}\n' * 2),
    one("DEL in a text", '{"a":"x\x7fy\u2028"}\n' * 2),
    one("form feed between", '{"a":1}\n\x0c\n{"a":1}\n'),
    one("several in a line", '{"a":1}{"a":2}\n{"a":3} {"a":4}\n'),
    one("over several lines", pretty(20)),
    one("over several lines, too large", pretty(4000)),
    one("line end in a text", '{"a":"x\ny"}\n' * 2),
    one("words after a row", '{"a":1} xyz\n{"a":2}\n'),
    one("words alone", '{"a":1}\nxyz\n'),
    one("comment", '// x\n{"a":1}\n'),
    one("bracket too many", '{"a":1}}\n{"a":1}\n'),
    one("leading zero", '{"a":01}\n' * 2),
    one("plus", '{"a":+1}\n' * 2),
    one("point alone", '{"a":1.}\n' * 2),
    one("unknown escape", '{"a":"\\x41"}\n' * 2),
    one("Python's True", '{"a":True}\n' * 2),
    one("numbers as rows", "1\n2\n"),
    one("a text as row", '{"a":1}\n"x"\n'),
    one("a list as row", '{"a":1}\n[1]\n'),
    one("null as row", '{"a":1}\nnull\n{"a":2}\n', stricter=True),
    one("null as first row", 'null\n{"a":1}\n'),
    one("empty", ""),
    one("blank", "\n\n"),
    one("empty objects", "{}\n{}\n"),
    one("an empty object", '{}\n{"a":1}\n'),
    one("keys missing", '{"a":1}\n{"b":"x"}\n'),
    one("an empty key", '{"":1}\n{"":2}\n'),
    one("text and number", typed('"x"', "1")),
    one("number and text", typed("1", '"x"')),
    one("whole and fraction", typed("1", "1.5")),
    one("truth and number", typed("true", "1")),
    one("text and null", typed('"x"', "null", '"y"')),
    one("null and text", typed("null", "null", '"y"')),
    one("nulls", typed("null", "null")),
    one("text and list", typed('"x"', '["x"]')),
    one("list and object", typed("[1]", '{"b":1}')),
    one("empty list and texts", typed("[]", '["x"]', "[null]")),
    one("lists of two types", typed('["x"]', "[1]")),
    one("list of two types", typed('["x",1]', "[]")),
    one("objects of other keys", typed('{"b":1}', '{"c":"x"}', "{}", "null")),
    one("objects of other types", typed('{"b":1}', '{"b":"x"}')),
    one("turns of other types", typed('[{"f":"u","v":"x"}]', '[{"f":"u","v":["x"]}]')),
    one("dates", typed('"2024-01-01"', '"2024-02-29T10:00:00Z"', "null")),
    one("dates and text", typed('"2024-01-01"', '"soon"')),
    one("no such dates", typed('"2024-02-30"', '"2023-02-29"')),
    one("dates with fractions", typed('"2024-01-01 10:00:00.5"')),
    one("dates within", typed('[{"b":"2024-01-01 10:00"}]')),
    one("nested 50 deep", typed("[" * 50 + "]" * 50)),
    one("nested 70 deep", typed("[" * 70 + "]" * 70)),
    one("nested 2000 deep", typed("[" * 2000 + "]" * 2000)),
    one("the list in an object", '{"data":[{"a":1},{"a":2}]}\n'),
    *(
        one(f"{module.__name__} {name}", content)
        for module in (gzip, bz2, lzma)
        for name, content in (
            ("under another name", module.compress(ROW.encode() * 3)),
            ("in two parts", module.compress(ROW.encode()) + module.compress(ROW.encode())),
            ("cut off", module.compress(ROW.encode() * 3)[:-12]),
            ("of nothing", module.compress(b"")),
            ("twice", module.compress(module.compress(ROW.encode()))),
            ("of broken rows", module.compress(f"{ROW}{{".encode())),
        )
    ),
    one("zip under another name", zipped(ROW.encode()), stricter=True),
    *(
        one(f"whole number of {digits} digits", typed("9" * digits, "-" + "9" * digits, "1"))
        for digits in (18, 19, 20, 310, 5000)
    ),
    one("whole number of 5000 digits in a list", typed(f"[{'9' * 5000}]")),
    one("whole number of 25 digits and a text", typed("9" * 25, '"x"')),
    Case("name with a pattern", {"data[1].jsonl": ROW.encode()}),
]
ARRAYS = [
    one(name, text, "json", **more)
    for name, text, more in (
        ("array", '[{"a":"x","b":1},{"a":"y","b":2}]', {}),
        ("array over lines", '\n [\n {"a":"x"},\n {"a":"y"}\n]\n\n', {}),
        ("array with Windows line ends", '[\r\n {"a":"x"},\r\n {"a":"y"}\r\n]\r\n', {}),
        ("empty array", "[]", {}),
        ("array of empty objects", "[{},{}]", {}),
        ("array with an empty object", '[{},{"a":1}]', {}),
        ("array with byte-order mark", '\ufeff[{"a":1}]', {}),
        ("text after the array", '[{"a":1}] x', {}),
        ("bracket too many", '[{"a":1}]]', {}),
        ("two arrays", '[{"a":1}]\n[{"a":2}]\n', {}),
        ("no comma", '[{"a":1}\n{"a":2}]', {}),
        ("comma at the end", '[{"a":1},]', {}),
        ("two commas", '[{"a":1},,{"a":2}]', {}),
        ("comma first", '[,{"a":1}]', {}),
        ("no end", '[{"a":1}', {}),
        ("no end after a comma", '[{"a":1},\n', {}),
        ("cut off", '[{"a":1},\n{"a":', {}),
        ("comma in the object", '[{"a":1,},{"a":", }"}]', {}),
        ("comma in the list", '[{"a":[1,]}]', {}),
        ("single quotes", "[{'a':1}]", {}),
        ("NaN", '[{"a":NaN},{"a":"x"}]', {}),
        ("Infinity", '[{"a":Infinity},{"a":-Infinity}]', {}),
        ("whole number of 64 bits", '[{"a":18446744073709551615}]', {}),
        ("whole number of 65 bits", '[{"a":18446744073709551616}]', {}),
        ("negative whole number of 65 bits", '[{"a":-9223372036854775809}]', {}),
        ("lone high surrogate", '[{"a":"x\\ud83d"},{"a":"\\ud83d\\ude00"}]', {}),
        ("lone low surrogate", '[{"a":"\\udc00"}]', {}),
        ("two high surrogates", '[{"a":"\\ud83d\\ud83d"}]', {}),
        ("key twice", '[{"a":1,"a":2},{"a":3}]', {}),
        ("tab and line end in texts", '[{"a":"x\ty"},{"a":"x\ny"}]', {}),
        ("zero in a text", '[{"a":"x\0y"}]', {}),
        ("not UTF-8", b'[{"a":"x"},\n{"a":"\xff"}]', {}),
        ("GBK", '[{"a":"中文"}]'.encode("gbk"), {}),
        ("UTF-16", '[{"a":"x"}]'.encode("utf-16"), {}),
        ("unknown escape", '[{"a":"\\x41"}]', {}),
        ("Python's True", '[{"a":True}]', {}),
        ("comment", '[/* x */{"a":1}]', {}),
        ("texts as rows", '["x","y",null]', {}),
        ("texts and an object", '["x",{"a":1}]', {}),
        ("an object and a text", '[{"a":1},"x"]', {}),
        ("an object and null", '[{"a":1},null]', {}),
        ("null and an object", '[null,{"a":1}]', {"stricter": True}),
        ("whole number of 5000 digits", f'[{{"a":{"9" * 5000}}}]', {}),
        ("gzip", gzip.compress(b'[{"a":"x"},{"a":"y"}]'), {}),
        ("gzip cut off", gzip.compress(b'[{"a":"x"},{"a":"y"}]')[:-12], {}),
        ("numbers as rows", "[1,2]", {"stricter": True}),
        ("lists as rows", "[[1,2],[3,4]]", {"stricter": True}),
        ("leading zero", '[{"a":01}]', {"stricter": True}),
        ("text and number", '[{"a":"x"},{"a":1}]', {}),
        ("number and text", '[{"a":1},{"a":"x"}]', {}),
        ("truth and number", '[{"a":true},{"a":1}]', {}),
        ("fraction and truth", '[{"a":1.5},{"a":true}]', {"stricter": True}),
        ("whole and fraction", '[{"a":1},{"a":1.5},{"a":2.0}]', {}),
        ("texts that look like numbers", '[{"a":"1"},{"a":"2"}]', {}),
        ("dates", '[{"a":"2024-01-01"}]', {}),
        ("null and text", '[{"a":null},{"a":"x"}]', {}),
        ("list of two types", '[{"a":["x",1]}]', {}),
        ("turns of other types", '[{"a":[{"v":"x"}]},{"a":[{"v":["x"]}]}]', {}),
        ("objects of other keys", '[{"a":{"b":1}},{"a":{"c":"x"}}]', {}),
        ("nested 70 deep", '[{"a":' + "[" * 70 + "]" * 70 + "}]", {}),
        ("lines under the name of JSON", ROW * 2, {}),
        ("one object over lines", '{\n "a": 1,\n "b": "x"\n}\n', {}),
    )
]
TABLES = [
    one(name, text, "csv")
    for name, text in (
        ("table", "a,b\nx,1\ny,2\n"),
        ("header alone", "a,b\n"),
        ("nothing", ""),
        ("blank lines", '\n\na,b\n\nx,"1\n\n2"\n  \n\ny,2\n'),
        ("byte-order mark", '\ufeff"a",b\nx,1\n'),
        ("UTF-16", "a,b\nx,1\n".encode("utf-16")),
        ("GBK", "a\n中文\n".encode("gbk")),
        ("not UTF-8", b"a\nx\nx\xff\n"),
        ("zero byte", 'a,b\n"x\0y",1\n'),
        ("words for no value", "a,b\nNA,1\nnull,2\nNone,3\n,4\n<NA>,5\nna,6\nx,7\n"),
        ("all empty", "a,b\n,1\n,2\n"),
        ("one column", 'a\nx\n\n""\ny\n'),
        ("quotation marks", 'a,b\n"x ""q"" y",1\nx "q" y,2\n"x"y,3\n'),
        ("quotation mark left open", 'a,b\n"x,1\ny,2\n'),
        ("quotation mark left open at the end", 'a,b\nx,1\n"y,2'),
        ("space before a quotation mark", 'a,b\nx, "y"\n'),
        ("a field too many in all", "a,b\nx,1,3\ny,2,4\n"),
        ("a field too many", "a,b\nx,1\ny,2,3\n"),
        ("a field too few", "a,b\nx\ny,2\n"),
        ("commas at the ends", "a,b\nx,1,\ny,2,\n"),
        ("comma at the header's end", "a,b,\nx,1,\n"),
        ("columns of one name", "a,a,a.1,a\nx,1,2,3\n"),
        ("no name", ",b,\nx,1,2\n"),
        ("semicolons", "a;b\nx;1\n"),
        ("Windows line ends", 'a,b\r\n"x\r\ny",1\r\n'),
        ("Mac line ends", "a,b\rx,1\ry,2\r"),
        ("whole numbers", "a\n1\n 2\n+3\n007\n"),
        ("numbers", "a\n1\n2.5\n1e5\n.5\n1.\n-inf\n"),
        ("numbers and text", "a\n1\n2.50\nx\n"),
        ("numbers and none", "a\n1\nNA\n"),
        ("truth values", "a,b\nTrue,true\nFALSE,NA\n"),
        ("truth values and numbers", "a\nTrue\n1\n"),
        ("64 bits", "a\n18446744073709551615\n1\n"),
        ("64 bits and negative", "a\n18446744073709551615\n-1\n"),
        ("65 bits", "a\n18446744073709551616\n1\n"),
        ("65 bits and fraction", "a\n99999999999999999999\n1.5\n"),
        ("64 bits and fraction", "a\n18446744073709551615\n1.5\n"),
        ("more than a double", "a\n1e400\n"),
        ("5000 digits", f"a\n{'9' * 5000}\n1\n"),
        ("gzip", gzip.compress(b"a,b\nx,1\n")),
        ("gzip cut off", gzip.compress(b"a,b\nx,1\n")[:-12]),
        ("dates", "a\n2024-01-01\n"),
    )
]
OTHERS = [
    *(
        one(name, text, "txt")
        for name, text in (
            ("text", "a\n\nb\x0c\u2028\nc"),
            ("line ends", "a\r\nb\rc\r\r\nd\n"),
            ("byte-order mark", "\ufeffa\nb\n"),
            ("not UTF-8", b"a\n\xff\n"),
            ("empty", ""),
            ("blank", "\n"),
        )
    ),
    one("Parquet", PARQUET, "parquet"),
    one("Parquet cut off", PARQUET[:-20], "parquet"),
    one("Parquet without rows", parquet_of({"a": pa.array([], pa.string())}), "parquet"),
    one("Parquet damaged", b"PAR1" + b"\0" * 60 + PARQUET[64:], "parquet"),
    one(
        "Parquet with a map", parquet_of({"a": pa.array([[("k", 1)]], pa.map_("string", "int64"))}), "parquet"
    ),
    one("empty Parquet", b"", "parquet"),
    *(
        one(f"{suffix} of {kind}", write({"a": values}), suffix)
        for suffix, write in (
            ("parquet", parquet_of),
            ("arrow", lambda columns: arrow_of(columns, pa.ipc.new_stream)),
        )
        for kind, values in KINDS.items()
    ),
    one("text in gzip", gzip.compress(b"a\nb\n"), "txt"),
    one("Parquet in gzip", gzip.compress(PARQUET), "parquet"),
    one("Arrow stream in gzip", gzip.compress(STREAM), "arrow"),
    one("Arrow stream", STREAM, "arrow"),
    one("Arrow stream without end", STREAM[:-8], "arrow"),
    one("Arrow stream cut off", STREAM[:-30], "arrow"),
    one("Arrow file", INDEXED, "arrow"),
    one("Arrow file cut off", INDEXED[:-30], "arrow"),
    one("no Arrow file", b"hello world" * 10, "arrow"),
    Case("shards", {"1.jsonl": ROW.encode(), "2.jsonl": ROW.encode()}),
    Case("shards of both forms", {"1.jsonl": ROW.encode(), "2.json": f"[{ROW}]".encode()}),
    Case("a hidden shard", {".1.jsonl": ROW.encode(), "2.jsonl": ROW.encode()}),
    Case("a shard with fewer columns", {"1.jsonl": ROW.encode(), "2.jsonl": b'{"a":"x"}\n'}),
    Case("a shard with more columns", {"1.jsonl": ROW.encode(), "2.jsonl": b'{"a":"x","c":1}\n'}),
    Case("a shard of another type", {"1.jsonl": typed("1").encode(), "2.jsonl": typed('"x"').encode()}),
    Case("a shard of nulls", {"1.jsonl": typed("null").encode(), "2.jsonl": typed('"x"').encode()}),
    Case("an empty shard", {"1.jsonl": ROW.encode(), "2.jsonl": b""}),
    Case("an empty CSV shard", {"1.csv": b"a\nx\n", "2.csv": b""}),
    Case("CSV shards in another order", {"1.csv": b"a,b\nx,1\n", "2.csv": b"b,a\n1,x\n"}),
    Case("Parquet shards", {"1.parquet": PARQUET, "2.parquet": PARQUET}),
    Case("Parquet shards of other columns", {"1.parquet": PARQUET, "2.parquet": parquet_of({"c": [1]})}),
]
LATE = [
    one(name, late(first, then), whole=False)
    for name, first, then in (
        ("late value", "null", '"x"'),
        ("late null", '"x"', "null"),
        ("late number", "1", "2"),
        ("late fraction", "1", "1.5"),
        ("late whole double", "1", "2.0"),
        ("late key", '{"b":1}', '{"b":1,"c":null}'),
        ("late lack of a key", '{"b":1,"c":2}', '{"b":1}'),
        ("late element", "[]", '["x"]'),
        ("late empty list", '["x"]', "[]"),
        ("late text among dates", '"2024-01-01"', '"x"'),
        ("late text after numbers", "1", '"x"'),
        ("late list after texts", '"x"', '["x"]'),
    )
] + [
    one("late column", ROW + json.dumps({"a": "z" * 11 * MIB}) + "\n" + '{"a":"x","c":1}\n', whole=False),
    one("column in time", ROW + json.dumps({"a": "z" * 9 * MIB}) + "\n" + '{"a":"x","c":1}\n', whole=False),
    one("CSV: text after 10,000 numbers", "a,b\n" + "1,y\n" * 10_000 + "x,y\n", "csv", whole=False),
    one("CSV: text after 9,999 numbers", "a,b\n" + "1,y\n" * 9_999 + "x,y\n", "csv", whole=False),
    one("CSV: text after 10,000 empty", "a,b\n" + ",y\n" * 10_000 + "x,y\n", "csv", whole=False),
    one("CSV: number after 10,000 empty", "a,b\n" + ",y\n" * 10_000 + "1,y\n", "csv", whole=False),
    one("CSV: fraction after 10,000 whole", "a,b\n" + "1,y\n" * 10_000 + "1.5,y\n", "csv", whole=False),
    one("CSV: text after 10,000 truth values", "a,b\n" + "True,y\n" * 10_000 + "x,y\n", "csv", whole=False),
]


VALUES = ['"x"', '"é\\n"', '"2024-01-01"', '"{\\"k\\": 1}"', '""', "null", "1", "2.25", "true", "[]", "{}"]
VALUES += [
    '["x"]',
    '[{"f":"u","v":"x"},{"f":"g","v":"y"}]',
    '[{"f":"u","v":1}]',
    '{"k":"x"}',
    '{"k":null}',
    "[1]",
]
BREAKS = [
    "",
    " ",
    ",",
    '"',
    "{",
    "}",
    "[",
    "]",
    ":",
    "\\",
    "\t",
    "\n",
    "\0",
    "x",
    "\ufeff",
    "\\ud800",
    "null",
]


def draw_rows(draw: random.Random) -> list[str]:
    """Rows of which most have one type for each column."""
    usual = {key: draw.choice(VALUES) for key in ("a", "b", "c")}
    rows = []
    for _ in range(draw.randrange(1, 6)):
        keys = draw.sample(list(usual), draw.choice([2, 3, 3]))
        values = {key: draw.choice([usual[key]] * 12 + ["null", draw.choice(VALUES)]) for key in keys}
        rows.append("{" + ", ".join(f'"{key}": {value}' for key, value in values.items()) + "}")
    return rows


def break_text(draw: random.Random, text: str) -> bytes:
    """One character more, less or other, half of the time."""
    if draw.random() < 0.5:
        place = draw.randrange(len(text))
        text = text[:place] + draw.choice(BREAKS) + text[place + draw.choice([0, 1]) :]
    raw = text.encode()
    if draw.random() < 0.05:
        place = draw.randrange(len(raw))
        raw = raw[:place] + b"\xff" + raw[place:]
    return raw


def drawn_lines(draw: random.Random) -> bytes:
    between = draw.choice(["\n"] * 8 + ["\n\n", "\r\n", ",\n", " "])
    return break_text(draw, between.join([*draw_rows(draw), *draw_rows(draw)]) + draw.choice(["", "\n"]))


def drawn_array(draw: random.Random) -> bytes:
    text = draw.choice([", ", ",\n", ","]).join(draw_rows(draw))
    return break_text(draw, draw.choice(["[{}]", "[\n{}\n]\n"]).replace("{}", text))


CELLS = [
    "x",
    "é y",
    "1",
    "2.5",
    "-3",
    "true",
    "NA",
    "",
    "None",
    '"q ""r"""',
    '"a,b"',
    '"x\ny"',
    " ",
    "007",
    "1e3",
]


def drawn_table(draw: random.Random) -> bytes:
    width = draw.randrange(1, 4)
    usual = [draw.choice(CELLS) for _ in range(width)]
    lines = [",".join("abc"[:width])]
    for _ in range(draw.randrange(1, 6)):
        cells = [draw.choice([cell, cell, draw.choice(CELLS)]) for cell in usual]
        lines.append(",".join(cells + ["x"] * (draw.random() < 0.03)))
        lines += [""] * (draw.random() < 0.1)
    text = draw.choice(["\n", "\n", "\r\n"]).join(lines) + draw.choice(["", "\n"])
    raw = text.encode()
    if draw.random() < 0.1:
        place = draw.randrange(len(raw))
        raw = raw[:place] + draw.choice([b'"', b",", b"\xff", b"\n"]) + raw[place:]
    return raw


def drawn() -> Iterator[Case]:
    draw = random.Random(SEED)
    for number in range(DRAWN):
        yield one(f"lines {number}", drawn_lines(draw), whole=False)
        yield one(f"array {number}", drawn_array(draw), "json", whole=False)
        yield one(f"table {number}", drawn_table(draw), "csv", whole=False)


@dataclass
class Outcome:
    """What both say of a case; theirs: None where the library refuses it."""

    case: Case
    rows: list[dict[str, Any]]
    flaws: list[Flaw]
    theirs: list[str | None] | None

    @property
    def refused(self) -> bool:
        return any(flaw.effect == "refused" for flaw in self.flaws)

    def complaint(self) -> str | None:
        """How they differ."""
        misencoded = sum(flaw.kind == "encoding" and flaw.effect == "crash" for flaw in self.flaws)
        if misencoded and self.theirs is None:
            return None  # rows that are not UTF-8 are not looked at any further
        if self.theirs is None or self.refused:
            both = (self.theirs is None) == self.refused
            expected = self.theirs is not None and self.refused if self.case.stricter else both
            return (
                None if expected else f"library {'refuses' if self.theirs is None else 'loads'}: {self.flaws}"
            )
        if misencoded != self.theirs.count(None):
            return f"unreadable rows: {self.flaws}"
        theirs = [json.loads(row) for row in self.theirs if row is not None]
        if len(theirs) != len(self.rows):
            return f"{len(theirs)} rows, not {len(self.rows)}"
        return next(
            (f"{a} is not {b}" for a, b in zip(theirs, self.rows, strict=True) if not same(a, b)), None
        )


def same(theirs: Any, ours: Any) -> bool:
    """Alike but for what pyarrow fills in and turns: keys that others have, dates, numbers of one column."""
    if isinstance(theirs, dict) and "time" in theirs:
        return isinstance(ours, str)
    if isinstance(theirs, dict) and isinstance(ours, dict):
        return all(same(theirs.get(key), ours.get(key)) for key in {*theirs, *ours})
    if isinstance(theirs, list) and isinstance(ours, list):
        return len(theirs) == len(ours) and all(map(same, theirs, ours))
    if isinstance(theirs, bool) or isinstance(ours, bool):
        return theirs is ours
    if isinstance(theirs, int | float) and isinstance(ours, int | float):
        return math.isclose(theirs, ours, rel_tol=1e-15) or (math.isnan(theirs) and math.isnan(ours))
    return bool(theirs == ours)


def examine(path: Path) -> tuple[list[dict[str, Any]], list[Flaw]]:
    flaws = [flaw for _, flaw in unreadable(path)]
    if flaws:
        return [], flaws
    entry = {"file_name": path.name, "columns": {"prompt": "a"}}
    types = ColumnTypes(Registration("case", entry, Document({}, {}, path, "", "")))
    rows = []
    for file in data_files(path):
        for block in blocks(file):
            assert len(block.lines) == len(block.rows)
            flaws += [flaw for _, flaw in (*block.flaws, *types.flaws(block))]
            rows += block.rows
    return rows, flaws + types.conclusions()


def compare(cases: Sequence[Case], root: Path) -> list[Outcome]:
    """Both see the same files; the library is asked in one other process."""
    asked, paths = [], []
    for number, case in enumerate(cases):
        folder = root / str(number)
        folder.mkdir()
        for name, content in case.files.items():
            (folder / name).write_bytes(content)
        names = sorted(case.files)
        asked.append(([str(folder / name) for name in names], case.whole))
        paths.append(folder if len(names) > 1 else folder / names[0])
    (root / "files.json").write_text(json.dumps(asked), encoding="utf-8")
    command = [
        sys.executable,
        str(HERE / "load_files.py"),
        str(root / "files.json"),
        str(root / "answers.json"),
    ]
    done = subprocess.run(
        command, env=environment(), stdin=subprocess.DEVNULL, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr[-8000:]
    answers = (root / "answers.json").read_text(encoding="utf-8").splitlines()
    return [
        Outcome(case, *examine(path), json.loads(answer))
        for case, path, answer in zip(cases, paths, answers, strict=True)
    ]


def complaints(outcomes: Sequence[Outcome]) -> dict[str, str]:
    found = ((outcome.case.name, outcome.complaint()) for outcome in outcomes)
    return {name: complaint for name, complaint in found if complaint is not None}


@pytest.mark.parametrize(
    "cases", [LINES, ARRAYS, TABLES, OTHERS, LATE], ids=["lines", "arrays", "tables", "others", "late"]
)
def test_hand_made_files_are_refused_and_read_as_the_library_does(cases: list[Case], tmp_path: Path) -> None:
    assert complaints(compare(cases, tmp_path)) == {}


def test_drawn_files_are_refused_and_read_as_the_library_does(tmp_path: Path) -> None:
    outcomes = compare(list(drawn()), tmp_path)
    refused = sum(outcome.theirs is None for outcome in outcomes)
    assert 0.2 < refused / len(outcomes) < 0.8
    assert complaints(outcomes) == {}
