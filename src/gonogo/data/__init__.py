"""Data sources by the name that `params.yaml: prepare.source` gives them. docs/data.md says what each reads.

The module of a source is imported when the source is used.
"""

from typing import TYPE_CHECKING

from gonogo.params import import_class

if TYPE_CHECKING:
    from gonogo.data.sample import Source

SOURCES: dict[str, str] = {
    "rendered": "gonogo.data.rendered:Rendered",
    "surfaces": "gonogo.data.surfaces:Surfaces",
    "digits": "gonogo.data.digits:Digits",
    "blemishes": "gonogo.data.blemishes:Blemishes",
    "folder": "gonogo.data.folder:Folder",
    "manifest": "gonogo.data.manifest_file:ManifestFile",
    "coco": "gonogo.data.coco:Coco",
    "labels": "gonogo.data.labels:Labels",
    "anomalib": "gonogo.data.anomalib_folder:AnomalibFolder",
    "lookout": "gonogo.data.lookout:Lookout",
    "mvtec_ad": "gonogo.data.mvtec_ad:MVTecAD",
    "mvtec_ad_2": "gonogo.data.mvtec_ad_2:MVTecAD2",
    "mvtec_loco": "gonogo.data.mvtec_loco:MVTecLOCO",
    "visa": "gonogo.data.visa:VisA",
    "btad": "gonogo.data.btad:BTAD",
    "mpdd": "gonogo.data.mpdd:MPDD",
    "kolektor_sdd": "gonogo.data.kolektor_sdd:KolektorSDD",
    "kolektor_sdd_2": "gonogo.data.kolektor_sdd:KolektorSDD2",
    "real_iad": "gonogo.data.real_iad:RealIAD",
}


def source_class(name: str) -> "type[Source]":
    """The class that the registry names, after importing its module."""
    kind: type[Source] = import_class(SOURCES[name])
    return kind
