"""What a minted set says of itself, read back by parsers that are not ours."""

from __future__ import annotations

import hashlib
import importlib.util
import json
import struct
import zlib
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from augmint.aspects.base import Schema
from augmint.aspects.category import Category
from augmint.minting.curation import CurationConfig, Minted, mint
from augmint.minting.provenance import xmp_packet
from augmint.minting.writer import write_minted

RDF = "{http://www.w3.org/1999/02/22-rdf-syntax-ns#}"
DC = "{http://purl.org/dc/elements/1.1/}"
IPTC = "{http://iptc.org/std/Iptc4xmpExt/2008-02-29/}"
TRAINED = "http://cv.iptc.org/newscodes/digitalsourcetype/trainedAlgorithmicMedia"
HOSTILE = ('</rdf:li><evil a="', "bell \x07 & <b>", "Straße 🐝 ' \" ]]>")


def chunks(raw: bytes) -> list[tuple[bytes, bytes]]:
    """Read a PNG's chunks by the format's definition, checksums included."""
    assert raw[:8] == b"\x89PNG\r\n\x1a\n"
    found, place = [], 8
    while place < len(raw):
        (length,) = struct.unpack(">I", raw[place : place + 4])
        kind, data = raw[place + 4 : place + 8], raw[place + 8 : place + 8 + length]
        (checksum,) = struct.unpack(">I", raw[place + 8 + length : place + 12 + length])
        assert zlib.crc32(kind + data) == checksum
        found.append((kind, data))
        place += 12 + length
    return found


def packet_of(raw: bytes) -> str:
    """Return the one XMP packet of a PNG: an uncompressed iTXt chunk before the pixels."""
    listed = chunks(raw)
    texts = [data for kind, data in listed if kind == b"iTXt"]
    assert len(texts) == 1
    assert [k for k, _ in listed].index(b"iTXt") < [k for k, _ in listed].index(b"IDAT")
    keyword, rest = texts[0].split(b"\0", 1)
    assert keyword == b"XML:com.adobe.xmp"
    assert rest[:4] == b"\0\0\0\0", "not compressed, no language, no translated keyword"
    return rest[4:].decode()


@pytest.fixture
def minted(schema: Any, truthful: Any, brightness: Any) -> Minted:
    quotas = {0: 2, 1: 2, 2: 1}
    return mint(truthful(3), brightness(3), schema, quotas, CurationConfig(), 7, False)


def test_every_file_says_that_it_is_synthetic(tmp_path: Path, minted: Minted) -> None:
    schema = Schema((Category("label", HOSTILE),))
    folder = write_minted(minted, tmp_path / "mint", schema, {"generator": "ab" * 32})
    lines = [json.loads(t) for t in (folder / "metadata.jsonl").read_text("utf-8").split("\n") if t]
    assert len(lines) == 5
    for line in lines:
        raw = (folder / line["file_name"]).read_bytes()
        assert line["sha256"] == hashlib.sha256(raw).hexdigest()
        root = ElementTree.fromstring(packet_of(raw))
        (described,) = root.iter(f"{RDF}Description")
        assert described.findtext(f"{IPTC}DigitalSourceType") == TRAINED
        assert described.findtext(f"{IPTC}AISystemUsed") == "augmint"
        assert "ab" * 32 in str(described.findtext(f"{DC}source"))
        (subject,) = described.iter(f"{RDF}li")
        assert subject.text == f"label: {line['label']}".replace("\x07", "\ufffd")


def test_pillow_reads_the_packet(tmp_path: Path, minted: Minted, schema: Any) -> None:
    if importlib.util.find_spec("defusedxml") is None:
        pytest.skip("Pillow reads XMP with defusedxml, which is not installed")
    folder = write_minted(minted, tmp_path / "mint", schema, {"generator": "ab"})
    with Image.open(next(folder.glob("ant/*.png"))) as picture:
        told = picture.getxmp()["xmpmeta"]["RDF"]["Description"]
    assert told["DigitalSourceType"] == TRAINED


@given(st.text(max_size=40), st.text(max_size=40))
def test_any_text_survives_in_the_packet(source: str, label: str) -> None:
    root = ElementTree.fromstring(xmp_packet(source, {"label": label}).encode())
    found = root.find(f".//{DC}source")
    assert found is not None

    def readable(text: str) -> str:
        return "".join(
            c if c in "\t\n\r" or (c >= " " and c not in "\ufffe\uffff") else "\ufffd" for c in text
        )

    assert (found.text or "") == readable(source)
    (subject,) = root.iter(f"{RDF}li")
    assert subject.text == "label: " + readable(label)


def test_the_catalogue_entry_holds(tmp_path: Path, minted: Minted, schema: Any) -> None:
    """What Croissant 1.1 asks: types, unique ids, references that resolve, digests that hold."""
    told = {"generator": "ab" * 32, "license": "https://creativecommons.org/licenses/by/4.0/"}
    folder = write_minted(minted, tmp_path / "mint", schema, told)
    entry = json.loads((folder / "croissant.json").read_text("utf-8"))
    assert entry["@type"] == "sc:Dataset"
    assert "http://mlcommons.org/croissant/1.1" in entry["conformsTo"]
    assert entry["license"] == told["license"]
    assert "Synthetic" in entry["rai:dataCollection"]
    assert "5 synthetic images" in entry["description"]
    (manifest, images), (records,) = entry["distribution"], entry["recordSet"]
    assert (manifest["@type"], images["@type"]) == ("cr:FileObject", "cr:FileSet")
    raw = (folder / manifest["contentUrl"]).read_bytes()
    assert manifest["sha256"] == hashlib.sha256(raw).hexdigest()
    assert manifest["contentSize"] == f"{len(raw)} B"
    assert len(list(folder.glob(images["includes"]))) == 5
    ids = [manifest["@id"], images["@id"], records["@id"], *(f["@id"] for f in records["field"])]
    assert len(set(ids)) == len(ids)
    keys = set(json.loads(raw.splitlines()[0]))
    for field in records["field"]:
        source = field["source"]
        (where,) = source.keys() & {"fileObject", "fileSet"}
        assert source[where]["@id"] in ids
        if where == "fileObject":
            assert source["extract"]["column"] in keys
    assert {f["name"] for f in records["field"]} >= {"image", "file_name", "label", "origin"}
    plain = write_minted(minted, tmp_path / "plain", schema, {"generator": "ab" * 32})
    assert "license" not in json.loads((plain / "croissant.json").read_text("utf-8"))


def test_croissants_own_reader_loads_the_images(
    tmp_path: Path, minted: Minted, schema: Any
) -> None:
    mlcroissant = pytest.importorskip("mlcroissant", reason="mlcroissant is not installed")
    folder = write_minted(minted, tmp_path / "mint", schema, {"generator": "ab", "license": "MIT"})
    opened = mlcroissant.Dataset(folder / "croissant.json")
    assert not opened.metadata.issues.errors
    records = list(opened.records("minted"))
    assert len(records) == 5
    by_id = {r["minted/id"]: r for r in records}
    for row, number in enumerate(minted.ids):
        record = by_id[int(number)]
        name = ("ant", "bee", "cat")[minted.values["label"][row]]
        assert record["minted/label"] == name.encode()
        assert np.array_equal(
            np.asarray(record["minted/image"].convert("L")), minted.images[row][0]
        )
