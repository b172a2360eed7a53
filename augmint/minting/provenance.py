"""What a minted set says of itself: an XMP packet in each file, Croissant metadata beside them.

Both say, in the vocabulary that others read, that the images were made by a trained algorithm.
Neither holds a date or a path, so the same mint always gives the same bytes.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from augmint import __version__

if TYPE_CHECKING:
    from augmint.aspects.base import Aspect, Schema
    from augmint.core.types import Shape

DIGITAL_SOURCE = "http://cv.iptc.org/newscodes/digitalsourcetype/trainedAlgorithmicMedia"
"""IPTC's word for media made by a model that was trained on sampled content."""

XMP_KEYWORD = "XML:com.adobe.xmp"
"""The keyword of the PNG text chunk that holds an XMP packet."""

CROISSANT = "croissant.json"
CONFORMS = ("http://mlcommons.org/croissant/1.1", "http://mlcommons.org/croissant/RAI/1.0")

_NAMESPACES = (
    ("Iptc4xmpExt", "http://iptc.org/std/Iptc4xmpExt/2008-02-29/"),
    ("dc", "http://purl.org/dc/elements/1.1/"),
    ("xmp", "http://ns.adobe.com/xap/1.0/"),
)
# XML 1.0 has no way to write these characters, escaped or not
_NOT_XML = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def xmp_packet(source: str, labels: Mapping[str, str]) -> str:
    """Return the XMP packet of a minted image.

    It names the IPTC digital source type, the program, the generator and what the image claims to
    show. Source: IPTC Photo Metadata Standard 2025.1 (digital source type, AI system used).

    Args:
        source: where the image came from: generator, id and seed, in words.
        labels: aspect name to the category that the image claims, any text.

    Example:
        >>> "trainedAlgorithmicMedia" in xmp_packet("generator ab", {"label": "a < b"})
        True
    """
    spaces = "".join(f' xmlns:{prefix}="{uri}"' for prefix, uri in _NAMESPACES)
    told = {
        "Iptc4xmpExt:DigitalSourceType": DIGITAL_SOURCE,
        "Iptc4xmpExt:AISystemUsed": "augmint",
        "Iptc4xmpExt:AISystemVersionUsed": __version__,
        "xmp:CreatorTool": f"augmint {__version__}",
        "dc:source": source,
    }
    properties = "".join(f"<{n}>{_xml(text)}</{n}>" for n, text in told.items())
    subjects = "".join(f"<rdf:li>{_xml(f'{k}: {v}')}</rdf:li>" for k, v in labels.items())
    return (
        '<?xpacket begin="\ufeff" id="W5M0MpCehiHzreSzNTczkc9d"?>'
        '<x:xmpmeta xmlns:x="adobe:ns:meta/">'
        '<rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">'
        f'<rdf:Description rdf:about=""{spaces}>{properties}'
        f"<dc:subject><rdf:Bag>{subjects}</rdf:Bag></dc:subject>"
        "</rdf:Description></rdf:RDF></x:xmpmeta>"
        '<?xpacket end="r"?>'
    )


def _xml(text: str) -> str:
    legal = _NOT_XML.sub("\ufffd", text)
    # a carriage return would be read back as a line feed
    pairs = (("&", "&amp;"), ("<", "&lt;"), (">", "&gt;"), ('"', "&quot;"), ("\r", "&#13;"))
    for character, written in pairs:
        legal = legal.replace(character, written)
    return legal


def croissant(
    summary: Mapping[str, Any], schema: Schema, manifest: str, manifest_bytes: int
) -> dict[str, Any]:
    """Return the Croissant 1.1 description of a minted set, as JSON-LD.

    The records join `metadata.jsonl` with the images, and carry the digest of each image.

    Args:
        summary: what `minted.json` holds.
        schema: the aspects of the records.
        manifest: name of the manifest.
        manifest_bytes: its size.

    Returns:
        Plain JSON values. `license` is there only where the mint was given one; address, creator
        and date of publication are the publisher's to add.

    Source: MLCommons, Croissant Format Specification 1.1; Croissant RAI Specification 1.0.

    Example:
        >>> from augmint.aspects.base import Schema
        >>> from augmint.aspects.category import Category
        >>> summary = {"digest": "ab" * 32, "accepted": 3, "drawn": 4, "shape": [1, 8, 8]}
        >>> summary |= {"manifest_sha256": "cd" * 32, "provenance": {"license": "CC0-1.0"}}
        >>> schema = Schema((Category("label", ("cat", "dog")),))
        >>> croissant(summary, schema, "metadata.jsonl", manifest_bytes=99)["license"]
        'CC0-1.0'
    """
    digest = str(summary["digest"])
    given = summary["provenance"].get("license")
    return {
        "@context": _context(),
        "@type": "sc:Dataset",
        "conformsTo": list(CONFORMS),
        "name": f"augmint-minted-{digest[:12]}",
        "description": (
            f"{summary['accepted']} synthetic images made by a trained generator with augmint "
            f"{__version__}. None of them is a photograph or a scan of a real object."
        ),
        "version": "1.0.0",
        **({"license": str(given)} if given else {}),
        "keywords": ["synthetic data", "minted images", *(a.name for a in schema)],
        "isLiveDataset": False,
        **_statement(summary),
        "distribution": [
            {
                "@type": "cr:FileObject",
                "@id": manifest,
                "name": manifest,
                "description": "One JSON object a line: what each image is and where it came from.",
                "contentUrl": manifest,
                "contentSize": f"{manifest_bytes} B",
                "encodingFormat": "application/jsonlines",
                "sha256": str(summary["manifest_sha256"]),
            },
            {
                "@type": "cr:FileSet",
                "@id": "images",
                "name": "images",
                "description": "The minted images; the digest of each stands in its record.",
                "encodingFormat": "image/png",
                "includes": "**/*.png",
            },
        ],
        "recordSet": [
            {
                "@type": "cr:RecordSet",
                "@id": "minted",
                "name": "minted",
                "description": "One record an image.",
                "key": {"@id": "minted/file_name"},
                "field": list(_fields(schema, tuple(summary["shape"]), manifest)),
            }
        ],
    }


def croissant_bytes(description: Mapping[str, Any]) -> bytes:
    """Return a description as the bytes of its file.

    Example:
        >>> json.loads(croissant_bytes({"name": "Zähne"}))
        {'name': 'Zähne'}
    """
    text = json.dumps(description, indent=1, ensure_ascii=False, allow_nan=False) + "\n"
    return text.encode("utf-8", "replace")


def _statement(summary: Mapping[str, Any]) -> dict[str, Any]:
    """What the responsible-AI vocabulary asks of a data set that was made, not collected."""
    curated = summary.get("curation") is not None
    generator = summary["provenance"].get("generator") or "unknown"
    cut = summary["provenance"].get("truncation")
    how = f", {cut['of']} truncated at {cut['value']:g}" if cut else ""
    return {
        "rai:dataCollection": (
            "Synthetic data: every image was sampled from a trained generator "
            f"(SHA-256 of its weights {generator}{how}); nothing was recorded or collected. "
            f"IPTC digital source type of every file: {DIGITAL_SOURCE}."
        ),
        "rai:dataCollectionType": "Synthetic data",
        "rai:dataAnnotationProtocol": (
            "The annotation of an image is what the generator was asked for; no person checked it."
        ),
        "rai:dataPreprocessingProtocol": (
            f"{summary['drawn']} images were drawn, {summary['accepted']} kept: "
            + (
                "a judge trained on real images dropped the rest."
                if curated
                else "no judge looked at them."
            )
        ),
        "rai:dataLimitations": (
            "Images may not show what their annotation says, repeat each other, or resemble the "
            "training images. No score of a model may rest on them."
        ),
        "rai:dataUseCases": "Training, together with real images; never validation or testing.",
    }


def _fields(schema: Schema, images: Shape, manifest: str) -> Iterator[dict[str, Any]]:
    def column(name: str, kind: str, told: str) -> dict[str, Any]:
        source = {"fileObject": {"@id": manifest}, "extract": {"column": name}}
        return _field(name, kind, told, source)

    content = {"fileSet": {"@id": "images"}, "extract": {"fileProperty": "content"}}
    yield _field("image", "sc:ImageObject", "The image.", content)
    # joined by the bare name, which the id makes unique: readers disagree about what a path is
    path = column("file_name", "sc:Text", "Name of the image file, without its folder.")
    bare = path["source"] | {"transform": {"regex": ".*/([^/]+)$"}}
    reference = {"fileSet": {"@id": "images"}, "extract": {"fileProperty": "filename"}}
    yield path | {"source": bare, "references": reference}
    for aspect in schema:
        shape = aspect.storage(images)[0] if aspect.flat else ()
        yield column(aspect.name, *_aspect(aspect)) | _array(shape)
    yield column("origin", "sc:Text", "Always “minted”.")
    yield column("id", "sc:Integer", "Number of the image; with the seed it fixes the latent.")
    yield column("seed", "sc:Integer", "Seed of the mint.")
    yield column("generator", "sc:Text", "SHA-256 of the weights of the generator.")
    yield column("sha256", "sc:Text", "SHA-256 of the image file.")


def _field(name: str, kind: str, told: str, source: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "@type": "cr:Field",
        "@id": f"minted/{name}",
        "name": name,
        "description": told,
        "dataType": kind,
        "source": dict(source),
    }


def _aspect(aspect: Aspect) -> tuple[str, str]:
    if aspect.kind == "category":
        return "sc:Text", f"Category that the image claims ({aspect.width} are known)."
    if not aspect.flat:
        return "sc:Text", f"Name of the file with the {aspect.kind} that the image claims."
    return "sc:Float", f"Numbers that the image claims ({aspect.kind})."


def _array(shape: tuple[int, ...]) -> dict[str, Any]:
    return {"isArray": True, "arrayShape": ", ".join(map(str, shape))} if shape else {}


def _context() -> dict[str, Any]:
    own = (
        "arrayShape citeAs column containedIn equivalentProperty extract field fileProperty "
        "fileObject fileSet format includes isArray isLiveDataset jsonPath key md5 parentField "
        "path recordSet references regex repeated replace samplingRate separator source subField "
        "transform"
    )
    return {
        "@language": "en",
        "@vocab": "https://schema.org/",
        "sc": "https://schema.org/",
        "cr": "http://mlcommons.org/croissant/",
        "rai": "http://mlcommons.org/croissant/RAI/",
        "dct": "http://purl.org/dc/terms/",
        "conformsTo": "dct:conformsTo",
        "data": {"@id": "cr:data", "@type": "@json"},
        "dataType": {"@id": "cr:dataType", "@type": "@vocab"},
        "description": {"@container": "@language"},
        "examples": {"@id": "cr:examples", "@type": "@json"},
        "name": {"@container": "@language"},
        **{term: f"cr:{term}" for term in own.split()},
    }
