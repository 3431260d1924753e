"""Knowledge for other tools: JSON-LD for those of linked data, GraphML for those that draw and measure graphs.

In JSON-LD a link is a node of its own with its evidence, and a property of its source beside that, so that a graph of
triples has the plain statement too. Reading takes the nodes of links alone.
"""

import io
import xml.etree.ElementTree as ET  # nosec B405 - it writes, and reads nothing
from collections.abc import Mapping
from typing import Any

from gonogo.errors import DataError
from gonogo.knowledge.graph import ALL_FIELDS, KINDS, MARK, RELATIONS, Given, Knowledge

SUFFIX = ".jsonld"
VOCABULARY = "urn:gonogo:knowledge:"
ITEM, SEEN = "urn:gonogo:item:", "urn:gonogo:inspection:"
GRAPHML = "http://graphml.graphdrawing.org/xmlns"
GRAPH = "@graph"


def as_json_ld(knowledge: Knowledge) -> dict[str, Any]:
    """The JSON-LD document of the knowledge."""
    nodes: list[dict[str, Any]] = []
    for item in sorted(knowledge.items.values(), key=lambda item: (KINDS.index(item.kind), item.id)):
        node: dict[str, Any] = {"@id": ITEM + item.id, "@type": item.kind, **item.content()}
        for link in knowledge.links:
            if link.source == item.id:
                node.setdefault(knowledge.relation(link), []).append({"@id": ITEM + link.target})
        nodes.append(node)
    for link in sorted(knowledge.links, key=lambda link: link.id):
        nodes.append(
            {
                "@id": ITEM + link.id,
                "@type": "link",
                "source": {"@id": ITEM + link.source},
                "target": {"@id": ITEM + link.target},
                "evidence": [{"@id": SEEN + each} for each in link.evidence],
                "by": link.by,
                "at": link.at,
            }
        )
    return {"@context": {"@vocab": VOCABULARY}, GRAPH: nodes}


def given_in(document: Mapping[str, Any], name: str) -> list[Given]:
    """The rows of a JSON-LD document as `as_json_ld` writes it; `name` is what messages call it.

    Raises:
        DataError: it is another document, or a node is none of ours.
    """
    nodes = document.get(GRAPH)
    if not isinstance(nodes, list) or document.get("@context") != {"@vocab": VOCABULARY}:
        raise DataError(f"{name}: expected the JSON-LD of `gonogo knowledge export`, with a list {GRAPH}")
    return [_given(node, f"{name}, {GRAPH}[{number}]") for number, node in enumerate(nodes)]


def _given(node: Any, where: str) -> Given:
    if not isinstance(node, dict) or not isinstance(node.get("@type"), str):
        raise DataError(f"{where}: expected an object with an @type")
    kind = node["@type"]
    relations = set(RELATIONS.values()) - {name for fields in ALL_FIELDS.values() for name in fields}
    values = {key: value for key, value in node.items() if not key.startswith("@") and key not in relations}
    if kind != "link":
        return Given(where, kind, values | {"id": _local(node.get("@id"), ITEM, where)})
    ends = {name: _local(_reference(values.get(name), where), ITEM, where) for name in ("source", "target")}
    evidence = values.get("evidence", [])
    if not isinstance(evidence, list):
        raise DataError(f"{where}: evidence: expected a list")
    seen = [_local(_reference(each, where), SEEN, where) for each in evidence]
    return Given(where, kind, values | ends | {"evidence": seen})


def _reference(value: Any, where: str) -> Any:
    if not isinstance(value, dict) or set(value) != {"@id"}:
        raise DataError(f"{where}: expected a reference as {{'@id': ...}}, got {value!r}")
    return value["@id"]


def _local(value: Any, prefix: str, where: str) -> str:
    if not isinstance(value, str) or not value.startswith(prefix):
        raise DataError(f"{where}: expected an @id that begins with {prefix}, got {value!r}")
    return value.removeprefix(prefix)


def as_graphml(knowledge: Knowledge) -> bytes:
    """The GraphML document of the knowledge, in UTF-8: items are nodes and links are edges, with all their fields."""
    names = list(dict.fromkeys(["kind", *(name for fields in ALL_FIELDS.values() for name in fields)]))
    numbers = {name for fields in ALL_FIELDS.values() for name, rule in fields.items() if rule.form == "rating"}
    of_links = ("relation", "evidence", "by", "at")
    ET.register_namespace("", GRAPHML)
    root = ET.Element(f"{{{GRAPHML}}}graphml")
    for domain, each in (("node", names), ("edge", of_links)):
        for name in each:
            key = {"id": f"{domain}_{name}", "for": domain, "attr.name": name}
            key["attr.type"] = "int" if domain == "node" and name in numbers else "string"
            ET.SubElement(root, f"{{{GRAPHML}}}key", key)
    graph = ET.SubElement(root, f"{{{GRAPHML}}}graph", {"id": "knowledge", "edgedefault": "directed"})
    for item in sorted(knowledge.items.values(), key=lambda item: (KINDS.index(item.kind), item.id)):
        node = ET.SubElement(graph, f"{{{GRAPHML}}}node", {"id": item.id})
        _add_data(node, "node", {"kind": item.kind, **item.content()})
    for link in sorted(knowledge.links, key=lambda link: link.id):
        edge = ET.SubElement(
            graph,
            f"{{{GRAPHML}}}edge",
            {"id": link.id.replace(MARK, "--"), "source": link.source, "target": link.target},
        )
        told = {"relation": knowledge.relation(link), "evidence": " ".join(link.evidence), "by": link.by, "at": link.at}
        _add_data(edge, "edge", told)
    written = io.BytesIO()
    ET.ElementTree(root).write(written, encoding="utf-8", xml_declaration=True)
    return written.getvalue()


def _add_data(element: ET.Element, domain: str, values: Mapping[str, Any]) -> None:
    for name, value in values.items():
        data = ET.SubElement(element, f"{{{GRAPHML}}}data", {"key": f"{domain}_{name}"})
        data.text = str(value)
